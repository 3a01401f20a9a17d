// Tiles of 16-bit elements in shared memory: rows of `columns` elements, in chunks of 16 bytes. Within each 128 bytes the chunks change
// places by an XOR with the row's number, so that the eight rows of an ldmatrix matrix lie in eight different groups of
// banks, and so do the eight chunks that eight neighbouring threads copy.
//
//   row 0   0 1 2 3 4 5 6 7        columns 64: a line of 128 bytes a row, chunk c at place c ^ (row % 8)
//   row 1   1 0 3 2 5 4 7 6        columns 32: two rows a line, chunk c at place c ^ (row / 2 % 4)
//   row 2   2 3 0 1 6 7 4 5
#pragma once

#include <cstdint>

#include "kernels/attention/cuda/problem.cuh"
#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/shared_memory.cuh"
#include "kernels/dtypes.h"

namespace heed::kernels::attention {

template <int rows_, int columns_, bool swizzled = true, class T = BFloat16>  // not swizzled: a rung of the ladder
struct Tile {
  using Element = T;
  static constexpr int rows = rows_, columns = columns_;
  static constexpr int row_bytes = 2 * columns, bytes = rows * row_bytes;
  static constexpr int line_chunks = row_bytes < 128 ? row_bytes / 16 : 8, rows_per_line = 8 / line_chunks;
  static constexpr int lines = row_bytes < 128 ? 1 : row_bytes / 128;

  // Where chunk `chunk` of the first line of row `row` lies, in the tile at `base`. Further lines are 128 bytes apart.
  __device__ static std::uint32_t at(std::uint32_t base, int row, int chunk) {
    return base + row * row_bytes + (swizzled ? chunk ^ (row / rows_per_line % line_chunks) : chunk) * 16;
  }

  // What a lane passes to ldmatrix to get 16 x 16 elements at (0, 0), of which each lane holds two neighbours of a row in
  // each of four words: as an A operand, or transposed as two B operands whose rows are the tile's rows.
  __device__ static std::uint32_t by_rows(std::uint32_t base, int lane) { return at(base, lane % 16, lane / 16); }
  // As two B operands whose columns are the tile's rows.
  __device__ static std::uint32_t by_columns(std::uint32_t base, int lane) {
    return at(base, lane % 8 + lane / 16 * 8, lane / 8 % 2);
  }
  // The same for the 16 x 16 elements at (16 i, 16 j).
  __device__ static std::uint32_t step(std::uint32_t address, int i, int j) {
    constexpr int steps = line_chunks / 2;
    return (address ^ (j % steps * 32)) + j / steps * 128 + i * 16 * row_bytes;
  }
};

// Copies tiles from rows in global memory, each thread the same chunk of every line and of every rows_per_pass-th row. Rows
// must be aligned and tile-wide. The pointer walks upwards from a tile's last rows to its first and on to the tile above,
// so it takes one addition a row.
template <class Tile, int threads>
class TileCopy {
  using Element = typename Tile::Element;

 public:
  static constexpr int rows_per_pass = threads / Tile::line_chunks;
  static_assert(rows_per_pass % 8 == 0 && Tile::rows % rows_per_pass == 0);

  // `from`: row 0 of the tile to copy first.
  __device__ TileCopy(std::uint32_t tile, const Element* from, std::int64_t row_stride)
      : from_(from + (thread_row() + Tile::rows - rows_per_pass) * row_stride + thread_chunk() * 8),
        to_(Tile::at(tile, thread_row(), thread_chunk())) {}

  // What to pass to the copies, through constant memory: bytes from a row to the one that the thread copies next.
  static std::int64_t step(std::int64_t row_stride) { return -2 * rows_per_pass * row_stride; }

  __device__ void operator()(std::int64_t step, int to = 0) { copy<true>(step, Tile::rows, to); }

  // Of the tile the first `rows` exist; zeros stand in for the others.
  __device__ void partial(std::int64_t step, int rows) { copy<false>(step, rows, 0); }

 private:
  __device__ static int thread_chunk() { return threadIdx.x % Tile::line_chunks; }
  __device__ static int thread_row() { return threadIdx.x / Tile::line_chunks; }

  template <bool whole>
  __device__ void copy(std::int64_t step, int rows, int offset) {
#pragma unroll
    for (int row = Tile::rows - rows_per_pass; row >= 0; row -= rows_per_pass) {
#pragma unroll
      for (int line = 0; line < Tile::lines; ++line) {
        const std::uint32_t to = to_ + offset + row * Tile::row_bytes + line * 128;
        if constexpr (whole) {
          cuda::copy_16_bytes(to, reinterpret_cast<const char*>(from_) + line * 128);
        } else {
          cuda::copy_16_bytes(to, reinterpret_cast<const char*>(from_) + line * 128,
                              thread_row() + row < rows ? 16 : 0);
        }
      }
      from_ = reinterpret_cast<const Element*>(reinterpret_cast<const char*>(from_) + step);
      asm volatile("" : "+l"(from_));  // or the compiler multiplies for every row
    }
  }

  const Element* from_;
  std::uint32_t to_;
};

}  // namespace heed::kernels::attention
