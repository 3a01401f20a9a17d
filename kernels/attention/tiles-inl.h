// Matrix products small enough for the first cache levels, and the copies of the operands that they read. Included once
// per instruction set (Highway's foreach_target), hence the unusual guard.
//
// A tile of sums stays in registers: six rows by as many vectors as fit, four with the 32 registers of AVX-512, two
// elsewhere. One step of its depth loads the vectors and multiplies each by six single numbers, which may lie anywhere:
// so a left factor is used where it is, transposed or not. A right factor needs vectors along its rows:
//
//   rows     x [length, dim], each row filled up with zeros to whole vectors
//   panels   x [length, dim] in groups of panel_width rows, each group transposed to [dim, panel_width]
#if defined(HEED_KERNELS_ATTENTION_TILES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEED_KERNELS_ATTENTION_TILES_INL_H
#undef HEED_KERNELS_ATTENTION_TILES_INL_H
#else
#define HEED_KERNELS_ATTENTION_TILES_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "kernels/cpu/simd-inl.h"
#include "kernels/dtypes.h"
#include "kernels/view.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr std::int64_t strip_rows = 6;
inline constexpr std::int64_t vector_floats = HWY_LANES(float);
inline constexpr std::int64_t tile_vectors = vector_floats >= 16 ? 4 : 2;
inline constexpr std::int64_t panel_width = tile_vectors * vector_floats;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}
constexpr std::int64_t round_down(std::int64_t n, std::int64_t multiple) {
  return n / multiple * multiple;
}
// Of a row of `dim` numbers, filled up.
constexpr std::int64_t padded(std::int64_t dim) {
  return round_up(dim, vector_floats);
}

// ---- products -------------------------------------------------------------------------------------------------------

// A left factor: element (row, k) lies at data[row * row_step + k * depth_step].
struct Left {
  const float* data;
  std::int64_t row_step, depth_step;
};
// A right factor: row k begins at data + k * row_step.
struct Right {
  const float* data;
  std::int64_t row_step;
};

// c [rows, vectors] = a [rows, depth] b [depth, vectors], or with `accumulate` is increased by it: by the sum of the
// whole depth, so that a sum over many blocks of few terms each rounds as often as the blocks and the terms of one, not
// as often as all terms. The factors come as numbers, which stay in registers, and not as structs, which would pass
// through memory.
template <int rows, int vectors, bool accumulate>
HWY_NOINLINE void multiply_tile(const float* a, std::int64_t a_row, std::int64_t a_depth, const float* b,
                                std::int64_t b_row, std::int64_t depth, float* c, std::int64_t c_step) {
  const hn::ScalableTag<float> d;
  hn::Vec<decltype(d)> sum[rows][vectors];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) sum[r][v] = hn::Zero(d);
  for (std::int64_t k = 0; k < depth; ++k, a += a_depth, b += b_row) {
    hn::Vec<decltype(d)> row[vectors];
    for (int v = 0; v < vectors; ++v) row[v] = hn::LoadU(d, b + v * vector_floats);
    for (int r = 0; r < rows; ++r) {
      const auto x = hn::Set(d, a[r * a_row]);
      for (int v = 0; v < vectors; ++v) sum[r][v] = hn::MulAdd(x, row[v], sum[r][v]);
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) {
      float* const to = c + r * c_step + v * vector_floats;
      hn::StoreU(accumulate ? hn::Add(hn::LoadU(d, to), sum[r][v]) : sum[r][v], d, to);
    }
  }
}

using Tile = void (*)(const float*, std::int64_t, std::int64_t, const float*, std::int64_t, std::int64_t, float*,
                      std::int64_t);

template <bool accumulate>
struct FloatTiles {
  template <int rows, int vectors>
  static constexpr Tile tile = &multiply_tile<rows, vectors, accumulate>;
};

// The tile of each size, at [rows - 1][vectors - 1].
template <class Tiles>
inline constexpr auto tile_of_size = []<std::size_t... i>(std::index_sequence<i...>) {
  constexpr auto count = static_cast<std::size_t>(tile_vectors);
  std::array<std::array<Tile, count>, strip_rows> tiles{};
  ((tiles[i / count][i % count] =
        Tiles::template tile<static_cast<int>(i / count + 1), static_cast<int>(i % count + 1)>),
   ...);
  return tiles;
}
(std::make_index_sequence<static_cast<std::size_t>(strip_rows* tile_vectors)>());

// c [rows, width] = a [rows, depth] b [depth, width], or increased by it; width in whole vectors.
template <bool accumulate, template <bool> class Tiles = FloatTiles>
HWY_INLINE void multiply(Left a, std::int64_t rows, Right b, std::int64_t width, std::int64_t depth, float* c,
                         std::int64_t c_step) {
  for (std::int64_t v = 0; v < width; v += panel_width) {
    const auto vectors = static_cast<std::size_t>(std::min(tile_vectors, (width - v) / vector_floats));
    for (std::int64_t r = 0; r < rows; r += strip_rows) {
      const auto height = static_cast<std::size_t>(std::min(strip_rows, rows - r));
      tile_of_size<Tiles<accumulate>>[height - 1][vectors - 1](
          a.data + r * a.row_step, a.row_step, a.depth_step, b.data + v, b.row_step, depth, c + r * c_step + v, c_step);
    }
  }
}

// c[r, j] = a[r] . x[j] for rows [0, rows), at most strip_rows, and j in [begin, end), whole vectors; x in panels.
template <template <bool> class Tiles = FloatTiles>
HWY_INLINE void multiply_panels(Left a, std::int64_t rows, const float* panels, std::int64_t depth, std::int64_t begin,
                                std::int64_t end, float* c, std::int64_t c_step) {
  for (std::int64_t j = begin; j < end;) {
    const std::int64_t panel = round_down(j, panel_width), stop = std::min(end, panel + panel_width);
    multiply<false, Tiles>(a, rows, {panels + panel * depth + (j - panel), panel_width}, stop - j, depth, c + j,
                           c_step);
    j = stop;
  }
}

// c[r, j] = a[r] . x[j] for rows [0, rows) and j in [begin, end), rows of x of whole vectors: for so few rows of a that the
// sums over lanes cost less than panels of x would.
HWY_INLINE void multiply_rows(Left a, std::int64_t rows, Right x, std::int64_t depth, std::int64_t begin,
                              std::int64_t end, float* c, std::int64_t c_step) {
  const hn::ScalableTag<float> d;
  for (std::int64_t j = begin; j < end; ++j) {
    const float* const row = x.data + j * x.row_step;
    for (std::int64_t r = 0; r < rows; ++r) {
      auto sum = hn::Zero(d);
      for (std::int64_t k = 0; k < depth; k += vector_floats)
        sum = hn::MulAdd(hn::LoadU(d, a.data + r * a.row_step + k), hn::LoadU(d, row + k), sum);
      c[r * c_step + j] = hn::GetLane(hn::SumOfLanes(d, sum));
    }
  }
}

// ---- copies of operands ---------------------------------------------------------------------------------------------

// One head of a view [batch, heads, rows, columns], from a row on.
struct Head {
  const View& view;
  std::int64_t start;

  Head(const View& view, std::int64_t b, std::int64_t h, std::int64_t first_row)
      : view(view), start(b * view.strides[0] + h * view.strides[1] + first_row * view.strides[2]) {}
  std::int64_t row(std::int64_t i) const { return start + i * view.strides[2]; }
};

// to[0, width) = factor x[0, columns), and zeros.
HWY_INLINE void gather_row(const View& x, std::int64_t at, std::int64_t columns, std::int64_t width, float factor,
                           float* to) {
  const std::int64_t step = x.strides[3];
  if (is_half(x.dtype)) {
    with_type(Halves{}, x.dtype, [&]<class T>(T) HWY_ATTR {
      const T* const from = x.as<const T>() + at;
      for (std::int64_t d = 0; d < columns; ++d) to[d] = factor * static_cast<float>(from[d * step]);
    });
  } else if (step == 1) {
    const float* const from = x.as<const float>() + at;
    for_vectors(0, columns, [&](auto d, std::int64_t i) HWY_ATTR {
      hn::StoreU(hn::Mul(hn::LoadU(d, from + i), hn::Set(d, factor)), d, to + i);
    });
  } else {
    const float* const from = x.as<const float>() + at;
    for (std::int64_t d = 0; d < columns; ++d) to[d] = factor * from[d * step];
  }
  std::fill(to + columns, to + width, 0.0f);
}

// to [n, padded(dim)] = rows [first, first + n) of a head, times factor.
HWY_INLINE void gather_rows(const Head& x, std::int64_t first, std::int64_t n, float factor, float* to) {
  const std::int64_t dim = x.view.shape[3], width = padded(dim);
  for (std::int64_t i = 0; i < n; ++i) gather_row(x.view, x.row(first + i), dim, width, factor, to + i * width);
}

// The other way.
HWY_INLINE void scatter_row(const float* from, std::int64_t columns, float factor, const View& y, std::int64_t at) {
  const std::int64_t step = y.strides[3];
  if (is_half(y.dtype)) {
    with_type(Halves{}, y.dtype, [&]<class T>(T) HWY_ATTR {
      T* const to = y.as<T>() + at;
      for (std::int64_t d = 0; d < columns; ++d) to[d * step] = T(factor * from[d]);
    });
  } else if (step == 1) {
    float* const to = y.as<float>() + at;
    for_vectors(0, columns, [&](auto d, std::int64_t i) HWY_ATTR {
      hn::StoreU(hn::Mul(hn::LoadU(d, from + i), hn::Set(d, factor)), d, to + i);
    });
  } else {
    float* const to = y.as<float>() + at;
    for (std::int64_t d = 0; d < columns; ++d) to[d * step] = factor * from[d];
  }
}

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void transpose_four(const float* from, std::int64_t from_step, float* to, std::int64_t to_step) {
  for (int r = 0; r < 4; ++r)
    for (int c = 0; c < 4; ++c) to[c * to_step + r] = from[r * from_step + c];
}
#else
// to [4, 4] = from [4, 4] transposed.
HWY_INLINE void transpose_four(const float* from, std::int64_t from_step, float* to, std::int64_t to_step) {
  const hn::Full128<float> d;
  const hn::Repartition<double, decltype(d)> pairs;
  const auto a = hn::LoadU(d, from), b = hn::LoadU(d, from + from_step);
  const auto c = hn::LoadU(d, from + 2 * from_step), e = hn::LoadU(d, from + 3 * from_step);
  const auto ab = hn::BitCast(pairs, hn::InterleaveLower(d, a, b)),
             ce = hn::BitCast(pairs, hn::InterleaveLower(d, c, e));
  const auto ab2 = hn::BitCast(pairs, hn::InterleaveUpper(d, a, b)),
             ce2 = hn::BitCast(pairs, hn::InterleaveUpper(d, c, e));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, ab, ce)), d, to);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, ab, ce)), d, to + to_step);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, ab2, ce2)), d, to + 2 * to_step);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, ab2, ce2)), d, to + 3 * to_step);
}
#endif

// rows [n, dim], `row_step` apart, as panels; what is missing from the last panel is 0.
HWY_INLINE void transpose_to_panels(const float* rows, std::int64_t row_step, std::int64_t n, std::int64_t dim,
                                    float* panels) {
  for (std::int64_t first = 0; first < n; first += panel_width, panels += dim * panel_width) {
    const std::int64_t count = std::min(panel_width, n - first);
    const float* const from = rows + first * row_step;
    const std::int64_t whole_rows = panel_width % 4 == 0 ? round_down(count, 4) : 0, whole_columns = round_down(dim, 4);
    for (std::int64_t r = 0; r < whole_rows; r += 4)
      for (std::int64_t c = 0; c < whole_columns; c += 4)
        transpose_four(from + r * row_step + c, row_step, panels + c * panel_width + r, panel_width);
    for (std::int64_t c = 0; c < dim; ++c) {
      float* const to = panels + c * panel_width;
      const std::int64_t done = c < whole_columns ? whole_rows : 0;
      for (std::int64_t r = done; r < count; ++r) to[r] = from[r * row_step + c];
      std::fill(to + count, to + panel_width, 0.0f);
    }
  }
}

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
