// The way of a warp's result to memory: through its rows of a tile, so that it leaves in pieces of 16 bytes.
#pragma once

#include "kernels/attention/cuda/tile.cuh"

namespace heed::kernels::attention {

// Writes 16 m rows, the tile's from `first` on, times `factor`, to the same rows from `to` on, of which there are `rows`. Only
// this warp may use those rows of the tile; after a __syncwarp it may use them again.
template <class Tile, int m>
__device__ inline void store_through_tile(std::uint32_t tile, int first, const float (&c)[m][Tile::columns / 8][4],
                                          float factor, BFloat16* to, std::int64_t row_stride, int rows) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int t = 0; t < m; ++t) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int n = 0; n < Tile::columns / 8; ++n) {
        const std::uint32_t at = Tile::at(tile, first + 16 * t + 8 * r + lane / 4, n % Tile::line_chunks);
        cuda::store_shared(at + n / Tile::line_chunks * 128 + lane % 4 * 4,
                           cuda::pack_bf16(c[t][n][2 * r] * factor, c[t][n][2 * r + 1] * factor));
      }
    }
  }
  __syncwarp();
  const int chunk = lane % Tile::line_chunks;
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

}  // namespace heed::kernels::attention
