// Tiles of f32 in shared memory and products of them by plain multiply-adds: 256 threads as 16 x 16, each with a small tile of
// the result in registers. Thread (y, x) has of a product of m x n elements a thread the rows y m + r and the columns
// x + 16 j; of rows of `dim` columns it has dim / 16, in vectors of up to four.
#pragma once

#include <bit>

#include "kernels/attention/cuda/problem.cuh"
#include "kernels/cuda/shared_memory.cuh"
#include "kernels/dtypes.h"

namespace heed::kernels::attention {

inline constexpr int fma_threads = 256;

__device__ inline int thread_x() {
  return threadIdx.x % 16;
}
__device__ inline int thread_y() {
  return threadIdx.x / 16;
}

// A row-major tile in shared memory.
struct FloatTile {
  float* data;
  int pitch;
  __device__ float* row(int i) const { return data + i * pitch; }
};

// Fills `rows` x `columns` of a tile; zeros where there are no `rows_there` or `columns_there`.
template <int rows, int columns, class T>
__device__ inline void load_floats(const FloatTile& tile, const Operand<const T>& x, const T* first, int rows_there,
                                   int columns_there) {
#pragma unroll 4
  for (int index = threadIdx.x; index < rows * columns; index += fma_threads) {
    const int row = index / columns, column = index % columns;
    const bool there = row < rows_there && column < columns_there;
    tile.row(row)[column] = there ? static_cast<float>(first[row * x.row_stride + column * x.column_stride]) : 0;
  }
}

// Calls visit(e, member) for the four members of a float4. A loop that chose the member by number would give the same
// code, but the choices vanish only when it is unrolled: compiling some kernels took five times as long.
template <class Visit>
__device__ inline void each_member(Visit&& visit) {
  visit(0, &float4::x), visit(1, &float4::y), visit(2, &float4::z), visit(3, &float4::w);
}

// c = a b^T over `dim` columns. Pitches of 4 more than a multiple of 8 keep the rows of b in different banks.
template <int dim, int m, int n>
__device__ inline void multiply_rows(float (&c)[m][n], const FloatTile& a, const FloatTile& b) {
#pragma unroll
  for (int r = 0; r < m; ++r) {
#pragma unroll
    for (int j = 0; j < n; ++j) c[r][j] = 0;
  }
#pragma unroll 4
  for (int d = 0; d < dim; d += 4) {
    float4 rows[m], columns[n];
#pragma unroll
    for (int r = 0; r < m; ++r) rows[r] = *reinterpret_cast<const float4*>(a.row(thread_y() * m + r) + d);
#pragma unroll
    for (int j = 0; j < n; ++j) columns[j] = *reinterpret_cast<const float4*>(b.row(thread_x() + 16 * j) + d);
    each_member([&](int, float float4::*member) {
#pragma unroll
      for (int r = 0; r < m; ++r) {
#pragma unroll
        for (int j = 0; j < n; ++j) c[r][j] += rows[r].*member * columns[j].*member;
      }
    });
  }
}

template <int dim>
inline constexpr int fma_vector = dim < 64 ? dim / 16 : 4;

// The column of a row of `dim` that is the thread's number c of dim / 16.
template <int dim>
__device__ inline int fma_column(int c) {
  constexpr int vector = fma_vector<dim>;
  return c / vector * 16 * vector + thread_x() * vector + c % vector;
}

// The thread's columns of row `row`.
template <int dim>
__device__ inline void load_columns(float (&values)[dim / 16], const FloatTile& b, int row) {
  constexpr int vector = fma_vector<dim>;
#pragma unroll
  for (int c = 0; c < dim / 16; c += vector) {
    const float* const from = b.row(row) + fma_column<dim>(c);
    if constexpr (vector == 4) {
      const float4 v = *reinterpret_cast<const float4*>(from);
      values[c] = v.x, values[c + 1] = v.y, values[c + 2] = v.z, values[c + 3] = v.w;
    } else {
      const float2 v = *reinterpret_cast<const float2*>(from);
      values[c] = v.x, values[c + 1] = v.y;
    }
  }
}

// c += a b, where a is [16 m, count] and b [count, dim].
template <int dim, int count, int m>
__device__ inline void add_product(float (&c)[m][dim / 16], const FloatTile& a, const FloatTile& b) {
#pragma unroll 2
  for (int k = 0; k < count; k += 4) {
    float4 rows[m];
#pragma unroll
    for (int r = 0; r < m; ++r) rows[r] = *reinterpret_cast<const float4*>(a.row(thread_y() * m + r) + k);
    each_member([&](int e, float float4::*member) {
      float values[dim / 16];
      load_columns<dim>(values, b, k + e);
#pragma unroll
      for (int r = 0; r < m; ++r) {
#pragma unroll
        for (int j = 0; j < dim / 16; ++j) c[r][j] += rows[r].*member * values[j];
      }
    });
  }
}

// c += a^T b, where a is [count, 16 m] and b [count, dim].
template <int dim, int count, int m>
__device__ inline void add_transposed_product(float (&c)[m][dim / 16], const FloatTile& a, const FloatTile& b) {
#pragma unroll 4
  for (int k = 0; k < count; ++k) {
    float column[m], values[dim / 16];
#pragma unroll
    for (int r = 0; r < m; ++r) column[r] = a.row(k)[thread_y() * m + r];
    load_columns<dim>(values, b, k);
#pragma unroll
    for (int r = 0; r < m; ++r) {
#pragma unroll
      for (int j = 0; j < dim / 16; ++j) c[r][j] += column[r] * values[j];
    }
  }
}

// Writes the thread's part of a product [16 m, n 16] to a tile.
template <int m, int n>
__device__ inline void store_tile(const FloatTile& tile, const float (&c)[m][n]) {
#pragma unroll
  for (int r = 0; r < m; ++r) {
#pragma unroll
    for (int j = 0; j < n; ++j) tile.row(thread_y() * m + r)[thread_x() + 16 * j] = c[r][j];
  }
}

// Writes rows [16 m, dim] to memory, times `factor`; of them there are rows_there and columns_there. Floats go four
// or two at once where that is possible.
template <int dim, int m, class T>
__device__ inline void store_rows(const Operand<T>& x, T* first, const float (&c)[m][dim / 16], float factor,
                                  int rows_there, int columns_there) {
  constexpr bool is_float = sizeof(T) == 4;
  constexpr int vector = fma_vector<dim>;
  const bool aligned = is_float && reinterpret_cast<std::uint64_t>(first) % (4 * vector) == 0 &&
                       x.row_stride % vector == 0 && x.column_stride == 1 && columns_there % vector == 0;
#pragma unroll
  for (int r = 0; r < m; ++r) {
    const int row = thread_y() * m + r;
    if (row >= rows_there) break;
    T* const to = first + row * x.row_stride;
    if (is_float && aligned) {
#pragma unroll
      for (int j = 0; j < dim / 16; j += vector) {
        const int column = fma_column<dim>(j);
        const auto word = [&](int e) { return std::bit_cast<std::uint32_t>(c[r][j + e] * factor); };
        if (column >= columns_there) continue;
        if constexpr (vector == 4) {
          cuda::store_16_bytes(to + column, make_uint4(word(0), word(1), word(2), word(3)));
        } else {
          cuda::store_8_bytes(to + column, make_uint2(word(0), word(1)));
        }
      }
      continue;
    }
#pragma unroll
    for (int j = 0; j < dim / 16; ++j) {
      const int column = fma_column<dim>(j);
      if (column < columns_there) to[column * x.column_stride] = static_cast<T>(c[r][j] * factor);
    }
  }
}

// The sum, or the maximum that a NaN does not enter, over the sixteen threads of a row.
__device__ inline float row_sum(float x) {
#pragma unroll
  for (int mask = 8; mask > 0; mask /= 2) x += __shfl_xor_sync(~0u, x, mask);
  return x;
}
__device__ inline float row_max(float x) {
#pragma unroll
  for (int mask = 8; mask > 0; mask /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, mask));
  return x;
}

// Rows and columns of a step for each width of the operands: what fits into 163 KB of shared memory.
template <int dim_>
struct ForwardFmaTiling {
  static constexpr int dim = dim_, m = 4, n = dim > 128 ? 2 : 4, queries = 16 * m, keys = 16 * n;
  static constexpr int pitch = dim + 4, weights_pitch = keys + 16 / m;
  static constexpr int shared_bytes = 4 * (queries * pitch + keys * (pitch + dim) + queries * weights_pitch);
};

template <int dim_>
struct BackwardFmaTiling {
  static constexpr int dim = dim_, m = dim > 64 ? 2 : 4, n = dim > 128 ? 2 : 4, queries = 16 * m, keys = 16 * n;
  static constexpr int pitch = dim + 4, weights_pitch = keys + 16 / m;
  static constexpr int shared_bytes = 4 * (2 * (queries + keys) * pitch + 2 * queries * weights_pitch + 2 * queries);
};

}  // namespace heed::kernels::attention
