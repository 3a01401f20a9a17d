// Rungs 2 to 4: what lies between the definition and the fused kernels, one idea each, in plain C++ and f32.
//
//   2  materialised   all scores of a head at once, three loops nested for a product
//   3  blas           the same, the products by a library
//   4  online         a block of queries against a block of keys at a time, with the running softmax: nothing is
//                     materialised, but the products are loops again
//
// Rung 5, fused, has blocks as rung 4 and products better than rung 3's.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/attention/reference.h"
#include "kernels/attention/scratch.h"
#include "kernels/dtypes.h"
#include "kernels/matmul/matmul.h"

namespace heed::kernels {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// A matrix [rows, columns] in memory without gaps, or the transpose of one.
struct Matrix {
  float* data;
  std::int64_t rows, columns;
  bool is_transposed = false;

  Matrix transposed() const { return {data, columns, rows, !is_transposed}; }
  float& operator()(std::int64_t i, std::int64_t j) const {
    return data[is_transposed ? j * rows + i : i * columns + j];
  }
  View view() const {
    View x{.data = data, .rank = 2};
    x.shape[0] = rows, x.shape[1] = columns;
    x.strides[0] = is_transposed ? 1 : columns, x.strides[1] = is_transposed ? rows : 1;
    return x;
  }
};

// c = a b, or with `adds` is increased by it.
using Product = void (*)(const Matrix& a, const Matrix& b, const Matrix& c, bool adds);

void multiply_plain(const Matrix& a, const Matrix& b, const Matrix& c, bool adds) {
  for (std::int64_t i = 0; i < c.rows; ++i) {
    for (std::int64_t j = 0; j < c.columns; ++j) {
      float sum = adds ? c(i, j) : 0;
      for (std::int64_t k = 0; k < a.columns; ++k) sum += a(i, k) * b(k, j);
      c(i, j) = sum;
    }
  }
}

void multiply_blas(const Matrix& a, const Matrix& b, const Matrix& c, bool adds) {
  matmul(a.view(), b.view(), c.view(), 1, adds ? 1 : 0, Stream{});
}

// Memory for the matrices of one head: operands, gradients, and two of `rows` by `columns` scores.
class Matrices {
 public:
  Matrices(const PlainInputs& in, std::int64_t rows, std::int64_t columns, const AttentionWorkspace& workspace)
      : memory_(static_cast<float*>(workspace(4 * floats(in, rows, columns)))), arena_(memory_) {}

  void clear() { arena_ = Arena(memory_); }
  Matrix make(std::int64_t rows, std::int64_t columns) { return {arena_.take(rows * columns), rows, columns}; }
  // The rows [first, first + rows) of one head, as f32.
  Matrix copy(const View& x, std::int64_t b, std::int64_t h, std::int64_t first, std::int64_t rows) {
    const Matrix result = make(rows, x.shape[3]);
    with_type(Types<float, BFloat16, Float16>{}, x.dtype, [&]<class T>(T) {
      const PlainHead<T> head(x, b, h, first);
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t d = 0; d < x.shape[3]; ++d) result(i, d) = static_cast<float>(head(i, d));
    });
    return result;
  }

 private:
  static std::int64_t floats(const PlainInputs& in, std::int64_t rows, std::int64_t columns) {
    const std::int64_t dims = in.query.shape[3] + in.value.shape[3], length = in.query.shape[2] + in.key.shape[2];
    return 2 * length * dims + 2 * rows * columns + columns + 16 * 16;
  }

  float* memory_;
  Arena arena_;
};

void store(const Matrix& from, double factor, const View& x, std::int64_t b, std::int64_t h, std::int64_t first) {
  with_type(Types<float, BFloat16, Float16>{}, x.dtype, [&]<class T>(T) {
    const PlainHead<T> head(x, b, h, first);
    for (std::int64_t i = 0; i < from.rows; ++i)
      for (std::int64_t d = 0; d < from.columns; ++d) head.set(i, d, factor * static_cast<double>(from(i, d)));
  });
}

// One head of one sequence, copied.
struct Head {
  PlainInputs in;
  PlainRow row;
  Matrix query, key, value;

  Head(const PlainInputs& inputs, std::int64_t s, std::int64_t h, Matrices& memory)
      : in(inputs),
        row{in, s, h},
        query(memory.copy(in.query, row.sequence.batch, h, row.sequence.first_query, row.sequence.queries)),
        key(memory.copy(in.key, row.sequence.batch, row.key_head, row.sequence.first_key, row.sequence.keys)),
        value(memory.copy(in.value, row.sequence.batch, row.key_head, row.sequence.first_key, row.sequence.keys)) {}
  Head(const Head&) = delete;

  std::int64_t queries() const { return row.sequence.queries; }
  std::int64_t keys() const { return row.sequence.keys; }

  // Products of query i with the keys from `first` on become scores, -inf where it may not look.
  void finish_scores(std::int64_t i, std::int64_t first, float* products, std::int64_t n, float* slopes = nullptr) {
    row.i = i;
    const AttentionSpan span = row.keys();
    for (std::int64_t c = 0; c < n; ++c) {
      const std::int64_t j = first + c;
      double slope = 1;
      products[c] = j < span.begin || j >= span.end
                        ? -infinity
                        : static_cast<float>(row.score(static_cast<double>(products[c]), j, &slope));
      if (slopes != nullptr) slopes[c] = static_cast<float>(slope);
    }
  }
  float dropout_factor(std::int64_t i, std::int64_t j) {
    row.i = i;
    return static_cast<float>(row.dropout_factor(j));
  }
  float& statistic(const View& x, std::int64_t i) {
    row.i = i;
    return row.statistic(x);
  }
};

// What is known of a query after some keys: the largest score, and the sum of exp(score - it).
struct Running {
  float max = -infinity;
  double sum = 0;

  // Scores become exp(score - max). Returns what earlier sums are to be multiplied with.
  float take(float* scores, std::int64_t n) {
    float largest = max;
    for (std::int64_t c = 0; c < n; ++c)
      if (!(scores[c] <= largest)) largest = scores[c];
    const float from = largest == -infinity ? 0 : largest, shrink = std::exp(max - from);
    double added = 0;
    for (std::int64_t c = 0; c < n; ++c) added += static_cast<double>(scores[c] = std::exp(scores[c] - from));
    sum = (max == -infinity ? 0 : sum * static_cast<double>(shrink)) + added;
    const float factor = max == -infinity ? 1 : shrink;
    max = largest;
    return factor;
  }
  float log_sum_exp() const {
    if (max == infinity) return max;
    return static_cast<float>((max == -infinity ? 0 : static_cast<double>(max)) + std::log(sum));
  }
};

template <Product product>
void forward_materialised(View query, View key, View value, const AttentionOptions& options, View output,
                          View log_sum_exp, const AttentionWorkspace& workspace, Stream) {
  const PlainInputs in{query, key, value, options};
  const std::int64_t heads = query.shape[1];
  Matrices memory(in, query.shape[2], key.shape[2], workspace);
  for (std::int64_t sh = 0; sh < attention_sequences(query, options) * heads; ++sh) {
    memory.clear();
    Head head(in, sh / heads, sh % heads, memory);
    const Matrix weights = memory.make(head.queries(), head.keys()), y = memory.make(head.queries(), value.shape[3]);
    product(head.query, head.key.transposed(), weights, false);
    for (std::int64_t i = 0; i < head.queries(); ++i) {
      float* const row = weights.data + i * head.keys();
      head.finish_scores(i, 0, row, head.keys());
      Running softmax;
      softmax.take(row, head.keys());
      for (std::int64_t j = 0; j < head.keys(); ++j) {
        if (options.dropout > 0) row[j] *= row[j] == 0 ? 0 : head.dropout_factor(i, j);
        if (softmax.sum != 0) row[j] /= static_cast<float>(softmax.sum);
      }
      head.statistic(log_sum_exp, i) = softmax.log_sum_exp();
    }
    product(weights, head.value, y, false);
    store(y, 1, output, head.row.sequence.batch, head.row.h, head.row.sequence.first_query);
  }
}

constexpr std::int64_t block_rows = 32, block_columns = 64;

void forward_online(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                    const AttentionWorkspace& workspace, Stream) {
  const PlainInputs in{query, key, value, options};
  const std::int64_t heads = query.shape[1], dim = query.shape[3], value_dim = value.shape[3];
  Matrices memory(in, block_rows, block_columns, workspace);
  for (std::int64_t sh = 0; sh < attention_sequences(query, options) * heads; ++sh) {
    memory.clear();
    Head head(in, sh / heads, sh % heads, memory);
    const Matrix y = memory.make(head.queries(), value_dim), scores = memory.make(block_rows, block_columns);
    for (std::int64_t i = 0; i < head.queries(); i += block_rows) {
      const std::int64_t rows = std::min(block_rows, head.queries() - i);
      const Matrix q{head.query.data + i * dim, rows, dim}, out{y.data + i * value_dim, rows, value_dim};
      std::fill_n(out.data, rows * value_dim, 0.0f);
      Running softmax[block_rows];
      for (std::int64_t j = 0; j < head.keys(); j += block_columns) {
        const std::int64_t columns = std::min(block_columns, head.keys() - j);
        const Matrix s{scores.data, rows, columns};
        multiply_plain(q, Matrix{head.key.data + j * dim, columns, dim}.transposed(), s, false);
        for (std::int64_t r = 0; r < rows; ++r) {
          float* const row = s.data + r * columns;
          head.finish_scores(i + r, j, row, columns);
          const float shrink = softmax[r].take(row, columns);
          for (std::int64_t d = 0; d < value_dim; ++d) out(r, d) *= shrink;
          for (std::int64_t c = 0; c < columns && options.dropout > 0; ++c)
            row[c] *= row[c] == 0 ? 0 : head.dropout_factor(i + r, j + c);
        }
        multiply_plain(s, {head.value.data + j * value_dim, columns, value_dim}, out, true);
      }
      for (std::int64_t r = 0; r < rows; ++r) {
        const double sum = softmax[r].sum;
        for (std::int64_t d = 0; d < value_dim; ++d)
          out(r, d) = sum == 0 ? 0 : static_cast<float>(static_cast<double>(out(r, d)) / sum);
        head.statistic(log_sum_exp, i + r) = softmax[r].log_sum_exp();
      }
    }
    store(y, 1, output, head.row.sequence.batch, head.row.h, head.row.sequence.first_query);
  }
}

struct Gradients {
  const View &output, &log_sum_exp, &doutput, &dlog_sum_exp, &dquery, &dkey, &dvalue;
};

// Row r of a block: products and doutput value^T become the weights after dropout, and the gradient of the products.
void finish_gradients(Head& head, const Gradients& g, std::int64_t i, std::int64_t j, float delta, float* p, float* ds,
                      float* slopes, std::int64_t n) {
  const float lse = head.statistic(g.log_sum_exp, i);
  head.finish_scores(i, j, p, n, slopes);
  for (std::int64_t c = 0; c < n; ++c) {
    const bool is_zero = lse == -infinity || p[c] == -infinity;
    const float weight = is_zero ? 0 : std::exp(p[c] - lse);
    const float factor = head.in.options.dropout > 0 && !is_zero ? head.dropout_factor(i, j + c) : 1;
    ds[c] = is_zero ? 0 : weight * (ds[c] * factor - delta) * slopes[c];
    p[c] = weight * factor;
  }
}

// The part of one query head in the gradients: dquery, and what is added to those of its keys and values. Five products
// for each block of queries against each block of keys.
template <Product product>
void backward_head(Head& head, const Gradients& g, std::int64_t block_rows, std::int64_t block_columns,
                   const Matrix& dk, const Matrix& dv, Matrices& memory) {
  const AttentionSequence& at = head.row.sequence;
  const std::int64_t dim = head.query.columns, value_dim = head.value.columns, h = head.row.h;
  const Matrix all_dy = memory.copy(g.doutput, at.batch, h, at.first_query, head.queries());
  const Matrix y = memory.copy(g.output, at.batch, h, at.first_query, head.queries());
  const Matrix dq = memory.make(head.queries(), dim), slopes = memory.make(1, block_columns);
  const Matrix all_p = memory.make(block_rows, block_columns), all_ds = memory.make(block_rows, block_columns);
  std::fill_n(dq.data, head.queries() * dim, 0.0f);
  for (std::int64_t j = 0; j < head.keys(); j += block_columns) {
    const std::int64_t columns = std::min(block_columns, head.keys() - j);
    const Matrix k{head.key.data + j * dim, columns, dim}, v{head.value.data + j * value_dim, columns, value_dim};
    for (std::int64_t i = 0; i < head.queries(); i += block_rows) {
      const std::int64_t rows = std::min(block_rows, head.queries() - i);
      const Matrix q{head.query.data + i * dim, rows, dim}, dy{all_dy.data + i * value_dim, rows, value_dim};
      const Matrix p{all_p.data, rows, columns}, ds{all_ds.data, rows, columns};
      product(q, k.transposed(), p, false);
      product(dy, v.transposed(), ds, false);
      for (std::int64_t r = 0; r < rows; ++r) {
        float delta = g.dlog_sum_exp.data == nullptr ? 0 : -head.statistic(g.dlog_sum_exp, i + r);
        for (std::int64_t d = 0; d < value_dim; ++d) delta += dy(r, d) * y(i + r, d);
        finish_gradients(head, g, i + r, j, delta, &p(r, 0), &ds(r, 0), slopes.data, columns);
      }
      product(p.transposed(), dy, {dv.data + j * value_dim, columns, value_dim}, true);
      product(ds.transposed(), q, {dk.data + j * dim, columns, dim}, true);
      product(ds, k, {dq.data + i * dim, rows, dim}, true);
    }
  }
  store(dq, head.in.options.scale, g.dquery, at.batch, h, at.first_query);
}

template <Product product>
void backward_blocks(const PlainInputs& in, const Gradients& g, std::int64_t rows, std::int64_t columns,
                     const AttentionWorkspace& workspace) {
  const View &query = in.query, &key = in.key;
  const std::int64_t heads = key.shape[1], dim = query.shape[3], value_dim = in.value.shape[3];
  Matrices sums(in, 0, 0, workspace), memory(in, rows, columns, workspace);
  for (std::int64_t sh = 0; sh < attention_sequences(query, in.options) * heads; ++sh) {
    const AttentionSequence at = attention_sequence(query, key, in.options, sh / heads);
    const std::int64_t keys = in.options.packed() ? at.keys : key.shape[2];
    sums.clear();
    const Matrix dk = sums.make(keys, dim), dv = sums.make(keys, value_dim);
    std::fill_n(dk.data, keys * dim, 0.0f);
    std::fill_n(dv.data, keys * value_dim, 0.0f);
    for (std::int64_t k = 0; k < in.group(); ++k) {
      memory.clear();
      Head head(in, sh / heads, sh % heads * in.group() + k, memory);
      backward_head<product>(head, g, rows, columns, dk, dv, memory);
    }
    store(dk, in.options.scale, g.dkey, at.batch, sh % heads, at.first_key);
    store(dv, 1, g.dvalue, at.batch, sh % heads, at.first_key);
  }
}

template <Product product>
void backward_materialised(View query, View key, View value, const AttentionOptions& options, View output,
                           View log_sum_exp, View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                           const AttentionWorkspace& workspace, Stream) {
  backward_blocks<product>(
      {query, key, value, options}, {output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue},
      std::max<std::int64_t>(query.shape[2], 1), std::max<std::int64_t>(key.shape[2], 1), workspace);
}

void backward_online(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                     View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                     const AttentionWorkspace& workspace, Stream) {
  backward_blocks<&multiply_plain>({query, key, value, options},
                                   {output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue}, block_rows,
                                   block_columns, workspace);
}

const Register forward2{attention_forward, DeviceType::cpu, "materialised", &forward_materialised<&multiply_plain>};
const Register forward3{attention_forward, DeviceType::cpu, "blas", &forward_materialised<&multiply_blas>};
const Register forward4{attention_forward, DeviceType::cpu, "online", &forward_online};
const Register backward2{attention_backward, DeviceType::cpu, "materialised", &backward_materialised<&multiply_plain>};
const Register backward3{attention_backward, DeviceType::cpu, "blas", &backward_materialised<&multiply_blas>};
const Register backward4{attention_backward, DeviceType::cpu, "online", &backward_online};

}  // namespace
}  // namespace heed::kernels
