// From products to scores (in parts_simd.cpp) to weights, a row at a time, where the row lies in the first-level cache.
// Included once per instruction set (Highway's foreach_target), hence the unusual guard.
//
// Scores are kept in units of log 2, so that a weight is exp2 of one. Where a score is a product times a positive factor,
// the factor is left to the fused multiply-add before the exponential; the keys carry the sign of the scale.
#if defined(HEED_KERNELS_ATTENTION_SCORES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEED_KERNELS_ATTENTION_SCORES_INL_H
#undef HEED_KERNELS_ATTENTION_SCORES_INL_H
#else
#define HEED_KERNELS_ATTENTION_SCORES_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/attention/tiles-inl.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/random/philox.h"
#include "kernels/random/random_simd.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr float minus_infinity = -std::numeric_limits<float>::infinity();
inline constexpr double log2_e = 1.4426950408889634;
inline constexpr std::int64_t most_columns = 512;  // of a row of scores

struct Problem {
  const View &query, &key, &value;
  const AttentionOptions& options;

  std::int64_t heads() const { return query.shape[1]; }
  std::int64_t key_heads() const { return key.shape[1]; }
  std::int64_t group() const { return heads() / key_heads(); }
  std::int64_t head_dim() const { return query.shape[3]; }
  std::int64_t value_dim() const { return value.shape[3]; }
  std::int64_t sequences() const { return attention_sequences(query, options); }
  AttentionSequence sequence(std::int64_t s) const { return attention_sequence(query, key, options, s); }
  std::int64_t longest_queries() const { return options.packed() ? options.longest_queries : query.shape[2]; }
  std::int64_t longest_keys() const { return options.packed() ? options.longest_keys : key.shape[2]; }

  float key_factor() const { return options.scale < 0 ? -1.0f : 1.0f; }
  // Whether a score is a product times a positive factor, where it is not -inf.
  bool is_linear() const {
    const bool has_bias = options.mask.data != nullptr && options.mask.dtype == Dtype::f32;
    return options.softcap == 0 && options.alibi_slopes.data == nullptr && !has_bias && options.scale != 0;
  }
  // Weights are exp2(factor score - a number of the row).
  float factor() const { return is_linear() ? static_cast<float>(std::abs(options.scale) * log2_e) : 1.0f; }
};

// One query of a sequence.
struct QueryRow {
  std::int64_t head, query;  // query: within the sequence
  AttentionSpan keys;        // where it may look, as far as causality, window and lengths decide
};

// A stretch of the keys of a sequence, and which columns of it, in whole vectors, a strip is to look at.
struct Columns {
  std::int64_t first;  // column 0 is this key
  std::int64_t begin, end;
  bool is_empty() const { return begin >= end; }
};

// The columns that any of the rows looks at, of the keys [first, first + n).
HWY_INLINE Columns columns_of(const QueryRow* rows, std::int64_t count, std::int64_t first, std::int64_t n) {
  std::int64_t begin = n, end = 0;
  for (std::int64_t r = 0; r < count; ++r) {
    if (rows[r].keys.begin >= rows[r].keys.end) continue;
    begin = std::min(begin, std::max<std::int64_t>(rows[r].keys.begin - first, 0));
    end = std::max(end, std::min(rows[r].keys.end - first, n));
  }
  if (begin >= end) return {first, 0, 0};
  return {first, round_down(begin, vector_floats), round_up(end, vector_floats)};
}

// ---- products to scores ---------------------------------------------------------------------------------------------

// Of one row of products: softcap and ALiBi. slopes: the derivative of the softcap, if wanted.
void bend_scores(const Problem& problem, std::int64_t s_index, const AttentionSequence& sequence, const QueryRow& row,
                 const Columns& columns, float* s, float* slopes);

// The mask of a row, from first_key on, to the scores s[0, n).
void apply_mask(const View& mask, const AttentionSequence& sequence, const QueryRow& row, std::int64_t first_key,
                float* s, std::int64_t n);

// Makes scores of one row of products s[begin, end); -inf where the query may not look.
HWY_INLINE void finish_scores(const Problem& problem, std::int64_t s_index, const AttentionSequence& sequence,
                              const QueryRow& row, const Columns& columns, float* s, float* slopes = nullptr) {
  const std::int64_t begin = columns.begin, end = columns.end;
  const std::int64_t low = std::clamp(row.keys.begin - columns.first, begin, end);
  const std::int64_t high = std::clamp(row.keys.end - columns.first, low, end);
  if (!problem.is_linear()) bend_scores(problem, s_index, sequence, row, columns, s, slopes);
  if (const View& mask = problem.options.mask; mask.data != nullptr)
    apply_mask(mask, sequence, row, columns.first + low, s + low, high - low);
  if (begin < low) fill(s + begin, low - begin, minus_infinity);
  if (high < end) fill(s + high, end - high, minus_infinity);
}

// ---- scores to weights ----------------------------------------------------------------------------------------------

// exp2(x) for x <= 0 (and a little above); below the smallest normal number it is 0. NaN stays NaN. Polynomial: minimax
// in the relative error over [0, 1], 1 + x q(x), by reweighted least squares.
HWY_INLINE hn::Vec<hn::ScalableTag<float>> exp2_of_nonpositive(hn::Vec<hn::ScalableTag<float>> x) {
  const hn::ScalableTag<float> d;
  const auto power_of_fraction = [d](auto f) HWY_ATTR {
    return polynomial(d, f, 2.1612915e-4f, 1.2467847e-3f, 9.675452e-3f, 5.5485282e-2f, 0.24022931f, 0.69314706f, 1.0f);
  };
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  // Two instructions of AVX-512: the fraction x - floor(x), 0 for infinities; and y times 2^floor(x).
  const auto f = hn::Vec<decltype(d)>{_mm512_reduce_ps(x.raw, 0x09)};
  const __mmask16 is_normal = _mm512_cmp_ps_mask(x.raw, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
  return hn::Vec<decltype(d)>{_mm512_maskz_scalef_ps(is_normal, power_of_fraction(f).raw, x.raw)};
#else
  const hn::RebindToSigned<decltype(d)> di;
  const auto whole = hn::Floor(x);
  const auto power = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, whole), hn::Set(di, 127))));
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, -126.0f)), hn::Zero(d),
                        hn::Mul(power_of_fraction(hn::Sub(x, whole)), power));
#endif
}

// The random words of a stretch of one row's weights; `kept` from the word of the first on.
struct DropoutWords {
  alignas(64) std::uint32_t words[most_columns + 32];
  std::int32_t threshold = 0;

  explicit DropoutWords(const AttentionOptions& o)
      : threshold(static_cast<std::int32_t>(bernoulli_threshold(o.dropout))) {}

  // Those of the row's `columns`.
  const std::uint32_t* draw(const Problem& problem, const AttentionSequence& sequence, const QueryRow& row,
                            const Columns& columns) {
    const std::int64_t index =
        attention_weight(problem.query, problem.key, sequence.batch, row.head, sequence.first_query + row.query,
                         sequence.first_key + columns.first + columns.begin);
    const std::int64_t first = index / 4, blocks = (index + columns.end - columns.begin + 3) / 4 - first;
    philox_words_simd(words, problem.options.offset + static_cast<std::uint64_t>(first), blocks, problem.options.seed);
    return words + index % 4;
  }
};

// Whether each of the weights at w is dropped.
template <class D>
HWY_INLINE hn::Mask<D> is_dropped(D d, const std::uint32_t* w, std::int32_t threshold) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto number = hn::BitCast(di, hn::ShiftRight<8>(hn::LoadU(du, w)));  // 24 bits; vectors compare signed numbers
  return hn::RebindMask(d, hn::Lt(number, hn::Set(di, threshold)));
}

// s = exp2(factor s - from), whose sum it returns, then 0 where the weight is dropped.
template <bool has_dropout>
HWY_INLINE float exp2_row(float* s, std::int64_t n, float factor, float from, const std::uint32_t* words,
                          std::int32_t threshold) {
  const hn::ScalableTag<float> d;
  const auto a = hn::Set(d, factor), b = hn::Set(d, from);
  auto sum = hn::Zero(d);
  for (std::int64_t c = 0; c < n; c += vector_floats) {
    const auto e = exp2_of_nonpositive(hn::MulSub(hn::LoadU(d, s + c), a, b));
    sum = hn::Add(sum, e);
    if constexpr (has_dropout) {
      hn::StoreU(hn::IfThenZeroElse(is_dropped(d, words + c, threshold), e), d, s + c);
    } else {
      hn::StoreU(e, d, s + c);
    }
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// p = exp2(factor s - from); s = p, or 0 where it is dropped; product = p (product - delta), the product counting
// `kept` times where it is kept and not at all where it is dropped.
template <bool has_dropout>
HWY_INLINE void dscores_row(float* s, float* product, std::int64_t n, float factor, float from, float delta,
                            const std::uint32_t* words, std::int32_t threshold, float kept) {
  const hn::ScalableTag<float> d;
  const auto a = hn::Set(d, factor), b = hn::Set(d, from), offset = hn::Set(d, delta);
  for (std::int64_t c = 0; c < n; c += vector_floats) {
    const auto p = exp2_of_nonpositive(hn::MulSub(hn::LoadU(d, s + c), a, b));
    const auto dp = hn::LoadU(d, product + c);
    if constexpr (has_dropout) {
      const auto dropped = is_dropped(d, words + c, threshold);
      const auto whole = hn::IfThenZeroElse(dropped, dp);
      hn::StoreU(hn::IfThenZeroElse(dropped, p), d, s + c);
      hn::StoreU(hn::Mul(p, hn::MulSub(whole, hn::Set(d, kept), offset)), d, product + c);
    } else {
      hn::StoreU(p, d, s + c);
      hn::StoreU(hn::Mul(p, hn::Sub(dp, offset)), d, product + c);
    }
  }
}

HWY_INLINE void scale_row(float* x, std::int64_t n, float factor) {
  const hn::ScalableTag<float> d;
  for (std::int64_t c = 0; c < n; c += vector_floats)
    hn::StoreU(hn::Mul(hn::LoadU(d, x + c), hn::Set(d, factor)), d, x + c);
}

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
