// Devices by name, and waiting for them. The CPU is always there; whether a CUDA device is depends on the build and on
// the machine, and nothing touches the CUDA driver before a CUDA device is asked for.
//
// Kernels are queued: a call on a CUDA device returns before its work is done, and reading a value waits for it. Each
// device has one stream, in which everything runs in the order in which it was called. Errors inside a kernel come out
// at a later call; with HEED_SYNC=1 in the environment every launch is waited for, and the error names its kernel.
#pragma once

#include <string_view>

#include "kernels/view.h"

namespace heed {

// "cpu", "cuda" (the first), "cuda:1". Throws when the text is no device, not when the device is missing.
Device parse_device(std::string_view text);

// CUDA devices that can be used; 0 where there is no driver or no libheed_cuda.so (kernels/cuda/device.h).
int cuda_device_count();
bool is_available(Device device);
// Throws, saying why, unless the device can be used: `cuda:0: no NVIDIA GPU in this machine`.
void require_available(Device device);

// Where tensors are made that nobody names a device for: the CPU, unless set. One for the whole process.
Device default_device();
void set_default_device(Device device);

// Another default for a scope.
class DefaultDevice {
 public:
  explicit DefaultDevice(Device device) : previous_(default_device()) { set_default_device(device); }
  ~DefaultDevice() { set_default_device(previous_); }
  DefaultDevice(const DefaultDevice&) = delete;
  DefaultDevice& operator=(const DefaultDevice&) = delete;

 private:
  Device previous_;
};

// Waits until everything queued on the device is done, and throws what went wrong there.
void synchronize(Device device);

}  // namespace heed
