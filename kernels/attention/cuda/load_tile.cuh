// Filling tiles from rows of any strides and widths.
#pragma once

#include <bit>

#include "kernels/attention/cuda/tile.cuh"

namespace heed::kernels::attention {

// Fills a tile from `rows` rows of `columns` elements, and zeros around them. With `async` aligned rows arrive with the
// thread's next wait_copies, others at once; both are seen by the block after a barrier.
template <class Tile, int threads, bool async = true>
__device__ inline void load_tile(std::uint32_t tile, const Operand<const typename Tile::Element>& x,
                                 const typename Tile::Element* first, int rows, int columns, bool aligned) {
  constexpr int chunks = Tile::row_bytes / 16, rows_per_pass = threads / chunks;
  static_assert(rows_per_pass % 8 == 0 && Tile::rows % rows_per_pass == 0);
  int row = threadIdx.x / chunks;
  const int chunk = threadIdx.x % chunks, columns_there = columns - chunk * 8;
  std::uint32_t to = Tile::at(tile, row, chunk % Tile::line_chunks) + chunk / Tile::line_chunks * 128;
  const typename Tile::Element* from = first + row * x.row_stride + chunk * 8 * x.column_stride;
  const auto visit = [&](auto&& fill) {
    fill(row < rows ? columns_there : 0);
    row += rows_per_pass, to += rows_per_pass * Tile::row_bytes, from += rows_per_pass * x.row_stride;
  };
  if (aligned) {
#pragma unroll
    for (int pass = 0; pass < Tile::rows / rows_per_pass; ++pass) {
      visit([&](int there) {
        if constexpr (async) {
          cuda::copy_16_bytes(to, from, there > 0 ? 16 : 0);
        } else {
          const uint4 v = there > 0 ? *reinterpret_cast<const uint4*>(from) : uint4{};
          const std::uint32_t words[4] = {v.x, v.y, v.z, v.w};
          cuda::store_shared(to, words);
        }
      });
    }
  } else {
#pragma unroll 1
    for (int pass = 0; pass < Tile::rows / rows_per_pass; ++pass) {
      visit([&](int there) {
        const auto element = [&](int i) -> std::uint32_t {
          return i < there ? std::bit_cast<std::uint16_t>(from[i * x.column_stride]) : 0;
        };
        std::uint32_t words[4];
#pragma unroll
        for (int w = 0; w < 4; ++w) words[w] = element(2 * w) | element(2 * w + 1) << 16;
        cuda::store_shared(to, words);
      });
    }
  }
  cuda::commit_copies();
}

}  // namespace heed::kernels::attention
