// What the plain rungs share: which scores a query has, in double, one at a time.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/dtypes.h"
#include "kernels/random/philox.h"

namespace heed::kernels {

// One head of a view [batch, heads, rows, columns], rows counted from the start of a sequence.
template <class T>
struct PlainHead {
  T* data;
  std::int64_t row_stride, column_stride;

  PlainHead(const View& x, std::int64_t b, std::int64_t h, std::int64_t first_row)
      : data(x.as<T>() + b * x.strides[0] + h * x.strides[1] + first_row * x.strides[2]),
        row_stride(x.strides[2]),
        column_stride(x.strides[3]) {}
  double operator()(std::int64_t row, std::int64_t column) const {
    return static_cast<double>(static_cast<float>(data[row * row_stride + column * column_stride]));
  }
  void set(std::int64_t row, std::int64_t column, double value) const {
    data[row * row_stride + column * column_stride] = static_cast<T>(static_cast<float>(value));
  }
};

struct PlainInputs {
  const View &query, &key, &value;
  const AttentionOptions& options;
  std::int64_t group() const { return query.shape[1] / key.shape[1]; }
};

// What one query sees: query i of sequence s, in head h.
struct PlainRow {
  const PlainInputs& in;
  std::int64_t s, h;
  AttentionSequence sequence = attention_sequence(in.query, in.key, in.options, s);
  std::int64_t key_head = h / in.group();
  std::int64_t i = 0;

  AttentionSpan keys() const {
    return keys_of_query(in.options.causal, in.options.window, sequence.shift, sequence.keys, i);
  }

  // The score that query . key, without the scale, makes of key j. `slope`: of the softcap there.
  double score(double product, std::int64_t j, double* slope = nullptr) const {
    const AttentionOptions& o = in.options;
    double score = product * o.scale;
    if (o.softcap > 0) {
      const double t = std::tanh(score / o.softcap);
      if (slope != nullptr) *slope = 1 - t * t;
      score = o.softcap * t;
    }
    if (o.alibi_slopes.data != nullptr) {
      const View& slopes = o.alibi_slopes;
      const double alibi = static_cast<double>(slopes.as<float>()[s * slopes.strides[0] + h * slopes.strides[1]]);
      score -= alibi * std::abs(static_cast<double>(i + sequence.shift - j));
    }
    if (o.mask.data == nullptr) return score;
    constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
    const std::int64_t at = place(o.mask, j);
    if (o.mask.dtype == Dtype::boolean) return o.mask.as<const bool>()[at] ? score : minus_infinity;
    const double bias = static_cast<double>(o.mask.as<const float>()[at]);
    return bias == minus_infinity ? minus_infinity : score + bias;
  }

  // Of [batch, head, query, key] in a view like the scores.
  std::int64_t place(const View& x, std::int64_t j) const {
    return sequence.batch * x.strides[0] + h * x.strides[1] + (sequence.first_query + i) * x.strides[2] +
           (sequence.first_key + j) * x.strides[3];
  }
  float& statistic(const View& x) const {
    return x.as<float>()[sequence.batch * x.strides[0] + h * x.strides[1] + (sequence.first_query + i) * x.strides[2]];
  }

  double dropout_factor(std::int64_t j) const {
    const AttentionOptions& o = in.options;
    if (o.dropout == 0) return 1;
    const std::int64_t index =
        attention_weight(in.query, in.key, sequence.batch, h, sequence.first_query + i, sequence.first_key + j);
    const std::uint32_t word = philox_word(static_cast<std::uint64_t>(index), o.seed, o.offset);
    return (word >> 8) < bernoulli_threshold(o.dropout) ? 0 : 1 / (1 - o.dropout);
  }
};

}  // namespace heed::kernels
