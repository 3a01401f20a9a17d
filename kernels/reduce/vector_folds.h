// The folds of reduce_simd.cpp, which are compiled once per instruction set.
#pragma once

#include <array>
#include <cstdint>

namespace heed::kernels {

using LineOffsets = std::array<std::int64_t, 1>;  // of a line, from x
using RowOffsets = std::array<std::int64_t, 2>;   // of a line, from x, and of its result, from y

// y[at[i][1]] = the result for x[at[i][0], ... + n), for each of `count` rows.
using RowsFunction = void (*)(const float* x, const RowOffsets* at, std::int64_t count, std::int64_t n, void* y);

// A fold in vectors, its accumulator's type left out.
struct VectorFold {
  RowsFunction rows;
  // The lines x[at[i], ... + n), one after the other, into one accumulator.
  void (*lines)(const float* x, const LineOffsets* at, std::int64_t count, std::int64_t n, void* accumulator);
  // The same lines, at most index_batch of them and strip_width wide, into an accumulator for each column.
  void (*columns)(const float* x, const LineOffsets* at, std::int64_t count, std::int64_t width, void* accumulators);
};

struct VectorFolds {
  VectorFold sum, sum_of_squares, max, min, log_sum_exp;
  RowsFunction argmax, argmin;
};

inline constexpr std::int64_t strip_width = 512;

}  // namespace heed::kernels
