// Tensor cores and the copies that feed them, one function an instruction (PTX ISA 8.0, sections "Warp level matrix
// multiply-accumulate instructions" and "cp.async").
//
// Fragments of mma.m16n8k16, lane = 4 group + member:
//   a [16, 16]   registers 0..3: rows group, group + 8, group, group + 8; columns 2 member and its neighbour, the last two
//                registers 8 columns further right
//   b [16, 8]    registers 0, 1: rows 2 member and its neighbour, and 8 further down; column group
//   c [16, 8]    values 0..3: rows group (0, 1) and group + 8 (2, 3); columns 2 member (0, 2) and 2 member + 1 (1, 3)
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"

namespace heed::kernels::cuda {

__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// ---- cp.async: from global to shared memory past the registers. `to` and `from` are multiples of 16. The data have
// arrived after wait_copies and a barrier. With valid == false nothing is read and zeros are written.
__device__ inline void copy_async_16(void* to_shared, const void* from_global, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to_shared)), "l"(from_global),
               "r"(valid ? 16 : 0)
               : "memory");
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

// ---- ldmatrix: four 8 x 8 matrices of 16-bit elements from shared memory; lane i gives the address of row i % 8 of
// matrix i / 8 (16 bytes, aligned). The transposed form hands out columns.
__device__ inline void load_matrices(std::uint32_t (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ inline void load_matrices_transposed(std::uint32_t (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(row))
               : "memory");
}

// ---- mma: c += a b, bf16 with f32 accumulation.
__device__ inline void multiply_add_bf16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                         std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Two floats as a pair of bf16 in one register, `low` in the lower half.
__device__ inline std::uint32_t pack_bf16(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

}  // namespace heed::kernels::cuda
