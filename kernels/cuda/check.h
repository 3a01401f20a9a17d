// Errors of the CUDA runtime as heed::Error, and the device that calls go to.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/view.h"

namespace heed::kernels::cuda {

// Throws `operation: CUDA error 700 (an illegal memory access was encountered)` unless `status` is success.
void check(cudaError_t status, const char* operation);

// Throws `operation: what`. Files with kernels call this instead of naming heed::Error: nvcc reads headers four times over, and
// those of the standard library's exceptions take longer than all of ours.
[[noreturn]] void fail(const char* operation, const char* what);

// Checks a launch that was just made: bad configurations at once, what happens inside the kernel at some later call;
// with HEED_SYNC=1 in the environment it waits for the kernel, so that the error names the kernel it comes from.
void check_launch(const char* kernel, cudaStream_t stream);

inline cudaStream_t native(Stream stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

// Makes a device the calling thread's current one, for a scope.
class CurrentDevice {
 public:
  explicit CurrentDevice(int index) {
    check(cudaGetDevice(&previous_), "cudaGetDevice");
    changed_ = previous_ != index;
    if (changed_) check(cudaSetDevice(index), "cudaSetDevice");
  }
  ~CurrentDevice() {
    if (changed_) static_cast<void>(cudaSetDevice(previous_));
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int previous_ = 0;
  bool changed_ = false;
};

}  // namespace heed::kernels::cuda
