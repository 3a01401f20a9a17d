// Small matrix products for attention: a strip of six rows against many columns, and many rows into a strip of six. Six
// because that fills the registers: of 32 with AVX-512, 6 x 4 hold sums; of 16 elsewhere, 6 x 2. Included once per
// instruction set (Highway's foreach_target), hence the unusual guard.
//
//   panels   x [length, dim] in groups of panel_width rows, each group transposed to [dim, panel_width], so that one
//            vector holds the same coordinate of neighbouring keys
//   rows     x [length, dim] as it is, each row filled up with zeros to whole vectors
//   strip    six rows, transposed: [dim, 6], so that the six numbers that meet a vector lie together
#if defined(HEED_KERNELS_ATTENTION_STRIPS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEED_KERNELS_ATTENTION_STRIPS_INL_H
#undef HEED_KERNELS_ATTENTION_STRIPS_INL_H
#else
#define HEED_KERNELS_ATTENTION_STRIPS_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr float minus_infinity = -std::numeric_limits<float>::infinity();
inline constexpr int strip_rows = 6;
inline constexpr std::int64_t strip_columns = 512;  // of a strip of scores; its row stride
inline constexpr std::int64_t vector_floats = HWY_LANES(float);
inline constexpr int tile_vectors = vector_floats >= 16 ? 4 : 2;
inline constexpr std::int64_t panel_width = tile_vectors * vector_floats;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// Hands out parts of the workspace, each at the start of a cache line.
class Workspace {
 public:
  explicit Workspace(float* begin) : next_(begin) {}
  float* take(std::int64_t count) {
    float* const part = next_;
    next_ += round_up(count, 16);
    return part;
  }

 private:
  float* next_;
};

// ---- operands -------------------------------------------------------------------------------------------------------

struct Panels {
  const float* data;  // [panels, depth, panel_width]
  std::int64_t depth;
};

struct PanelsByHead {
  const float* data;
  std::int64_t depth, per_head;
  Panels operator[](std::int64_t head) const { return {data + head * per_head, depth}; }
};

struct Rows {
  const float* data;
  std::int64_t row_stride, width;  // width: in whole vectors
  Rows from(std::int64_t row) const { return {data + row * row_stride, row_stride, width}; }
};

// The heads [batch * heads] of a view: where its rows lie, or a copy of them.
struct RowsByHead {
  View view;
  const float* copy;
  std::int64_t width;
  Rows operator[](std::int64_t head) const {
    if (copy != nullptr) return {copy + head * view.shape[2] * width, width, width};
    const std::int64_t b = head / view.shape[1], h = head % view.shape[1];
    return {view.as<float>() + b * view.strides[0] + h * view.strides[1], view.strides[2], width};
  }
};

// The panels of all heads of a view [batch, heads, length, dim]. What is missing from the last panel is 0.
HWY_INLINE PanelsByHead panels_of(const View& x, Workspace& space) {
  const std::int64_t heads = x.shape[0] * x.shape[1], length = x.shape[2], depth = x.shape[3];
  const std::int64_t panels = (length + panel_width - 1) / panel_width;
  float* const data = space.take(heads * panels * panel_width * depth);
  parallel_for(heads * panels, 1 + 16384 / (panel_width * depth), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t panel = begin; panel < end; ++panel) {
      const std::int64_t head = panel / panels, first = panel % panels * panel_width;
      const float* const from = x.as<float>() + head / x.shape[1] * x.strides[0] + head % x.shape[1] * x.strides[1];
      float* const to = data + panel * panel_width * depth;
      const std::int64_t count = std::min(panel_width, length - first);
      for (std::int64_t c = 0; c < count; ++c) {
        const float* const row = from + (first + c) * x.strides[2];
        for (std::int64_t d = 0; d < depth; ++d) to[d * panel_width + c] = row[d * x.strides[3]];
      }
      for (std::int64_t d = 0; d < depth && count < panel_width; ++d)
        std::fill(to + d * panel_width + count, to + (d + 1) * panel_width, 0.0f);
    }
  });
  return {data, depth, panels * panel_width * depth};
}

// The rows of all heads; copied unless they lie as they should.
HWY_INLINE RowsByHead rows_of(const View& x, Workspace& space) {
  const std::int64_t dim = x.shape[3], width = round_up(dim, vector_floats);
  if (x.strides[3] == 1 && width == dim) return {x, nullptr, width};
  const std::int64_t count = x.shape[0] * x.shape[1] * x.shape[2];
  float* const data = space.take(count * width);
  parallel_for(count, 1 + 16384 / width, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t i = row % x.shape[2], head = row / x.shape[2];
      const float* const from =
          x.as<float>() + head / x.shape[1] * x.strides[0] + head % x.shape[1] * x.strides[1] + i * x.strides[2];
      float* const to = data + row * width;
      for (std::int64_t d = 0; d < dim; ++d) to[d] = from[d * x.strides[3]];
      std::fill(to + dim, to + width, 0.0f);
    }
  });
  return {x, data, width};
}

// strip [dim, 6] = factor x[b, h, first : first + rows, :]; zeros for the rows that are missing.
HWY_INLINE void gather_strip(const View& x, std::int64_t b, std::int64_t h, std::int64_t first, int rows, float factor,
                             float* strip) {
  const float* const from = x.as<float>() + b * x.strides[0] + h * x.strides[1] + first * x.strides[2];
  for (int r = 0; r < strip_rows; ++r) {
    for (std::int64_t d = 0; d < x.shape[3]; ++d)
      strip[d * strip_rows + r] = r < rows ? factor * from[r * x.strides[2] + d * x.strides[3]] : 0;
  }
}

// x[b, h, i, :] = factor row
HWY_INLINE void scatter_row(const float* row, const View& x, std::int64_t b, std::int64_t h, std::int64_t i,
                            float factor) {
  float* const to = x.as<float>() + b * x.strides[0] + h * x.strides[1] + i * x.strides[2];
  for (std::int64_t d = 0; d < x.shape[3]; ++d) to[d * x.strides[3]] = factor * row[d];
}

// ---- products -------------------------------------------------------------------------------------------------------

// s [6, panel_width] = strip^T panel
HWY_INLINE void multiply_tile(const float* strip, const float* panel, std::int64_t depth, float* s) {
  const hn::ScalableTag<float> d;
  hn::Vec<decltype(d)> sums[strip_rows][tile_vectors];
  for (auto& row : sums)
    for (auto& sum : row) sum = hn::Zero(d);
  for (std::int64_t k = 0; k < depth; ++k) {
    hn::Vec<decltype(d)> columns[tile_vectors];
    for (int v = 0; v < tile_vectors; ++v) columns[v] = hn::LoadU(d, panel + k * panel_width + v * vector_floats);
    for (int r = 0; r < strip_rows; ++r) {
      const auto x = hn::Set(d, strip[k * strip_rows + r]);
      for (int v = 0; v < tile_vectors; ++v) sums[r][v] = hn::MulAdd(x, columns[v], sums[r][v]);
    }
  }
  for (int r = 0; r < strip_rows; ++r)
    for (int v = 0; v < tile_vectors; ++v) hn::StoreU(sums[r][v], d, s + r * strip_columns + v * vector_floats);
}

// s [6, n] = strip^T columns[first : first + n]; first is a multiple of panel_width, and s is written to whole panels.
HWY_INLINE void multiply_strip(const float* strip, const Panels& columns, std::int64_t first, std::int64_t n,
                               float* s) {
  const float* panel = columns.data + first * columns.depth;
  for (std::int64_t c = 0; c < n; c += panel_width, panel += columns.depth * panel_width)
    multiply_tile(strip, panel, columns.depth, s + c);
}

// sums [6, vectors] += s [6, n] rows [n, vectors]
template <int vectors>
HWY_INLINE void accumulate_tile(const float* s, const Rows& rows, std::int64_t n, float* sums, std::int64_t stride) {
  const hn::ScalableTag<float> d;
  hn::Vec<decltype(d)> total[strip_rows][vectors];
  for (int r = 0; r < strip_rows; ++r)
    for (int v = 0; v < vectors; ++v) total[r][v] = hn::LoadU(d, sums + r * stride + v * vector_floats);
  for (std::int64_t j = 0; j < n; ++j) {
    hn::Vec<decltype(d)> row[vectors];
    for (int v = 0; v < vectors; ++v) row[v] = hn::LoadU(d, rows.data + j * rows.row_stride + v * vector_floats);
    for (int r = 0; r < strip_rows; ++r) {
      const auto x = hn::Set(d, s[r * strip_columns + j]);
      for (int v = 0; v < vectors; ++v) total[r][v] = hn::MulAdd(x, row[v], total[r][v]);
    }
  }
  for (int r = 0; r < strip_rows; ++r)
    for (int v = 0; v < vectors; ++v) hn::StoreU(total[r][v], d, sums + r * stride + v * vector_floats);
}

// sums [6, rows.width] += s [6, n] rows[0 : n]
HWY_INLINE void accumulate_strip(const float* s, Rows rows, std::int64_t n, float* sums) {
  const std::int64_t stride = rows.width;
  std::int64_t left = rows.width / vector_floats;
  for (; left >= tile_vectors; left -= tile_vectors) {
    accumulate_tile<tile_vectors>(s, rows, n, sums, stride);
    rows.data += panel_width;
    sums += panel_width;
  }
  if (left == 3) accumulate_tile<3>(s, rows, n, sums, stride);
  if (left == 2) accumulate_tile<2>(s, rows, n, sums, stride);
  if (left == 1) accumulate_tile<1>(s, rows, n, sums, stride);
}

// ---- one row of scores, [0, n), n in whole vectors ------------------------------------------------------------------

// s = exp(s - from); returns the sum.
HWY_INLINE double exp_row(float* s, std::int64_t n, float from) {
  const hn::ScalableTag<float> d;
  auto sum = hn::Zero(d);
  for (std::int64_t c = 0; c < n; c += vector_floats) {
    const auto e = exp_of_nonpositive(d, hn::Sub(hn::LoadU(d, s + c), hn::Set(d, from)));
    hn::StoreU(e, d, s + c);
    sum = hn::Add(sum, e);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

HWY_INLINE void scale_row(float* x, std::int64_t n, float factor) {
  const hn::ScalableTag<float> d;
  for (std::int64_t c = 0; c < n; c += vector_floats)
    hn::StoreU(hn::Mul(hn::LoadU(d, x + c), hn::Set(d, factor)), d, x + c);
}

// s = exp(s - log_sum_exp) (product - delta)
HWY_INLINE void dscores_row(float* s, const float* product, std::int64_t n, float log_sum_exp, float delta) {
  const hn::ScalableTag<float> d;
  for (std::int64_t c = 0; c < n; c += vector_floats) {
    const auto p = exp_of_nonpositive(d, hn::Sub(hn::LoadU(d, s + c), hn::Set(d, log_sum_exp)));
    hn::StoreU(hn::Mul(p, hn::Sub(hn::LoadU(d, product + c), hn::Set(d, delta))), d, s + c);
  }
}

// Along a key: p = exp(s - log_sum_exp); s = p factors, product = p (product factors - delta). No factors: 1.
HWY_INLINE void weights_and_dscores(float* s, float* product, const float* factors, std::int64_t n,
                                    const float* log_sum_exp, const float* delta) {
  const hn::ScalableTag<float> d;
  for (std::int64_t c = 0; c < n; c += vector_floats) {
    const auto p = exp_of_nonpositive(d, hn::Sub(hn::LoadU(d, s + c), hn::LoadU(d, log_sum_exp + c)));
    const auto factor = factors == nullptr ? hn::Set(d, 1.0f) : hn::LoadU(d, factors + c);
    const auto dweight = hn::Sub(hn::Mul(hn::LoadU(d, product + c), factor), hn::LoadU(d, delta + c));
    hn::StoreU(hn::Mul(p, factor), d, s + c);
    hn::StoreU(hn::Mul(p, dweight), d, product + c);
  }
}

// p = p scale where the word's number reaches the threshold, else 0. Any n.
HWY_INLINE void scale_kept(float* p, const std::uint32_t* words, std::int64_t n, std::uint32_t threshold, float scale) {
  const auto limit = static_cast<std::int32_t>(threshold);  // 24 bits; vectors compare signed numbers
  for (std::int64_t c = 0; c < n; ++c) p[c] = static_cast<std::int32_t>(words[c] >> 8) < limit ? 0.0f : p[c] * scale;
}

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
