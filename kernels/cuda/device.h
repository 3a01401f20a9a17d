// The CUDA run-time as the engine needs it, in plain C++: devices, memory, copies, streams and events.
//
// All that is CUDA lies in a library of its own, libheed_cuda.so: the kernels, and the code behind these functions. The
// first call loads it from the folder of libheed.so, and its kernels enter their slots. Where it is missing, device_count()
// is 0 and the others throw. So a program that names no CUDA device pays nothing, and needs no CUDA to be built.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/view.h"

namespace heed::kernels::cuda {

struct DeviceProperties {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  std::size_t memory_bytes = 0;
  int multiprocessors = 0;
};

// Loads libheed_cuda.so, if it is there and was not loaded before.
void load_kernels();

// Devices that can be used. 0 without a driver or without libheed_cuda.so.
int device_count();
// Why device `index` cannot be used, e.g. `cuda:0: no NVIDIA GPU in this machine`; empty when it can.
std::string why_unavailable(int index);
// Throws heed::Error when there is no such device.
DeviceProperties device_properties(int index);

// ---- Memory

// Memory of a device, aligned to 256 bytes; null when there is none left.
void* allocate(int device, std::size_t bytes);
void release(int device, void* data);
// Memory of the machine that a device can read and write on its own (page-locked); null when there is none left.
void* allocate_pinned(std::size_t bytes);
void release_pinned(void* data);

// ---- Queued on a stream, in order. The memory of the machine that takes part must be page-locked and stay as it is until
// the stream has come so far; otherwise the call waits.
void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream);
void copy_from_device(void* to, const void* from, std::size_t bytes, Stream stream);
void copy_between_devices(void* to, int to_device, const void* from, std::size_t bytes, Stream stream);
void set_bytes(void* to, std::uint8_t value, std::size_t bytes, Stream stream);

// ---- Waiting

// Until all that is queued on the stream is done. Throws what went wrong there.
void synchronize(Stream stream);

// A point in a stream. Events of one device only.
class Event {
 public:
  explicit Event(int device);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(Stream stream);
  bool is_done() const;  // true before the first record()
  void synchronize() const;
  void wait_in(Stream stream) const;  // what is queued there from now on starts after this point
  // Milliseconds from `earlier` to this; both recorded and done.
  double milliseconds_since(const Event& earlier) const;

 private:
  void* handle_;
};

}  // namespace heed::kernels::cuda
