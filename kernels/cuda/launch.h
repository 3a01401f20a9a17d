// Launching a kernel: device, stream, shared memory, and an error that names the kernel.
//
//   cuda::launch({"softmax_forward", rows, 256, 0, stream}, &softmax_rows, x, y, columns);
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/check.h"
#include "kernels/view.h"

namespace heed::kernels::cuda {

inline constexpr int warp_size = 32;
inline constexpr std::size_t plain_shared_bytes = 48 << 10;  // more must be asked for

struct Launch {
  const char* kernel;  // the slot's name, for errors
  dim3 grid;           // empty: nothing happens
  dim3 block;
  std::size_t shared_bytes;  // dynamic
  Stream stream;
};

// By the kernel's address, with those of its arguments.
inline void launch_address(const Launch& how, const void* kernel, const void* const* arguments) {
  if (how.grid.x == 0 || how.grid.y == 0 || how.grid.z == 0) return;
  const CurrentDevice device(how.stream.device.index);
  if (how.shared_bytes > plain_shared_bytes) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(how.shared_bytes)),
          how.kernel);
  }
  const cudaStream_t stream = native(how.stream);
  // What it returns, check_launch asks for.
  static_cast<void>(
      cudaLaunchKernel(kernel, how.grid, how.block, const_cast<void**>(arguments), how.shared_bytes, stream));
  check_launch(how.kernel, stream);
}

template <class... Parameters>
const void* address_of(void (*kernel)(Parameters...)) {
  return reinterpret_cast<const void*>(kernel);
}

template <class... Parameters>
void launch(const Launch& how, void (*kernel)(Parameters...), std::type_identity_t<Parameters>... arguments) {
  const void* const addresses[] = {&arguments...};
  launch_address(how, address_of(kernel), addresses);
}

template <class Int>
constexpr Int divide_up(Int a, std::type_identity_t<Int> b) {
  return (a + b - 1) / b;
}

// The blocks of a one-dimensional grid for `count` things, `per_block` each. At most 2^31 - 1.
constexpr unsigned blocks_for(std::int64_t count, std::int64_t per_block) {
  return static_cast<unsigned>(divide_up(count, per_block));
}

}  // namespace heed::kernels::cuda
