// The way of a warp's result to memory: through its rows of a tile, so that it leaves in pieces of 16 bytes.
#pragma once

#include <bit>

#include "kernels/attention/cuda/tile.cuh"

namespace heed::kernels::attention {

// Writes 16 m rows times `factor` to a tile, from its row `first` on.
template <class Tile, int m>
__device__ inline void store_to_tile(std::uint32_t tile, int first, const float (&c)[m][Tile::columns / 8][4],
                                     float factor) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int t = 0; t < m; ++t) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int n = 0; n < Tile::columns / 8; ++n) {
        const std::uint32_t at = Tile::at(tile, first + 16 * t + 8 * r + lane / 4, n % Tile::line_chunks);
        cuda::store_shared(at + n / Tile::line_chunks * 128 + lane % 4 * 4,
                           cuda::pack<typename Tile::Element>(c[t][n][2 * r] * factor, c[t][n][2 * r + 1] * factor));
      }
    }
  }
}

// Writes 16 m rows, the tile's from `first` on, times `factor`, to the same rows from `to` on, of which there are `rows`. Only
// this warp may use those rows of the tile; after a __syncwarp it may use them again.
template <class Tile, int m>
__device__ inline void store_through_tile(std::uint32_t tile, int first, const float (&c)[m][Tile::columns / 8][4],
                                          float factor, typename Tile::Element* to, std::int64_t row_stride, int rows) {
  store_to_tile<Tile>(tile, first, c, factor);
  __syncwarp();
  const int lane = threadIdx.x % 32, chunk = lane % Tile::line_chunks;
#pragma unroll
  for (int r = 0; r < 16 * m; r += 32 / Tile::line_chunks) {
    const int row = first + r + lane / Tile::line_chunks;
    if (row >= rows) break;
#pragma unroll
    for (int line = 0; line < Tile::lines; ++line) {
      cuda::store_16_bytes(to + row * row_stride + chunk * 8 + line * 64,
                           cuda::load_shared_uint4(Tile::at(tile, row, chunk) + line * 128));
    }
  }
}

// The same for rows of `columns` elements and any strides, in pieces of 16 bytes where they are aligned.
template <class Tile, int m>
__device__ inline void store_through_tile(std::uint32_t tile, int first, const float (&c)[m][Tile::columns / 8][4],
                                          float factor, const Operand<typename Tile::Element>& x,
                                          typename Tile::Element* to, int rows, int columns, bool aligned) {
  using Element = typename Tile::Element;
  store_to_tile<Tile>(tile, first, c, factor);
  __syncwarp();
  constexpr int chunks = Tile::row_bytes / 16;
  for (int index = threadIdx.x % 32; index < 16 * m * chunks; index += 32) {
    const int row = first + index / chunks, chunk = index % chunks, column = chunk * 8;
    if (row >= rows || column >= columns) continue;
    const uint4 v =
        cuda::load_shared_uint4(Tile::at(tile, row, chunk % Tile::line_chunks) + chunk / Tile::line_chunks * 128);
    Element* const from_column = to + row * x.row_stride + column * x.column_stride;
    if (aligned) {
      cuda::store_16_bytes(from_column, v);
      continue;
    }
    const std::uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      const auto bits = static_cast<std::uint16_t>(words[e / 2] >> e % 2 * 16);
      if (column + e < columns) from_column[e * x.column_stride] = std::bit_cast<Element>(bits);
    }
  }
  __syncwarp();
}

}  // namespace heed::kernels::attention
