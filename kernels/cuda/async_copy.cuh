// More of cp.async than tensor_core.cuh has: to addresses of shared memory as numbers, and of 8 bytes.
#pragma once

#include <cstdint>

#include "kernels/cuda/tensor_core.cuh"

namespace heed::kernels::cuda {

// Starts a copy of 16 bytes, both sides aligned, around the first-level cache.
__device__ inline void copy_16_bytes(std::uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

// Starts a copy of `bytes` of 16; the others become 0. With 0 bytes `from` is not read.
__device__ inline void copy_16_bytes(std::uint32_t to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

// The same with 8 bytes, through the first-level cache.
__device__ inline void copy_8_bytes(std::uint32_t to, const void* from, int bytes) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

}  // namespace heed::kernels::cuda
