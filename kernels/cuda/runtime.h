// What libheed_cuda.so gives to libheed.so: the functions behind device.h, whose contracts stand there. libheed.so loads
// the library when a CUDA device is first asked for (device.cpp); until then no program pays for CUDA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/cuda/device.h"
#include "kernels/view.h"

namespace heed::kernels::cuda {

struct Runtime {
  const char* interface;  // interface_stamp of the headers that the library was compiled with

  int (*device_count)();
  std::string (*why_unavailable)(int index);
  DeviceProperties (*device_properties)(int index);

  void* (*allocate)(int device, std::size_t bytes);
  void (*release)(void* data);
  void* (*allocate_pinned)(std::size_t bytes);
  void (*release_pinned)(void* data);

  void (*copy_to_device)(void* to, const void* from, std::size_t bytes, Stream stream);
  void (*copy_from_device)(void* to, const void* from, std::size_t bytes, Stream stream);
  void (*copy_between_devices)(void* to, int to_device, const void* from, std::size_t bytes, Stream stream);
  void (*set_bytes)(void* to, std::uint8_t value, std::size_t bytes, Stream stream);
  void (*synchronize)(Stream stream);

  void* (*create_event)(int device);
  void (*destroy_event)(void* event);
  void (*record_event)(void* event, Stream stream);
  bool (*event_is_done)(void* event);
  void (*synchronize_event)(void* event);
  void (*wait_for_event)(Stream stream, void* event);
  double (*milliseconds_between)(void* earlier, void* later);
};

}  // namespace heed::kernels::cuda

// The one name that libheed.so looks for in the library.
extern "C" const heed::kernels::cuda::Runtime heed_cuda_runtime;
