// Tensor cores, one function an instruction (PTX ISA 8.0, section "Warp level matrix multiply-accumulate instructions").
//
// Fragments of mma.m16n8k16, lane = 4 group + member:
//   a [16, 16]   registers 0..3: rows group, group + 8, group, group + 8; columns 2 member and its neighbour, the last two
//                registers 8 columns further right
//   b [16, 8]    registers 0, 1: rows 2 member and its neighbour, and 8 further down; column group
//   c [16, 8]    values 0..3: rows group (0, 1) and group + 8 (2, 3); columns 2 member (0, 2) and 2 member + 1 (1, 3)
//
// The C of one product, rounded to a half and packed in pairs, is the A of the next as it lies.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"

namespace heed::kernels::cuda {

// c += a b, bf16 or f16 with f32 accumulation. One specialisation a type of element, as of pack and unpack below.
template <class T>
__device__ void mma(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);

template <>
__device__ inline void mma<BFloat16>(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ inline void mma<Float16>(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// c += a b, f32 cut to tf32 (its upper 19 bits), with f32 accumulation. Fragments of mma.m16n8k8:
//   a [16, 8]    registers 0..3: rows group, group + 8, group, group + 8; column member, the last two member + 4
//   b [8, 8]     registers 0, 1: row member, and 4 further down; column group
//   c [16, 8]    as above
__device__ inline void mma_tf32(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The nearest tf32, as the word that mma_tf32 takes.
__device__ inline std::uint32_t round_tf32(float x) {
  std::uint32_t word;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(x));
  return word;
}

// Four 8 x 8 matrices of 16-bit elements from shared memory. Lane l passes the address of row l%8 of matrix l/8 (16
// bytes, aligned); word r receives matrix r, of which each lane holds row l/4, columns 2 (l%4) and the next.
__device__ inline void load_matrices(std::uint32_t (&words)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
}

// The same, each matrix transposed on the way.
__device__ inline void load_matrices_transposed(std::uint32_t (&words)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
}

// Two floats as a pair of halves in one register, `low` in the lower half; and back.
template <class T>
__device__ std::uint32_t pack(float low, float high);
template <class T>
__device__ void unpack(std::uint32_t pair, float& low, float& high);

template <>
__device__ inline std::uint32_t pack<BFloat16>(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
template <>
__device__ inline void unpack<BFloat16>(std::uint32_t pair, float& low, float& high) {
  low = __uint_as_float(pair << 16);
  high = __uint_as_float(pair & 0xffff0000u);
}

template <>
__device__ inline std::uint32_t pack<Float16>(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
template <>
__device__ inline void unpack<Float16>(std::uint32_t pair, float& low, float& high) {
  asm("{ .reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }"
      : "=f"(low), "=f"(high)
      : "r"(pair));
}

// 2^x on the special-function unit, to 2 units in the last place; what is below 2^-126 becomes 0.
__device__ inline float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace heed::kernels::cuda
