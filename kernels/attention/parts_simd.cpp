// What the fused kernels share, compiled once for them: the products and copies of tiles-inl.h and pairs-inl.h, and the
// scores of scores-inl.h.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "kernels/dtypes.h"
#include "kernels/view.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/parts_simd.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include "kernels/attention/pairs-inl.h"
#include "kernels/attention/scores-inl.h"
#include "kernels/attention/tiles-inl.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {
namespace {

// As Tile, of this size.
template <int rows, int vectors, bool accumulate>
void multiply_tile(const float* a, std::int64_t a_row, std::int64_t a_depth, const float* b, std::int64_t b_row,
                   std::int64_t depth, float* c, std::int64_t c_step) {
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
  for (int r = 0; accumulate && r < rows; ++r)
    for (int v = 0; v < vectors; ++v) sum[r][v] = hn::Add(hn::LoadU(d, c + r * c_step + v * vector_floats), sum[r][v]);
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) hn::StoreU(sum[r][v], d, c + r * c_step + v * vector_floats);
}

template <bool accumulate>
struct FloatTiles {
  template <int rows, int vectors>
  static constexpr Tile tile = &multiply_tile<rows, vectors, accumulate>;
};

template <class Family>
constexpr Tiles tiles_of_all_sizes() {
  constexpr auto count = static_cast<std::size_t>(tile_vectors);
  return []<std::size_t... i>(std::index_sequence<i...>) {
    Tiles tiles{};
    ((tiles[i / count][i % count] =
          Family::template tile<static_cast<int>(i / count + 1), static_cast<int>(i % count + 1)>),
     ...);
    return tiles;
  }
  (std::make_index_sequence<static_cast<std::size_t>(strip_rows * tile_vectors)>());
}

}  // namespace

const Tiles float_tiles[2] = {tiles_of_all_sizes<FloatTiles<false>>(), tiles_of_all_sizes<FloatTiles<true>>()};

void multiply_rows(Left a, std::int64_t rows, Right x, std::int64_t depth, std::int64_t begin, std::int64_t end,
                   float* c, std::int64_t c_step) {
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

void gather_rows(const Head& x, std::int64_t first, std::int64_t n, float factor, float* to) {
  const std::int64_t dim = x.view.shape[3], width = padded(dim);
  for (std::int64_t i = 0; i < n; ++i) gather_row(x.view, x.row(first + i), dim, width, factor, to + i * width);
}

namespace {

template <class T>
HWY_INLINE void scatter_row_as(const float* from, std::int64_t columns, float factor, const View& y, std::int64_t at) {
  T* const to = y.as<T>() + at;
  const std::int64_t step = y.strides[3];
  for (std::int64_t d = 0; d < columns; ++d) to[d * step] = T(factor * from[d]);
}

}  // namespace

void scatter_any_row(const float* from, std::int64_t columns, float factor, const View& y, std::int64_t at) {
  with_type(Types<float, BFloat16, Float16>{}, y.dtype,
            [&]<class T>(T) HWY_ATTR { scatter_row_as<T>(from, columns, factor, y, at); });
}

void scatter_rows(const float* from, std::int64_t n, float factor, const Head& y) {
  const std::int64_t columns = y.view.shape[3], width = padded(columns);
  if (y.view.dtype == Dtype::bf16) {
    for (std::int64_t r = 0; r < n; ++r) scatter_row_as<BFloat16>(from + r * width, columns, factor, y.view, y.row(r));
  } else {
    for (std::int64_t r = 0; r < n; ++r) scatter_row(from + r * width, columns, factor, y.view, y.row(r));
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

void transpose_to_panels(const float* rows, std::int64_t row_step, std::int64_t n, std::int64_t dim, float* panels) {
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

// ---- products to scores ---------------------------------------------------------------------------------------------

namespace {

// s = softcap tanh(s scale / softcap), or s scale, in units of log 2. slopes: the derivative, if wanted.
void scale_and_cap(const AttentionOptions& o, float* s, std::int64_t n, float* slopes) {
  const hn::ScalableTag<float> d;
  const double scale = std::abs(o.scale);
  if (o.softcap == 0) {
    const auto factor = hn::Set(d, static_cast<float>(scale * log2_e));
    for (std::int64_t c = 0; c < n; c += vector_floats) hn::StoreU(hn::Mul(hn::LoadU(d, s + c), factor), d, s + c);
    return;
  }
  const auto inner = hn::Set(d, static_cast<float>(scale / o.softcap));
  const auto outer = hn::Set(d, static_cast<float>(o.softcap * log2_e));
  for (std::int64_t c = 0; c < n; c += vector_floats) {
    const auto t = vector_tanh(d, hn::Mul(hn::LoadU(d, s + c), inner));
    hn::StoreU(hn::Mul(t, outer), d, s + c);
    if (slopes != nullptr) hn::StoreU(hn::NegMulAdd(t, t, hn::Set(d, 1.0f)), d, slopes + c);
  }
}

// s[c] -= slope |distance - c|
void add_alibi(float slope, std::int64_t distance, float* s, std::int64_t n) {
  const hn::ScalableTag<float> d;
  const auto factor = hn::Set(d, slope);
  for (std::int64_t c = 0; c < n; c += vector_floats) {
    const auto gap = hn::Abs(hn::Sub(hn::Set(d, static_cast<float>(distance - c)), hn::Iota(d, 0.0f)));
    hn::StoreU(hn::NegMulAdd(factor, gap, hn::LoadU(d, s + c)), d, s + c);
  }
}

void forbid(const bool* allowed, std::int64_t step, float* s, std::int64_t n) {
  if (step == 1) {
    for_vectors(0, n, [&](auto d, std::int64_t c) HWY_ATTR {
      const hn::Rebind<std::uint8_t, decltype(d)> bytes;
      const hn::RebindToSigned<decltype(d)> di;
      const auto flag = hn::PromoteTo(di, hn::LoadU(bytes, reinterpret_cast<const std::uint8_t*>(allowed) + c));
      const auto no = hn::RebindMask(d, hn::Eq(flag, hn::Zero(di)));
      hn::StoreU(hn::IfThenElse(no, hn::Set(d, minus_infinity), hn::LoadU(d, s + c)), d, s + c);
    });
  } else if (step == 0) {
    if (!*allowed) fill(s, n, minus_infinity);
  } else {
    for (std::int64_t c = 0; c < n; ++c) s[c] = allowed[c * step] ? s[c] : minus_infinity;
  }
}

// -inf forbids, whatever the score is.
void add_bias(const float* bias, std::int64_t step, float* s, std::int64_t n) {
  constexpr auto unit = static_cast<float>(log2_e);
  if (step == 1) {
    for_vectors(0, n, [&](auto d, std::int64_t c) HWY_ATTR {
      const auto x = hn::LoadU(d, bias + c), no = hn::Set(d, minus_infinity);
      const auto sum = hn::MulAdd(x, hn::Set(d, unit), hn::LoadU(d, s + c));
      hn::StoreU(hn::IfThenElse(hn::Eq(x, no), no, sum), d, s + c);
    });
  } else {
    for (std::int64_t c = 0; c < n; ++c) {
      const float x = bias[c * step];
      s[c] = x == minus_infinity ? minus_infinity : s[c] + x * unit;
    }
  }
}

}  // namespace

void bend_scores(const Problem& problem, std::int64_t s_index, const AttentionSequence& sequence, const QueryRow& row,
                 const Columns& columns, float* s, float* slopes) {
  const AttentionOptions& o = problem.options;
  const std::int64_t begin = columns.begin, n = columns.end - columns.begin;
  scale_and_cap(o, s + begin, n, slopes == nullptr ? nullptr : slopes + begin);
  if (o.alibi_slopes.data == nullptr) return;
  const View& alibi = o.alibi_slopes;
  const float slope = alibi.as<const float>()[s_index * alibi.strides[0] + row.head * alibi.strides[1]];
  add_alibi(slope * static_cast<float>(log2_e), row.query + sequence.shift - columns.first - begin, s + begin, n);
}

void apply_mask(const View& mask, const AttentionSequence& sequence, const QueryRow& row, std::int64_t first_key,
                float* s, std::int64_t n) {
  const std::int64_t step = mask.strides[3];
  const std::int64_t at = sequence.batch * mask.strides[0] + row.head * mask.strides[1] +
                          (sequence.first_query + row.query) * mask.strides[2] +
                          (sequence.first_key + first_key) * step;
  if (mask.dtype == Dtype::boolean) {
    forbid(mask.as<const bool>() + at, step, s, n);
  } else {
    add_bias(mask.as<const float>() + at, step, s, n);
  }
}

// ---- pairs of bf16 --------------------------------------------------------------------------------------------------

#if HEED_HAS_PAIRS
namespace {

// As multiply_tile, of pairs.
template <int rows, int vectors, bool accumulate>
__attribute__((target("avx512bf16"))) void multiply_pair_tile(const float* a, std::int64_t a_row, std::int64_t a_depth,
                                                              const float* b, std::int64_t b_row, std::int64_t depth,
                                                              float* c, std::int64_t c_step) {
  __m512 sum[rows][vectors];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) sum[r][v] = _mm512_setzero_ps();
  for (std::int64_t k = 0; k < depth; ++k, a += a_depth, b += b_row) {
    __m512i row[vectors];
    for (int v = 0; v < vectors; ++v) row[v] = _mm512_loadu_si512(b + v * vector_floats);
    for (int r = 0; r < rows; ++r) {
      const __m512i x = _mm512_castps_si512(_mm512_set1_ps(a[r * a_row]));
      for (int v = 0; v < vectors; ++v)
        sum[r][v] = _mm512_dpbf16_ps(sum[r][v], reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(row[v]));
    }
  }
  for (int r = 0; accumulate && r < rows; ++r)
    for (int v = 0; v < vectors; ++v)
      sum[r][v] = _mm512_add_ps(_mm512_loadu_ps(c + r * c_step + v * vector_floats), sum[r][v]);
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) _mm512_storeu_ps(c + r * c_step + v * vector_floats, sum[r][v]);
}

template <bool accumulate>
struct PairTiles {
  template <int rows, int vectors>
  static constexpr Tile tile = &multiply_pair_tile<rows, vectors, accumulate>;
};

}  // namespace

const Tiles pair_tiles[2] = {tiles_of_all_sizes<PairTiles<false>>(), tiles_of_all_sizes<PairTiles<true>>()};

void gather_pair_rows(const Head& x, std::int64_t first, std::int64_t n, std::int64_t width, std::uint32_t flip,
                      float* to) {
  for (std::int64_t r = 0; r < n; ++r) gather_pair_row(x.view, x.row(first + r), width, flip, to + r * width);
}

void interleave_rows(const Head& x, std::int64_t first, std::int64_t n, float* copy, float* to) {
  const std::int64_t width = padded(x.view.shape[3]), half = two_rows(width) / 2;
  const bool can_be_read = x.view.strides[3] == 1 && x.view.shape[3] == width;
  const auto row = [&](std::int64_t i, float* copy) -> const std::uint16_t* {
    if (can_be_read && i < n) return x.view.as<const std::uint16_t>() + x.row(first + i);
    if (i < n) {
      gather_pair_row(x.view, x.row(first + i), half, 0, copy);
    } else {
      std::memset(copy, 0, static_cast<std::size_t>(half) * sizeof(float));
    }
    return reinterpret_cast<const std::uint16_t*>(copy);
  };
  for (std::int64_t i = 0; i < n; i += 2, to += width) {
    const std::uint16_t *const even = row(i, copy), *const odd = row(i + 1, copy + half);
    for (std::int64_t c = 0; c < width; ++c) store_bits(even[c] | static_cast<std::uint32_t>(odd[c]) << 16, to + c);
  }
}

#endif

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
