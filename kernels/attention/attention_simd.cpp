// Rung 2, fused: strips of six queries (in the backward also of six keys) against up to 512 of the other side at a time.
// A strip's scores, 12 KB, stay in the first-level cache from the product that makes them to the product that uses them.
// NOTES.md has the picture.
#include <array>
#include <cmath>
#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/cpu/parallel.h"
#include "kernels/random/philox.h"
#include "kernels/random/random_simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_simd.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include "kernels/attention/strips-inl.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {
namespace {

// ---- what every pass needs ------------------------------------------------------------------------------------------

struct Problem {
  View query, key, value;
  AttentionOptions options;

  std::int64_t batch() const { return query.shape[0]; }
  std::int64_t heads() const { return query.shape[1]; }
  std::int64_t key_heads() const { return key.shape[1]; }
  std::int64_t queries() const { return query.shape[2]; }
  std::int64_t keys() const { return key.shape[2]; }
  std::int64_t head_dim() const { return query.shape[3]; }
  std::int64_t value_dim() const { return value.shape[3]; }
  std::int64_t group() const { return heads() / key_heads(); }

  std::int64_t shift() const { return options.bottom_right ? keys() - queries() : 0; }

  // The place of weight [b, h, i, j] among all, which decides its dropout.
  std::int64_t weight(std::int64_t bh, std::int64_t i, std::int64_t j) const {
    return (bh * queries() + i) * keys() + j;
  }
};

// The scores of a strip after the mask: -inf outside of each row's span and to the end of the last vector.
void mask_rows(float* scores, std::int64_t first, std::int64_t n, std::int64_t padded, const AttentionSpan* spans,
               int rows) {
  for (int r = 0; r < rows; ++r) {
    float* const s = scores + r * strip_columns;
    const std::int64_t begin = std::clamp<std::int64_t>(spans[r].begin - first, 0, n);
    const std::int64_t end = std::clamp<std::int64_t>(spans[r].end - first, begin, n);
    fill(s, begin, minus_infinity);
    fill(s + end, padded - end, minus_infinity);
  }
}

// Adds a mask, `step` elements from one column to the next, to one row of scores.
void add_mask(const View& mask, std::int64_t at, std::int64_t step, float* s, std::int64_t n) {
  if (mask.dtype == Dtype::boolean) {
    const bool* const allowed = mask.as<const bool>() + at;
    for (std::int64_t c = 0; c < n; ++c) s[c] = allowed[c * step] ? s[c] : minus_infinity;
  } else {
    const float* const bias = mask.as<const float>() + at;
    for (std::int64_t c = 0; c < n; ++c) s[c] += bias[c * step];
  }
}

std::int64_t mask_at(const View& mask, std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) {
  return b * mask.strides[0] + h * mask.strides[1] + i * mask.strides[2] + j * mask.strides[3];
}

// ---- forward --------------------------------------------------------------------------------------------------------

// What a strip of queries knows of the keys it has met: for each row the largest score and the sum of exp(score - max).
struct RunningSoftmax {
  float max[strip_rows];
  double sum[strip_rows] = {};

  RunningSoftmax() { std::fill_n(max, strip_rows, minus_infinity); }

  // Scores to exp(score - max) in place, [0, padded). Returns by what earlier sums must be multiplied.
  float take(int row, float* s, std::int64_t padded) {
    const float before = max[row], largest = std::max(before, max_of(s, padded));
    const float from = largest == minus_infinity ? 0 : largest;
    const float correction = largest == before ? 1 : std::exp(before - from);
    max[row] = largest;
    sum[row] = sum[row] * static_cast<double>(correction) + exp_row(s, padded, from);
    return correction;
  }

  float log_sum_exp(int row) const {
    if (max[row] == -minus_infinity) return max[row];                               // the sum is NaN
    if (max[row] == minus_infinity) return static_cast<float>(std::log(sum[row]));  // nothing, or nothing but NaN
    return static_cast<float>(static_cast<double>(max[row]) + std::log(sum[row]));
  }
};

// Sets the weights that dropout drops to 0 and scales the others. `index` is the place of the first.
void drop_row(const AttentionOptions& options, std::int64_t index, float* p, std::int64_t n) {
  std::uint32_t words[strip_columns + 8];
  const std::int64_t first = index / 4, blocks = (index + n + 3) / 4 - first;
  philox_words_simd(words, options.offset + static_cast<std::uint64_t>(first), blocks, options.seed);
  scale_kept(p, words + index % 4, n, bernoulli_threshold(options.dropout),
             static_cast<float>(1 / (1 - options.dropout)));
}

void forward_strip(const Problem& problem, const Panels& keys, const Rows& values, std::int64_t bh,
                   std::int64_t first_row, const View& output, const View& log_sum_exp) {
  const AttentionOptions& o = problem.options;
  const std::int64_t b = bh / problem.heads(), h = bh % problem.heads();
  const int rows = static_cast<int>(std::min<std::int64_t>(strip_rows, problem.queries() - first_row));
  const std::int64_t length = attention_sequence(problem.query, problem.key, o, b).keys;
  HWY_ALIGN float query[strip_rows * attention_max_dim], scores[strip_rows * strip_columns];
  HWY_ALIGN float out[strip_rows * attention_max_dim];
  gather_strip(problem.query, b, h, first_row, rows, static_cast<float>(o.scale), query);
  std::fill_n(out, strip_rows * values.width, 0.0f);

  AttentionSpan spans[strip_rows];
  AttentionSpan all{length, 0};
  for (int r = 0; r < rows; ++r) {
    spans[r] = keys_of_query(o.causal, o.window, problem.shift(), length, first_row + r);
    if (spans[r].begin < spans[r].end) all = {std::min(all.begin, spans[r].begin), std::max(all.end, spans[r].end)};
  }
  RunningSoftmax softmax;
  for (std::int64_t j = all.begin / panel_width * panel_width; j < all.end; j += strip_columns) {
    const std::int64_t n = std::min(strip_columns, all.end - j), padded = round_up(n, vector_floats);
    multiply_strip(query, keys, j, n, scores);
    for (int r = 0; r < rows; ++r) {
      float* const s = scores + r * strip_columns;
      if (o.mask.data != nullptr) add_mask(o.mask, mask_at(o.mask, b, h, first_row + r, j), o.mask.strides[3], s, n);
    }
    mask_rows(scores, j, n, padded, spans, rows);
    for (int r = 0; r < rows; ++r) {
      float* const s = scores + r * strip_columns;
      const float correction = softmax.take(r, s, padded);
      if (correction != 1) scale_row(out + r * values.width, values.width, correction);
      if (o.dropout > 0) drop_row(o, problem.weight(bh, first_row + r, j), s, n);
    }
    accumulate_strip(scores, values.from(j), n, out);
  }

  for (int r = 0; r < rows; ++r) {
    const double sum = softmax.sum[r];
    const std::int64_t i = first_row + r;
    const float scale = sum == 0 ? 0 : static_cast<float>(1 / sum);
    scatter_row(out + r * values.width, output, b, h, i, scale);
    log_sum_exp.as<float>()[b * log_sum_exp.strides[0] + h * log_sum_exp.strides[1] + i * log_sum_exp.strides[2]] =
        softmax.log_sum_exp(r);
  }
}

// Tasks of about a million multiplications.
std::int64_t strips_per_task(std::int64_t columns, std::int64_t dim) {
  return 1 + (1 << 20) / (strip_rows * (columns + 1) * (dim + 1));
}

void forward_f32(const View& query, const View& key, const View& value, const AttentionOptions& options,
                 const View& output, const View& log_sum_exp, float* workspace) {
  const Problem problem{query, key, value, options};
  Workspace space(workspace);
  const auto key_panels = panels_of(key, space);
  const auto value_rows = rows_of(value, space);
  const std::int64_t strips = (problem.queries() + strip_rows - 1) / strip_rows;
  const std::int64_t grain = strips_per_task(problem.keys(), problem.head_dim() + problem.value_dim());
  parallel_for(problem.batch() * problem.heads() * strips, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t bh = task / strips, b = bh / problem.heads(), h = bh % problem.heads();
      const std::int64_t g = b * problem.key_heads() + h / problem.group();
      forward_strip(problem, key_panels[g], value_rows[g], bh, task % strips * strip_rows, output, log_sum_exp);
    }
  });
}

// ---- backward -------------------------------------------------------------------------------------------------------

// delta = doutput . output - dlog_sum_exp, and the log-sum-exp with +inf in place of -inf, so that exp(score - it) is 0
// for the queries that look at nothing.
struct Statistics {
  float *delta, *log_sum_exp;  // [batch * heads, queries]
};

Statistics statistics_of(const Problem& problem, const View& output, const View& log_sum_exp, const View& doutput,
                         const View& dlog_sum_exp, Workspace& space) {
  const std::int64_t queries = problem.queries(), count = problem.batch() * problem.heads() * queries;
  const Statistics result{space.take(count), space.take(count)};
  parallel_for(count, 1 + 16384 / (problem.value_dim() + 1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end; ++at) {
      const std::int64_t bh = at / queries, b = bh / problem.heads(), h = bh % problem.heads(), i = at % queries;
      const auto statistic = [=](const View& x) {
        return x.as<float>()[b * x.strides[0] + h * x.strides[1] + i * x.strides[2]];
      };
      const float* const y = output.as<float>() + b * output.strides[0] + h * output.strides[1] + i * output.strides[2];
      const float* const dy =
          doutput.as<float>() + b * doutput.strides[0] + h * doutput.strides[1] + i * doutput.strides[2];
      double delta = dlog_sum_exp.data == nullptr ? 0 : -static_cast<double>(statistic(dlog_sum_exp));
      for (std::int64_t d = 0; d < problem.value_dim(); ++d)
        delta += static_cast<double>(y[d * output.strides[3]]) * static_cast<double>(dy[d * doutput.strides[3]]);
      const float lse = statistic(log_sum_exp);
      result.delta[at] = static_cast<float>(delta);
      result.log_sum_exp[at] = lse == minus_infinity ? -minus_infinity : lse;
    }
  });
  return result;
}

// dquery of a strip of queries: the scores again, what the value products say of them, and the product with the keys.
void dquery_strip(const Problem& problem, const Panels& keys, const Panels& values, const Rows& key_rows,
                  const Statistics& statistics, const View& doutput, std::int64_t bh, std::int64_t first_row,
                  const View& dquery) {
  const AttentionOptions& o = problem.options;
  const std::int64_t b = bh / problem.heads(), h = bh % problem.heads();
  const int rows = static_cast<int>(std::min<std::int64_t>(strip_rows, problem.queries() - first_row));
  const std::int64_t length = attention_sequence(problem.query, problem.key, o, b).keys;
  HWY_ALIGN float query[strip_rows * attention_max_dim], dy[strip_rows * attention_max_dim];
  HWY_ALIGN float scores[strip_rows * strip_columns], products[strip_rows * strip_columns];
  HWY_ALIGN float dq[strip_rows * attention_max_dim];
  gather_strip(problem.query, b, h, first_row, rows, static_cast<float>(o.scale), query);
  gather_strip(doutput, b, h, first_row, rows, 1, dy);
  std::fill_n(dq, strip_rows * key_rows.width, 0.0f);

  AttentionSpan spans[strip_rows];
  AttentionSpan all{length, 0};
  for (int r = 0; r < rows; ++r) {
    spans[r] = keys_of_query(o.causal, o.window, problem.shift(), length, first_row + r);
    if (spans[r].begin < spans[r].end) all = {std::min(all.begin, spans[r].begin), std::max(all.end, spans[r].end)};
  }
  for (std::int64_t j = all.begin / panel_width * panel_width; j < all.end; j += strip_columns) {
    const std::int64_t n = std::min(strip_columns, all.end - j), padded = round_up(n, vector_floats);
    multiply_strip(query, keys, j, n, scores);
    multiply_strip(dy, values, j, n, products);
    for (int r = 0; r < rows; ++r) {
      const std::int64_t i = first_row + r, at = bh * problem.queries() + i;
      float *const s = scores + r * strip_columns, *const product = products + r * strip_columns;
      if (o.mask.data != nullptr) add_mask(o.mask, mask_at(o.mask, b, h, i, j), o.mask.strides[3], s, n);
      mask_rows(s, j, n, padded, spans + r, 1);
      if (o.dropout > 0) drop_row(o, problem.weight(bh, i, j), product, n);
      dscores_row(s, product, padded, statistics.log_sum_exp[at], statistics.delta[at]);
    }
    accumulate_strip(scores, key_rows.from(j), n, dq);
  }
  for (int r = 0; r < rows; ++r)
    scatter_row(dq + r * key_rows.width, dquery, b, h, first_row + r, static_cast<float>(o.scale));
}

// The dropout factors of a strip of keys against queries [first, first + n), by the same words as drop_row's, which lie
// in rows the other way round: for each query the Philox blocks that hold the strip's keys.
void factors_of_keys(const Problem& problem, std::int64_t bh, std::int64_t first_key, int rows, std::int64_t first,
                     std::int64_t n, float* factors) {
  constexpr std::int64_t most = (strip_rows + 3 + 3) / 4;  // blocks that a query's stretch of keys may touch
  const AttentionOptions& o = problem.options;
  const std::uint32_t threshold = bernoulli_threshold(o.dropout);
  const auto scale = static_cast<float>(1 / (1 - o.dropout));
  std::uint64_t blocks[strip_columns * most];
  std::uint32_t words[4 * strip_columns * most];
  for (std::int64_t c = 0; c < n; ++c) {
    const auto block = static_cast<std::uint64_t>(problem.weight(bh, first + c, first_key) / 4);
    for (std::int64_t k = 0; k < most; ++k) blocks[c * most + k] = o.offset + block + static_cast<std::uint64_t>(k);
  }
  philox_words_at_simd(words, blocks, n * most, o.seed);
  for (std::int64_t c = 0; c < n; ++c) {
    const std::uint32_t* const w = words + 4 * most * c + problem.weight(bh, first + c, first_key) % 4;
    for (int r = 0; r < rows; ++r) factors[r * strip_columns + c] = (w[r] >> 8) < threshold ? 0 : scale;
  }
}

AttentionSpan keys_to_queries(const Problem& problem, std::int64_t j, std::int64_t length) {
  const AttentionOptions& o = problem.options;
  return j < length ? queries_of_key(o.causal, o.window, problem.shift(), problem.queries(), j) : AttentionSpan{0, 0};
}

// dkey and dvalue of a strip of keys: the same with the sides exchanged, over all query heads that share the key head.
void dkey_strip(const Problem& problem, const PanelsByHead& queries, const PanelsByHead& doutputs,
                const RowsByHead& query_rows, const RowsByHead& doutput_rows, const Statistics& statistics,
                std::int64_t bg, std::int64_t first_row, const View& dkey, const View& dvalue) {
  const AttentionOptions& o = problem.options;
  const std::int64_t b = bg / problem.key_heads(), g = bg % problem.key_heads();
  const int rows = static_cast<int>(std::min<std::int64_t>(strip_rows, problem.keys() - first_row));
  const std::int64_t length = attention_sequence(problem.query, problem.key, o, b).keys;
  HWY_ALIGN float key[strip_rows * attention_max_dim], value[strip_rows * attention_max_dim];
  HWY_ALIGN float scores[strip_rows * strip_columns], products[strip_rows * strip_columns];
  HWY_ALIGN float factors[strip_rows * strip_columns];
  HWY_ALIGN float dk[strip_rows * attention_max_dim] = {}, dv[strip_rows * attention_max_dim] = {};
  gather_strip(problem.key, b, g, first_row, rows, static_cast<float>(o.scale), key);
  gather_strip(problem.value, b, g, first_row, rows, 1, value);

  AttentionSpan spans[strip_rows];
  AttentionSpan all{problem.queries(), 0};
  for (int r = 0; r < rows; ++r) {
    spans[r] = keys_to_queries(problem, first_row + r, length);
    if (spans[r].begin < spans[r].end) all = {std::min(all.begin, spans[r].begin), std::max(all.end, spans[r].end)};
  }
  const std::int64_t first_head = g * problem.group();
  for (std::int64_t h = first_head; h < first_head + problem.group(); ++h) {
    const std::int64_t bh = b * problem.heads() + h;
    const float* const lse = statistics.log_sum_exp + bh * problem.queries();
    const float* const delta = statistics.delta + bh * problem.queries();
    for (std::int64_t i = all.begin / panel_width * panel_width; i < all.end; i += strip_columns) {
      const std::int64_t n = std::min(strip_columns, all.end - i), padded = round_up(n, vector_floats);
      multiply_strip(key, queries[bh], i, n, scores);
      multiply_strip(value, doutputs[bh], i, n, products);
      if (o.dropout > 0) factors_of_keys(problem, bh, first_row, rows, i, n, factors);
      for (int r = 0; r < rows; ++r) {
        float *const s = scores + r * strip_columns, *const product = products + r * strip_columns;
        if (o.mask.data != nullptr) add_mask(o.mask, mask_at(o.mask, b, h, i, first_row + r), o.mask.strides[2], s, n);
        mask_rows(s, i, n, padded, spans + r, 1);
        weights_and_dscores(s, product, o.dropout > 0 ? factors + r * strip_columns : nullptr, padded, lse + i,
                            delta + i);
      }
      accumulate_strip(scores, doutput_rows[bh].from(i), n, dv);
      accumulate_strip(products, query_rows[bh].from(i), n, dk);
    }
  }
  for (int r = 0; r < rows; ++r) {
    scatter_row(dk + r * query_rows.width, dkey, b, g, first_row + r, static_cast<float>(o.scale));
    scatter_row(dv + r * doutput_rows.width, dvalue, b, g, first_row + r, 1);
  }
}

void backward_f32(const View& query, const View& key, const View& value, const AttentionOptions& options,
                  const View& output, const View& log_sum_exp, const View& doutput, const View& dlog_sum_exp,
                  const View& dquery, const View& dkey, const View& dvalue, float* workspace) {
  const Problem problem{query, key, value, options};
  Workspace space(workspace);
  const auto key_panels = panels_of(key, space), value_panels = panels_of(value, space);
  const auto key_rows = rows_of(key, space);
  const Statistics statistics = statistics_of(problem, output, log_sum_exp, doutput, dlog_sum_exp, space);
  const std::int64_t dims = 2 * problem.head_dim() + problem.value_dim();
  const std::int64_t query_strips = (problem.queries() + strip_rows - 1) / strip_rows;
  parallel_for(problem.batch() * problem.heads() * query_strips, strips_per_task(problem.keys(), dims),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t bh = task / query_strips, b = bh / problem.heads(), h = bh % problem.heads();
                   const std::int64_t g = b * problem.key_heads() + h / problem.group();
                   dquery_strip(problem, key_panels[g], value_panels[g], key_rows[g], statistics, doutput, bh,
                                task % query_strips * strip_rows, dquery);
                 }
               });

  const auto query_panels = panels_of(query, space), doutput_panels = panels_of(doutput, space);
  const auto query_rows = rows_of(query, space), doutput_rows = rows_of(doutput, space);
  const std::int64_t key_strips = (problem.keys() + strip_rows - 1) / strip_rows;
  parallel_for(problem.batch() * problem.key_heads() * key_strips,
               strips_per_task(problem.queries() * problem.group(), dims + problem.value_dim()),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   dkey_strip(problem, query_panels, doutput_panels, query_rows, doutput_rows, statistics,
                              task / key_strips, task % key_strips * strip_rows, dkey, dvalue);
                 }
               });
}

}  // namespace
}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {

HWY_EXPORT(forward_f32);
HWY_EXPORT(backward_f32);

// Copies of the operands in the order in which the kernels read them: room for each as columns in panels of 64 (which
// pads the length) and as rows (which pads the width to 16).
constexpr std::int64_t attention_copy(std::int64_t heads, std::int64_t length, std::int64_t dim) {
  const std::int64_t panels = (length + 63) / 64 * 64 * dim, rows = length * ((dim + 15) / 16 * 16);
  return heads * (panels + rows);
}
std::int64_t forward_workspace(const View& key, const View& value) {
  const std::int64_t heads = key.shape[0] * key.shape[1], keys = key.shape[2];
  return attention_copy(heads, keys, key.shape[3]) + attention_copy(heads, keys, value.shape[3]);
}
std::int64_t backward_workspace(const View& query, const View& key, const View& value) {
  const std::int64_t heads = query.shape[0] * query.shape[1], queries = query.shape[2];
  return forward_workspace(key, value) + attention_copy(heads, queries, query.shape[3]) +
         attention_copy(heads, queries, value.shape[3]) + 2 * heads * queries;
}

void forward_fused(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                   const AttentionWorkspace& workspace, Stream) {
  if (output.size() == 0 && log_sum_exp.size() == 0) return;
  HWY_DYNAMIC_DISPATCH(forward_f32)
  (query, key, value, options, output, log_sum_exp, static_cast<float*>(workspace(4 * forward_workspace(key, value))));
}

void backward_fused(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                    View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                    const AttentionWorkspace& workspace, Stream) {
  if (query.shape[0] * query.shape[1] == 0) return;
  HWY_DYNAMIC_DISPATCH(backward_f32)
  (query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue,
   static_cast<float*>(workspace(4 * backward_workspace(query, key, value))));
}

const Register forward{attention_forward, DeviceType::cpu, "fused", &forward_fused, is_default};
const Register backward{attention_backward, DeviceType::cpu, "fused", &backward_fused, is_default};

}  // namespace
}  // namespace heed::kernels
#endif
