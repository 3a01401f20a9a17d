// The weights and the gradient of the scores, for a block of queries against a block of keys: what both backwards start
// from. Included once per instruction set (Highway's foreach_target), hence the unusual guard.
#if defined(HEED_KERNELS_ATTENTION_GRADIENTS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEED_KERNELS_ATTENTION_GRADIENTS_INL_H
#undef HEED_KERNELS_ATTENTION_GRADIENTS_INL_H
#else
#define HEED_KERNELS_ATTENTION_GRADIENTS_INL_H
#endif

#include "kernels/attention/blocks-inl.h"
#include "kernels/attention/gradient_factors-inl.h"
#include "kernels/attention/scores-inl.h"
#include "kernels/attention/scratch.h"
#include "kernels/attention/tiles-inl.h"
#include "kernels/dtypes.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

inline constexpr std::int64_t gradient_strips = gradient_rows / strip_rows;

// What the forward returned, and the gradients of it.
struct GradientViews {
  const View &output, &log_sum_exp, &doutput, &dlog_sum_exp;
};

HWY_INLINE void add_row(const float* x, float* sum, std::int64_t n) {
  const hn::ScalableTag<float> d;
  for (std::int64_t c = 0; c < n; c += vector_floats)
    hn::StoreU(hn::Add(hn::LoadU(d, sum + c), hn::LoadU(d, x + c)), d, sum + c);
}

HWY_INLINE void multiply_row(const float* x, float* y, std::int64_t n) {
  const hn::ScalableTag<float> d;
  for (std::int64_t c = 0; c < n; c += vector_floats)
    hn::StoreU(hn::Mul(hn::LoadU(d, y + c), hn::LoadU(d, x + c)), d, y + c);
}

// The sum of products of two rows of views.
HWY_INLINE float dot_rows(const View& a, std::int64_t a_at, const View& b, std::int64_t b_at, std::int64_t n) {
  const bool are_whole = a.strides[3] == 1 && b.strides[3] == 1;
  if (are_whole && a.dtype == Dtype::f32 && b.dtype == Dtype::f32) {
    const float *const x = a.as<const float>() + a_at, *const y = b.as<const float>() + b_at;
    return static_cast<float>(
        sum_of(n, [=](auto d, std::int64_t i) HWY_ATTR { return hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, y + i)); }));
  }
  if (are_whole && a.dtype == Dtype::bf16 && b.dtype == Dtype::bf16) {
    const auto *const x = a.as<const std::uint16_t>() + a_at, *const y = b.as<const std::uint16_t>() + b_at;
    return static_cast<float>(sum_of(n, [=](auto d, std::int64_t i) HWY_ATTR {
      const auto widened = [d](const std::uint16_t* from) HWY_ATTR {
        const hn::RebindToUnsigned<decltype(d)> whole;
        const hn::Rebind<std::uint16_t, decltype(d)> half;
        return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(whole, hn::LoadU(half, from))));
      };
      return hn::Mul(widened(x + i), widened(y + i));
    }));
  }
  double sum = 0;
  const auto number = [](const View& x, std::int64_t at) {
    float number = 0;
    with_type(Types<float, BFloat16, Float16>{}, x.dtype,
              [&]<class T>(T) { number = static_cast<float>(x.as<const T>()[at]); });
    return number;
  };
  for (std::int64_t i = 0; i < n; ++i)
    sum += static_cast<double>(number(a, a_at + i * a.strides[3])) *
           static_cast<double>(number(b, b_at + i * b.strides[3]));
  return static_cast<float>(sum);
}

// The keys that sequence s has rows for, whether they may be looked at or not.
HWY_INLINE std::int64_t rows_of_keys(const Problem& problem, std::int64_t s) {
  return problem.options.packed() ? problem.sequence(s).keys : problem.key.shape[2];
}

// The queries that any of the keys [first, first + n) is looked at by: both ends of a key's queries only ever move on.
HWY_INLINE AttentionSpan queries_of_block(const Problem& problem, const AttentionSequence& sequence, std::int64_t first,
                                          std::int64_t n) {
  const AttentionOptions& o = problem.options;
  if (n <= 0) return {0, 0};
  return {queries_of_key(o.causal, o.window, sequence.shift, sequence.queries, first).begin,
          queries_of_key(o.causal, o.window, sequence.shift, sequence.queries, first + n - 1).end};
}

// Of queries: delta = doutput . output - dlog_sum_exp; and log_sum_exp in units of log 2, +inf where a query looks at
// nothing, so that its weights come out as 0.
struct RowStatistics {
  float *delta, *log_sum_exp;

  RowStatistics(std::int64_t rows, Arena& arena) : delta(arena.take(rows)), log_sum_exp(arena.take(rows)) {}
  static std::int64_t size(std::int64_t rows) { return 2 * rows; }

  // Of queries [first, first + n) of head h, to places from `at` on.
  void load(const AttentionSequence& sequence, std::int64_t h, std::int64_t first, std::int64_t n,
            const GradientViews& views, std::int64_t at) const {
    const std::int64_t b = sequence.batch, row = sequence.first_query + first;
    const auto statistic = [b, h](const View& x, std::int64_t i) {
      return x.as<const float>()[b * x.strides[0] + h * x.strides[1] + i * x.strides[2]];
    };
    const Head y(views.output, b, h, row), dy(views.doutput, b, h, row);
    for (std::int64_t i = 0; i < n; ++i) {
      const float x = statistic(views.log_sum_exp, row + i);
      const bool sees_nothing = x == minus_infinity;
      log_sum_exp[at + i] = sees_nothing ? -minus_infinity : static_cast<float>(static_cast<double>(x) * log2_e);
      delta[at + i] =
          sees_nothing ? 0 : dot_rows(views.output, y.row(i), views.doutput, dy.row(i), views.output.shape[3]);
      if (!sees_nothing && views.dlog_sum_exp.data != nullptr) delta[at + i] -= statistic(views.dlog_sum_exp, row + i);
    }
  }
};

// Of what the gradient is: the scores, or the products, which a softcap turns into scores.
enum class GradientOf { scores, products };

// A block of queries of one head, a block of keys, and what comes of them. Rows step by gradient_columns.
template <class Factors>
struct GradientBlock {
  bool has_slopes;
  const Problem& problem;
  const AttentionSequence& sequence;
  std::int64_t s;
  Factors factors;
  float *weights, *dscores;  // [gradient_rows, gradient_columns]; weights 0 where dropped
  float* slopes;
  DropoutWords dropout;
  std::int64_t first_query = 0, queries = 0, first_key = 0, keys = 0;
  QueryRow rows[gradient_rows];
  // What compute() found: the rows [first_row, last_row) that look at any of the keys, the columns that each strip of
  // them looks at, and those that any of them does. Outside of its own columns a strip's weights and dscores are 0.
  std::int64_t first_row = 0, last_row = 0;
  Columns strips[gradient_strips], columns{};

  // Of sequence s and key head g; key_block: keys of a block, most.
  GradientBlock(const Problem& problem, const AttentionSequence& sequence, std::int64_t s, std::int64_t g,
                const View& doutput, GradientOf what, std::int64_t key_block, Arena& arena)
      : has_slopes(what == GradientOf::products && problem.options.softcap > 0),
        problem(problem),
        sequence(sequence),
        s(s),
        factors(problem, sequence, g, doutput, key_block, arena),
        weights(arena.take(gradient_rows * gradient_columns)),
        dscores(arena.take(gradient_rows * gradient_columns)),
        slopes(arena.take(gradient_columns)),
        dropout(problem.options) {}
  static std::int64_t size(const Problem& p, std::int64_t key_block) {
    return Factors::size(p, key_block) + (2 * gradient_rows + 1) * gradient_columns;
  }

  void load_keys(std::int64_t j, std::int64_t n) {
    first_key = j, keys = n;
    factors.load_keys(j, n);
  }
  void load_queries(std::int64_t head, std::int64_t i, std::int64_t n) {
    first_query = i, queries = n;
    factors.load_queries(head, i, n);
    for (std::int64_t r = 0; r < n; ++r) rows[r] = {head, i + r, keys_of(problem, sequence, i + r)};
  }

  // The statistics of the block's queries lie from first_statistic on. Returns whether there is anything.
  bool compute(const RowStatistics& statistics, std::int64_t first_statistic) {
    columns = columns_of(rows, queries, first_key, keys);
    first_row = queries, last_row = 0;
    if (columns.is_empty()) return false;
    for (std::int64_t r = 0; r < queries; r += strip_rows) {
      const std::int64_t height = std::min(strip_rows, queries - r);
      Columns& own = strips[r / strip_rows];
      own = columns_of(rows + r, height, first_key, keys);
      if (own.is_empty()) continue;
      first_row = std::min(first_row, r), last_row = r + height;
      factors.multiply_keys(r, height, own, weights);
      factors.multiply_values(r, height, own, dscores);
      for (std::int64_t row = r; row < r + height; ++row)
        finish_row(statistics.log_sum_exp[first_statistic + row], statistics.delta[first_statistic + row], row, own);
    }
    return true;
  }

 private:
  void finish_row(float log_sum_exp, float delta, std::int64_t row, const Columns& own) {
    const AttentionOptions& o = problem.options;
    float *const p = weights + row * gradient_columns, *const ds = dscores + row * gradient_columns;
    const std::int64_t n = own.end - own.begin;
    finish_scores(problem, s, sequence, rows[row], own, p, has_slopes ? slopes : nullptr);
    if (o.dropout > 0) {
      const float kept = o.dropout < 1 ? static_cast<float>(1 / (1 - o.dropout)) : 0;
      dscores_row<true>(p + own.begin, ds + own.begin, n, problem.factor(), log_sum_exp, delta,
                        dropout.draw(problem, sequence, rows[row], own), dropout.threshold, kept);
    } else {
      dscores_row<false>(p + own.begin, ds + own.begin, n, problem.factor(), log_sum_exp, delta, nullptr, 0, 1);
    }
    if (has_slopes) multiply_row(slopes + own.begin, ds + own.begin, n);
    for (float* const x : {p, ds}) {
      fill(x + columns.begin, own.begin - columns.begin, 0);
      fill(x + own.end, columns.end - own.end, 0);
    }
  }
};

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
