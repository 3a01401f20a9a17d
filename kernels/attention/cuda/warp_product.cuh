// Products of a warp, 16 columns of the first operand at a time: that operand is in registers, the other in a tile.
#pragma once

#include "kernels/attention/cuda/tile.cuh"

namespace heed::kernels::attention {

// c += a b^T for columns [16 k, 16 k + 16) of both, where b's rows, the columns of c, are the tile's. `b`: its by_columns.
template <class Tile, int m, int n>
__device__ inline void multiply_transposed(float (&c)[m][n][4], const std::uint32_t (&a)[m][4], std::uint32_t b,
                                           int k) {
#pragma unroll
  for (int j = 0; j < n / 2; ++j) {
    std::uint32_t words[4];
    cuda::load_matrices(words, Tile::step(b, j, k));
#pragma unroll
    for (int t = 0; t < m; ++t) {
      cuda::mma_bf16(c[t][2 * j], a[t], words[0], words[1]);
      cuda::mma_bf16(c[t][2 * j + 1], a[t], words[2], words[3]);
    }
  }
}

// c += a b, of a the columns and of b the rows [16 k, 16 k + 16). `b`: the tile's by_rows.
template <class Tile, int m, int n>
__device__ inline void multiply(float (&c)[m][n][4], const std::uint32_t (&a)[m][4], std::uint32_t b, int k) {
#pragma unroll
  for (int j = 0; j < n / 2; ++j) {
    std::uint32_t words[4];
    cuda::load_matrices_transposed(words, Tile::step(b, k, j));
#pragma unroll
    for (int t = 0; t < m; ++t) {
      cuda::mma_bf16(c[t][2 * j], a[t], words[0], words[1]);
      cuda::mma_bf16(c[t][2 * j + 1], a[t], words[2], words[3]);
    }
  }
}

// 16 m rows and 16 columns of a tile as the first operand. `a`: the tile's by_rows, at the first of the rows.
template <class Tile, int m>
__device__ inline void load_rows(std::uint32_t (&words)[m][4], std::uint32_t a, int k) {
#pragma unroll
  for (int t = 0; t < m; ++t) cuda::load_matrices(words[t], Tile::step(a, t, k));
}

}  // namespace heed::kernels::attention
