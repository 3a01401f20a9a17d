// Rung 1: one query at a time, its scores in a row on the stack of the thread that handles it, everything in double. It
// says what is meant, and the other rungs are held against it.
#include <cmath>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/cpu/parallel.h"
#include "kernels/random/philox.h"

namespace heed::kernels {
namespace {

// One head of a view [batch, heads, rows, columns].
struct Head {
  float* data;
  std::int64_t row_stride, column_stride;

  Head(const View& x, std::int64_t b, std::int64_t h)
      : data(x.as<float>() + b * x.strides[0] + h * x.strides[1]),
        row_stride(x.strides[2]),
        column_stride(x.strides[3]) {}
  float& operator()(std::int64_t row, std::int64_t column) const {
    return data[row * row_stride + column * column_stride];
  }
};

double dot(const Head& a, std::int64_t i, const Head& b, std::int64_t j, std::int64_t n) {
  double sum = 0;
  for (std::int64_t d = 0; d < n; ++d) sum += static_cast<double>(a(i, d)) * static_cast<double>(b(j, d));
  return sum;
}

// What one query sees, within one (batch, head).
struct Row {
  const View &query, &key;
  const AttentionOptions& options;
  std::int64_t b, h, i;

  std::int64_t key_head() const { return h / (query.shape[1] / key.shape[1]); }

  double score(const Head& q, const Head& k, std::int64_t j) const {
    const double score = dot(q, i, k, j, query.shape[3]) * options.scale;
    const View& mask = options.mask;
    if (mask.data == nullptr) return score;
    const std::int64_t at = b * mask.strides[0] + h * mask.strides[1] + i * mask.strides[2] + j * mask.strides[3];
    if (mask.dtype == Dtype::boolean)
      return mask.as<const bool>()[at] ? score : -std::numeric_limits<double>::infinity();
    return score + static_cast<double>(mask.as<const float>()[at]);
  }

  double dropout_factor(std::int64_t j) const {
    if (options.dropout == 0) return 1;
    const std::int64_t index = ((b * query.shape[1] + h) * query.shape[2] + i) * key.shape[2] + j;
    const std::uint32_t word = philox_word(static_cast<std::uint64_t>(index), options.seed, options.offset);
    return (word >> 8) < bernoulli_threshold(options.dropout) ? 0 : 1 / (1 - options.dropout);
  }
};

template <class Body>
void for_each_row(const View& query, const View& key, const AttentionOptions& options, Body&& body) {
  parallel_for(query.shape[0] * query.shape[1], 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> scores(static_cast<std::size_t>(key.shape[2]));
    for (std::int64_t bh = begin; bh < end; ++bh) {
      Row row{query, key, options, bh / query.shape[1], bh % query.shape[1], 0};
      const std::int64_t length = attention_keys(options, key, row.b);
      for (row.i = 0; row.i < query.shape[2]; ++row.i) body(row, keys_of_query(options, row.i, length), scores);
    }
  });
}

void forward_reference(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                       View, Stream) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for_each_row(query, key, options, [&](const Row& row, AttentionSpan span, std::vector<double>& weights) {
    const auto& [q_view, k_view, o, b, h, i] = row;
    const Head q(query, b, h), k(key, b, row.key_head()), v(value, b, row.key_head()), out(output, b, h);
    double largest = -infinity, total = 0;
    for (std::int64_t j = span.begin; j < span.end; ++j) {
      weights[j] = row.score(q, k, j);
      if (!(weights[j] <= largest)) largest = weights[j];
    }
    const double from = largest == -infinity ? 0 : largest;
    for (std::int64_t j = span.begin; j < span.end; ++j) total += weights[j] = std::exp(weights[j] - from);
    for (std::int64_t d = 0; d < value.shape[3]; ++d) {
      double sum = 0;
      for (std::int64_t j = span.begin; j < span.end; ++j) {
        if (weights[j] != 0) sum += weights[j] * row.dropout_factor(j) * static_cast<double>(v(j, d));
      }
      out(i, d) = static_cast<float>(total == 0 ? 0 : sum / total);
    }
    log_sum_exp.as<float>()[b * log_sum_exp.strides[0] + h * log_sum_exp.strides[1] + i * log_sum_exp.strides[2]] =
        static_cast<float>(largest == infinity ? infinity : from + std::log(total));
  });
}

void clear(const View& x) {
  for (std::int64_t b = 0; b < x.shape[0]; ++b) {
    for (std::int64_t h = 0; h < x.shape[1]; ++h) {
      const Head head(x, b, h);
      for (std::int64_t i = 0; i < x.shape[2]; ++i)
        for (std::int64_t d = 0; d < x.shape[3]; ++d) head(i, d) = 0;
    }
  }
}

// One thread: several queries, and with grouped heads several heads, add to one key.
void backward_reference(View query, View key, View value, const AttentionOptions& options, View output,
                        View log_sum_exp, View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue, View,
                        Stream) {
  for (const View& gradient : {dquery, dkey, dvalue}) clear(gradient);
  const auto statistic = [](const View& x, const Row& r) {
    return static_cast<double>(x.as<float>()[r.b * x.strides[0] + r.h * x.strides[1] + r.i * x.strides[2]]);
  };
  const auto gradients_of_row = [&](const Row& row, AttentionSpan span) {
    const auto& [q_view, k_view, o, b, h, i] = row;
    const std::int64_t g = row.key_head();
    const Head q(query, b, h), k(key, b, g), v(value, b, g), out(output, b, h), dy(doutput, b, h);
    const Head dq(dquery, b, h), dk(dkey, b, g), dv(dvalue, b, g);
    const double lse = statistic(log_sum_exp, row);
    if (lse == -std::numeric_limits<double>::infinity()) return;
    double delta = dot(dy, i, out, i, value.shape[3]);
    if (dlog_sum_exp.data != nullptr) delta -= statistic(dlog_sum_exp, row);
    for (std::int64_t j = span.begin; j < span.end; ++j) {
      const double p = std::exp(row.score(q, k, j) - lse), factor = row.dropout_factor(j);
      const double dscore = p * (dot(dy, i, v, j, value.shape[3]) * factor - delta) * options.scale;
      for (std::int64_t d = 0; d < value.shape[3]; ++d) dv(j, d) += static_cast<float>(p * factor * dy(i, d));
      for (std::int64_t d = 0; d < query.shape[3]; ++d) {
        dq(i, d) += static_cast<float>(dscore * k(j, d));
        dk(j, d) += static_cast<float>(dscore * q(i, d));
      }
    }
  };
  for (std::int64_t bh = 0; bh < query.shape[0] * query.shape[1]; ++bh) {
    Row row{query, key, options, bh / query.shape[1], bh % query.shape[1], 0};
    const std::int64_t length = attention_keys(options, key, row.b);
    for (row.i = 0; row.i < query.shape[2]; ++row.i) gradients_of_row(row, keys_of_query(options, row.i, length));
  }
}

const Register forward{attention_forward, DeviceType::cpu, "reference", &forward_reference};
const Register backward{attention_backward, DeviceType::cpu, "reference", &backward_reference};

}  // namespace
}  // namespace heed::kernels
