// Products of f32 tiles on tensor cores, each in three of tf32. A number is x = big + small, big the nearest tf32 and small the
// nearest to what is left, and
//
//   a b = small_a big_b + big_a small_b + big_a big_b        (small_a small_b, at most 2^-22 of it, is dropped)
//
// in this order, so that the small ones are not lost in the large sum. Tensor cores may cut their sums instead of rounding
// them (Ootomo and Yokota 2022): a sum of eight leaves them before it is added to the others.
//
// Where a product is taken along the rows of its second operand, its terms may come in any order as long as both operands
// agree. Here member m of a group of four lanes has terms 2m and 2m + 1 instead of m and m + 4: these are what it holds of
// the scores, and the rows lie in different banks.
#pragma once

#include "kernels/attention/cuda/fma_tile.cuh"
#include "kernels/cuda/mma.cuh"

namespace heed::kernels::attention {

__device__ inline int lane_group() {
  return threadIdx.x % 32 / 4;
}
__device__ inline int lane_member() {
  return threadIdx.x % 4;
}

// The first operand of a product, 16 x 8, and the second, 8 x 8.
struct SplitRows {
  std::uint32_t big[4], small[4];

  __device__ SplitRows(float a0, float a1, float a2, float a3) {
    const float a[4] = {a0, a1, a2, a3};
#pragma unroll
    for (int i = 0; i < 4; ++i)
      big[i] = cuda::round_tf32(a[i]), small[i] = cuda::round_tf32(a[i] - __uint_as_float(big[i]));
  }
};
struct SplitColumns {
  std::uint32_t big[2], small[2];

  __device__ SplitColumns(float b0, float b1) {
    const float b[2] = {b0, b1};
#pragma unroll
    for (int i = 0; i < 2; ++i)
      big[i] = cuda::round_tf32(b[i]), small[i] = cuda::round_tf32(b[i] - __uint_as_float(big[i]));
  }
};

__device__ inline void multiply_split(float (&c)[4], const SplitRows& a, const SplitColumns& b) {
  float sum[4] = {};
  cuda::mma_tf32(sum, a.small, b.big[0], b.big[1]);
  cuda::mma_tf32(sum, a.big, b.small[0], b.small[1]);
  cuda::mma_tf32(sum, a.big, b.big[0], b.big[1]);
#pragma unroll
  for (int e = 0; e < 4; ++e) c[e] += sum[e];
}

// What splitting makes NaN of: an infinity is big + NaN.
template <int dim>
__device__ float dot(const float* a, const float* b) {
  float sum = 0;
  for (int d = 0; d < dim; ++d) sum += a[d] * b[d];
  return sum;
}

// c = a b^T over `dim` columns, for 16 rows of a and 8 n of b. Forward and backward get their scores and what goes with them from
// here alone: the same bits, or the weights that the backward computes again would not be those of the forward.
template <int dim, int n>
__device__ inline void multiply_rows_split(float (&c)[n][4], const FloatTile& a, const FloatTile& b) {
  const int group = lane_group(), member = lane_member();
#pragma unroll
  for (int j = 0; j < n; ++j) c[j][0] = c[j][1] = c[j][2] = c[j][3] = 0;
#pragma unroll 4
  for (int d = member; d < dim; d += 8) {
    const float *const low = a.row(group) + d, *const high = a.row(group + 8) + d;
    const SplitRows rows(low[0], high[0], low[4], high[4]);
#pragma unroll
    for (int j = 0; j < n; ++j) {
      const float* const column = b.row(8 * j + group) + d;
      multiply_split(c[j], rows, SplitColumns(column[0], column[4]));
    }
  }
#pragma unroll
  for (int j = 0; j < n; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (isnan(c[j][e])) c[j][e] = dot<dim>(a.row(group + e / 2 * 8), b.row(8 * j + 2 * member + e % 2));
    }
  }
}

// c += a b for the eight rows of b from `b` on and 8 n columns.
template <int n>
__device__ inline void add_product_split(float (&c)[n][4], const SplitRows& a, const FloatTile& b) {
  const float* const rows = b.row(2 * lane_member()) + lane_group();
#pragma unroll
  for (int j = 0; j < n; ++j) multiply_split(c[j], a, SplitColumns(rows[8 * j], rows[8 * j + b.pitch]));
}

// c += a b for 16 rows of a, `count` rows of b, and 8 n columns.
template <int count, int n>
__device__ inline void add_product_split(float (&c)[n][4], const FloatTile& a, const FloatTile& b) {
  const float* const from = a.row(lane_group()) + 2 * lane_member();
#pragma unroll 2
  for (int k = 0; k < count; k += 8) {
    const float2 low = *reinterpret_cast<const float2*>(from + k);
    const float2 high = *reinterpret_cast<const float2*>(from + k + 8 * a.pitch);
    add_product_split(c, SplitRows(low.x, high.x, low.y, high.y), {b.row(k), b.pitch});
  }
}

// c += a^T b for 16 columns of a.
template <int count, int n>
__device__ inline void add_transposed_product_split(float (&c)[n][4], const FloatTile& a, const FloatTile& b) {
#pragma unroll 2
  for (int k = 0; k < count; k += 8) {
    const float* const from = a.row(k + 2 * lane_member()) + lane_group();
    add_product_split(c, SplitRows(from[0], from[8], from[a.pitch], from[a.pitch + 8]), {b.row(k), b.pitch});
  }
}

// Writes 16 rows of 8 n columns to memory, times `factor`; of them there are rows_there and columns_there.
template <int n>
__device__ inline void store_split_rows(const Operand<float>& x, float* first, const float (&c)[n][4],
                                        const float (&factor)[2], int rows_there, int columns_there) {
  const bool aligned = reinterpret_cast<std::uint64_t>(first) % 8 == 0 && x.row_stride % 2 == 0 && x.column_stride == 1;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = lane_group() + 8 * r;
    if (row >= rows_there) break;
    float* const to = first + row * x.row_stride;
#pragma unroll
    for (int j = 0; j < n; ++j) {
      const int column = 8 * j + 2 * lane_member();
      const float2 pair = make_float2(c[j][2 * r] * factor[r], c[j][2 * r + 1] * factor[r]);
      if (aligned && column + 1 < columns_there) {
        *reinterpret_cast<float2*>(to + column) = pair;
      } else {
        if (column < columns_there) to[column * x.column_stride] = pair.x;
        if (column + 1 < columns_there) to[(column + 1) * x.column_stride] = pair.y;
      }
    }
  }
}

}  // namespace heed::kernels::attention
