// cp.async: copies from global to shared memory that pass by the registers and run beside the computation (PTX ISA 8.0,
// section "cp.async"). A thread closes groups of copies and waits for all but its newest groups; a barrier then shows what
// has arrived to the block.
#pragma once

#include <cstdint>

namespace heed::kernels::cuda {

// The address that the instructions of shared memory take.
__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

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

// Closes a group of copies.
__device__ inline void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most `pending` of the newest groups are still under way.
template <int pending>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

}  // namespace heed::kernels::cuda
