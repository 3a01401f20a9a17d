// Matrix products small enough for the first cache levels, and the copies of the operands that they read; defined in
// parts_simd.cpp. Included once per instruction set (Highway's foreach_target), hence the unusual guard.
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
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/simd-inl.h"
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

// A tile of sums: c [height, width] = a [height, depth] b [depth, width], or where it accumulates increased by it: by the
// sum of the whole depth, so that a sum over many blocks of few terms each rounds as often as the blocks and the terms of
// one, not as often as all terms. The factors come as numbers, which stay in registers, and not as structs, which would
// pass through memory.
using Tile = void (*)(const float* a, std::int64_t a_row, std::int64_t a_depth, const float* b, std::int64_t b_row,
                      std::int64_t depth, float* c, std::int64_t c_step);

// The tile of each size, at [rows - 1][vectors - 1].
using Tiles =
    std::array<std::array<Tile, static_cast<std::size_t>(tile_vectors)>, static_cast<std::size_t>(strip_rows)>;
extern const Tiles float_tiles[2];  // [1]: those that accumulate

// c [rows, width] = a [rows, depth] b [depth, width], or increased by it, as the tiles do; width in whole vectors.
HWY_INLINE void multiply(const Tiles& tiles, Left a, std::int64_t rows, Right b, std::int64_t width, std::int64_t depth,
                         float* c, std::int64_t c_step) {
  for (std::int64_t v = 0; v < width; v += panel_width) {
    const auto vectors = static_cast<std::size_t>(std::min(tile_vectors, (width - v) / vector_floats));
    for (std::int64_t r = 0; r < rows; r += strip_rows) {
      const auto height = static_cast<std::size_t>(std::min(strip_rows, rows - r));
      tiles[height - 1][vectors - 1](a.data + r * a.row_step, a.row_step, a.depth_step, b.data + v, b.row_step, depth,
                                     c + r * c_step + v, c_step);
    }
  }
}

// c [rows, width] += a [rows, depth] b [depth, width]
HWY_INLINE void add_product(const Tiles* tiles, Left a, std::int64_t rows, Right b, std::int64_t width,
                            std::int64_t depth, float* c, std::int64_t c_step) {
  multiply(tiles[1], a, rows, b, width, depth, c, c_step);
}

// c[r, j] = a[r] . x[j] for rows [0, rows), at most strip_rows, and j in [begin, end), whole vectors; x in panels.
HWY_INLINE void multiply_panels(const Tiles* tiles, Left a, std::int64_t rows, const float* panels, std::int64_t depth,
                                std::int64_t begin, std::int64_t end, float* c, std::int64_t c_step) {
  for (std::int64_t j = begin; j < end;) {
    const std::int64_t panel = round_down(j, panel_width), stop = std::min(end, panel + panel_width);
    multiply(tiles[0], a, rows, {panels + panel * depth + (j - panel), panel_width}, stop - j, depth, c + j, c_step);
    j = stop;
  }
}

// c[r, j] = a[r] . x[j] for rows [0, rows) and j in [begin, end), rows of x of whole vectors: for so few rows of a that the
// sums over lanes cost less than panels of x would.
void multiply_rows(Left a, std::int64_t rows, Right x, std::int64_t depth, std::int64_t begin, std::int64_t end,
                   float* c, std::int64_t c_step);

// ---- copies of operands ---------------------------------------------------------------------------------------------

// One head of a view [batch, heads, rows, columns], from a row on.
struct Head {
  const View& view;
  std::int64_t start;

  Head(const View& view, std::int64_t b, std::int64_t h, std::int64_t first_row)
      : view(view), start(b * view.strides[0] + h * view.strides[1] + first_row * view.strides[2]) {}
  std::int64_t row(std::int64_t i) const { return start + i * view.strides[2]; }
};

// to [n, padded(dim)] = rows [first, first + n) of a head, times factor.
void gather_rows(const Head& x, std::int64_t first, std::int64_t n, float factor, float* to);

// The other way: the first n rows of a head = from [n, padded(dim)], times factor.
void scatter_rows(const float* from, std::int64_t n, float factor, const Head& y);

// y[0, columns) = factor from: floats side by side at once, others by a call.
void scatter_any_row(const float* from, std::int64_t columns, float factor, const View& y, std::int64_t at);

HWY_INLINE void scatter_row(const float* from, std::int64_t columns, float factor, const View& y, std::int64_t at) {
  if (y.dtype != Dtype::f32 || y.strides[3] != 1) return scatter_any_row(from, columns, factor, y, at);
  float* const to = y.as<float>() + at;
  for_vectors(0, columns, [&](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, from + i), hn::Set(d, factor)), d, to + i);
  });
}

// rows [n, dim], `row_step` apart, as panels; what is missing from the last panel is 0.
void transpose_to_panels(const float* rows, std::int64_t row_step, std::int64_t n, std::int64_t dim, float* panels);

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
