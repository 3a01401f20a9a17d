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
      cuda::mma<typename Tile::Element>(c[t][2 * j], a[t], words[0], words[1]);
      cuda::mma<typename Tile::Element>(c[t][2 * j + 1], a[t], words[2], words[3]);
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
      cuda::mma<typename Tile::Element>(c[t][2 * j], a[t], words[0], words[1]);
      cuda::mma<typename Tile::Element>(c[t][2 * j + 1], a[t], words[2], words[3]);
    }
  }
}

// 16 m rows and 16 columns of a tile as the first operand. `a`: the tile's by_rows, at the first of the rows.
template <class Tile, int m>
__device__ inline void load_rows(std::uint32_t (&words)[m][4], std::uint32_t a, int k) {
#pragma unroll
  for (int t = 0; t < m; ++t) cuda::load_matrices(words[t], Tile::step(a, t, k));
}

// c += a b^T over all columns, where a's rows are a tile's, too. `a`: its by_rows, `b`: the other tile's by_columns.
template <class ATile, class BTile, int m, int n>
__device__ inline void multiply_tiles(float (&c)[m][n][4], std::uint32_t a, std::uint32_t b) {
#pragma unroll
  for (int k = 0; k < ATile::columns / 16; ++k) {
    std::uint32_t words[m][4];
    load_rows<ATile>(words, a, k);
    multiply_transposed<BTile>(c, words, b, k);
  }
}

// Columns [16 k, 16 k + 16) of a product as the first operand of the next, rounded to T.
template <class T, int m, int columns>
__device__ inline void pack_columns(std::uint32_t (&words)[m][4], const float (&c)[m][columns][4], int k) {
#pragma unroll
  for (int t = 0; t < m; ++t) {
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      const int n = 2 * k + w / 2, r = w % 2;
      words[t][w] = cuda::pack<T>(c[t][n][2 * r], c[t][n][2 * r + 1]);
    }
  }
}

}  // namespace heed::kernels::attention
