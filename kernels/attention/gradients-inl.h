// The weights and the gradient of the scores, for a block of queries against a block of keys: what both backwards start
// from. Included once per instruction set (Highway's foreach_target), hence the unusual guard.
#if defined(HEED_KERNELS_ATTENTION_GRADIENTS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEED_KERNELS_ATTENTION_GRADIENTS_INL_H
#undef HEED_KERNELS_ATTENTION_GRADIENTS_INL_H
#else
#define HEED_KERNELS_ATTENTION_GRADIENTS_INL_H
#endif

#include "kernels/attention/blocks-inl.h"
#include "kernels/attention/scores-inl.h"
#include "kernels/attention/scratch.h"
#include "kernels/attention/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

inline constexpr std::int64_t gradient_rows = 48;      // queries of a block
inline constexpr std::int64_t gradient_columns = 128;  // keys of a block, most; and the step from row to row
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
  if (a.dtype == Dtype::f32 && a.strides[3] == 1 && b.strides[3] == 1) {
    const float *const x = a.as<const float>() + a_at, *const y = b.as<const float>() + b_at;
    return static_cast<float>(
        sum_of(n, [=](auto d, std::int64_t i) HWY_ATTR { return hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, y + i)); }));
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

// A block of keys and values: as panels for the products that make scores and their gradient, the keys also as rows.
struct KeyBlock {
  HeadRows signed_keys, keys, values;
  float *key_panels, *value_panels, *key_copy, *copy;
  Right rows{};
  std::int64_t first = 0, count = 0;

  KeyBlock(const Problem& problem, const AttentionSequence& sequence, std::int64_t g, std::int64_t most, Arena& arena)
      : signed_keys{{problem.key, sequence.batch, g, sequence.first_key}, problem.key_factor()},
        keys{{problem.key, sequence.batch, g, sequence.first_key}},
        values{{problem.value, sequence.batch, g, sequence.first_key}},
        key_panels(arena.take(most * problem.head_dim())),
        value_panels(arena.take(most * problem.value_dim())),
        key_copy(arena.take(most * padded(problem.head_dim()))),
        copy(arena.take(most * std::max(padded(problem.head_dim()), padded(problem.value_dim())))) {}
  static std::int64_t size(const Problem& p, std::int64_t most) {
    return most *
           (2 * padded(p.head_dim()) + padded(p.value_dim()) + std::max(padded(p.head_dim()), padded(p.value_dim())));
  }

  void load(std::int64_t j, std::int64_t n) {
    first = j, count = n;
    signed_keys.panels(j, n, copy, key_panels);
    values.panels(j, n, copy, value_panels);
    rows = keys.rows(j, n, key_copy);
  }
};

// Of what the gradient is: the scores, or the products, which a softcap turns into scores.
enum class GradientOf { scores, products };

// A block of queries of one head, and what it makes of a block of keys. Rows step by gradient_columns.
struct GradientBlock {
  bool has_slopes;
  const Problem& problem;
  const AttentionSequence& sequence;
  std::int64_t s;
  const View& doutput_view;
  float *weights, *dscores;  // [gradient_rows, gradient_columns]; weights 0 where dropped
  float *slopes, *query_copy, *doutput_copy;
  DropoutWords dropout;
  std::int64_t query_number = 0, count = 0;
  Right query{}, doutput{};
  QueryRow rows[gradient_rows];
  // What compute() found: the rows [first_row, last_row) that look at any of the keys, the columns that each strip of
  // them looks at, and those that any of them does. Outside of its own columns a strip's weights and dscores are 0.
  std::int64_t first_row = 0, last_row = 0;
  Columns strips[gradient_strips], columns{};

  GradientBlock(const Problem& problem, const AttentionSequence& sequence, std::int64_t s, const View& doutput,
                GradientOf what, Arena& arena)
      : has_slopes(what == GradientOf::products && problem.options.softcap > 0),
        problem(problem),
        sequence(sequence),
        s(s),
        doutput_view(doutput),
        weights(arena.take(gradient_rows * gradient_columns)),
        dscores(arena.take(gradient_rows * gradient_columns)),
        slopes(arena.take(gradient_columns)),
        query_copy(arena.take(gradient_rows * padded(problem.head_dim()))),
        doutput_copy(arena.take(gradient_rows * padded(problem.value_dim()))),
        dropout(problem.options) {}
  static std::int64_t size(const Problem& p) {
    return gradient_rows * (2 * gradient_columns + padded(p.head_dim()) + padded(p.value_dim())) + gradient_columns;
  }

  void load(std::int64_t head, std::int64_t i, std::int64_t n) {
    query_number = i, count = n;
    query = HeadRows{{problem.query, sequence.batch, head, sequence.first_query}}.rows(i, n, query_copy);
    doutput = HeadRows{{doutput_view, sequence.batch, head, sequence.first_query}}.rows(i, n, doutput_copy);
    for (std::int64_t r = 0; r < n; ++r) rows[r] = {head, i + r, keys_of(problem, sequence, i + r)};
  }

  // The statistics of the block's queries lie from first_statistic on. Returns whether there is anything.
  bool compute(const KeyBlock& keys, const RowStatistics& statistics, std::int64_t first_statistic) {
    columns = columns_of(rows, count, keys.first, keys.count);
    first_row = count, last_row = 0;
    if (columns.is_empty()) return false;
    for (std::int64_t r = 0; r < count; r += strip_rows) {
      const std::int64_t height = std::min(strip_rows, count - r);
      Columns& own = strips[r / strip_rows];
      own = columns_of(rows + r, height, keys.first, keys.count);
      if (own.is_empty()) continue;
      first_row = std::min(first_row, r), last_row = r + height;
      compute_strip(keys, statistics, first_statistic, r, height, own);
    }
    return true;
  }

 private:
  void compute_strip(const KeyBlock& keys, const RowStatistics& statistics, std::int64_t first_statistic,
                     std::int64_t r, std::int64_t height, const Columns& own) {
    multiply_panels({query.data + r * query.row_step, query.row_step, 1}, height, keys.key_panels, problem.head_dim(),
                    own.begin, own.end, weights + r * gradient_columns, gradient_columns);
    multiply_panels({doutput.data + r * doutput.row_step, doutput.row_step, 1}, height, keys.value_panels,
                    problem.value_dim(), own.begin, own.end, dscores + r * gradient_columns, gradient_columns);
    for (std::int64_t row = r; row < r + height; ++row)
      finish_row(statistics.log_sum_exp[first_statistic + row], statistics.delta[first_statistic + row], row, own);
  }

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
