#include <doctest/doctest.h>

#include <cmath>

#include "tests/harness/examine.h"

namespace heed::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// One sentence a line: what the options mean, written down without any tensor operation.
struct Reference {
  AttentionOptions options;
  Array mask{Shape{}};  // additive; -inf where a boolean mask forbids
  std::vector<std::int64_t> key_lengths;

  double score(const Array& query, const Array& key, std::int64_t b, std::int64_t h, std::int64_t i,
               std::int64_t j) const {
    const std::int64_t queries = query.shape[2], keys = key.shape[2], head_dim = query.shape[3];
    const std::int64_t key_head = h / (query.shape[1] / key.shape[1]);
    const std::int64_t position = options.causal == Causal::bottom_right ? i + keys - queries : i;
    if (options.causal != Causal::none && j > position) return -infinity;
    if (options.window >= 0 && std::abs(j - position) > options.window) return -infinity;
    if (!key_lengths.empty() && j >= key_lengths[static_cast<std::size_t>(b)]) return -infinity;
    double dot = 0;
    for (std::int64_t d = 0; d < head_dim; ++d) dot += query[{b, h, i, d}] * key[{b, key_head, j, d}];
    return dot * options.scale.value_or(1 / std::sqrt(static_cast<double>(head_dim))) + mask.broadcast_at({b, h, i, j});
  }

  // Output in the first value_dim columns of the last axis, the log-sum-exp in one more.
  Array operator()(const Array& query, const Array& key, const Array& value) const {
    const std::int64_t keys = key.shape[2], value_dim = value.shape[3];
    Array result({query.shape[0], query.shape[1], query.shape[2], value_dim + 1});
    for_each_index({query.shape[0], query.shape[1], query.shape[2]}, [&](const Dims& index) {
      const std::int64_t b = index[0], h = index[1], i = index[2];
      double largest = -infinity, total = 0;
      for (std::int64_t j = 0; j < keys; ++j) largest = std::max(largest, score(query, key, b, h, i, j));
      result[{b, h, i, value_dim}] = -infinity;
      if (largest == -infinity) return;
      for (std::int64_t j = 0; j < keys; ++j) total += std::exp(score(query, key, b, h, i, j) - largest);
      for (std::int64_t d = 0; d < value_dim; ++d) {
        for (std::int64_t j = 0; j < keys; ++j) {
          const double weight = std::exp(score(query, key, b, h, i, j) - largest) / total;
          result[{b, h, i, d}] += weight * value[{b, h / (query.shape[1] / key.shape[1]), j, d}];
        }
      }
      result[{b, h, i, value_dim}] = largest + std::log(total);
    });
    return result;
  }
};

struct Sizes {
  std::int64_t batch = 2, heads = 2, key_heads = 2, queries = 5, keys = 7, head_dim = 4, value_dim = 3;
};

// With `bias_shape` the mask is a differentiable input. A log-sum-exp of -inf takes no part, its gradient being undefined.
void verify_attention(const std::string& name, const Sizes& s, Reference reference, const Shape& bias_shape = {},
                      bool with_log_sum_exp = true) {
  reference.options.return_log_sum_exp = true;
  if (!reference.key_lengths.empty()) {
    reference.options.key_lengths = from_vector(reference.key_lengths, {s.batch});
  }
  Case c{.name = "attention: " + name,
         .inputs = {{{s.batch, s.heads, s.queries, s.head_dim}},
                    {{s.batch, s.key_heads, s.keys, s.head_dim}},
                    {{s.batch, s.key_heads, s.keys, s.value_dim}}}};
  if (bias_shape.size() > 0) c.inputs.push_back({bias_shape});
  c.operation = [reference, with_log_sum_exp](const Tensors& x) {
    AttentionOptions options = reference.options;
    if (x.size() > 3) options.mask = x[3];
    const Attention result = scaled_dot_product_attention(x[0], x[1], x[2], options);
    return with_log_sum_exp ? cat({result.output, result.log_sum_exp.unsqueeze(3)}, 3) : result.output;
  };
  c.reference = [reference, with_log_sum_exp](const std::vector<Array>& x) {
    Reference r = reference;
    if (x.size() > 3) r.mask = x[3];
    const Array both = r(x[0], x[1], x[2]);
    if (with_log_sum_exp) return both;
    Shape shape = both.shape;
    --shape[3];
    return filled(shape, [&](const Dims& index) { return both[index]; });
  };
  verify(c);
}

}  // namespace

TEST_CASE("attention") {
  verify_attention("plain", {}, {});
  verify_attention("causal top left", {}, {.options = {.causal = Causal::top_left}});
  verify_attention("causal bottom right", {}, {.options = {.causal = Causal::bottom_right}});
  verify_attention("bottom right, more queries than keys", {.queries = 7, .keys = 5},
                   {.options = {.causal = Causal::bottom_right}}, {}, false);
  verify_attention("scale", {}, {.options = {.scale = -0.3}});
  verify_attention("window", {.queries = 7}, {.options = {.window = 2}});
  verify_attention("window, bottom right", {}, {.options = {.causal = Causal::bottom_right, .window = 1}});
  verify_attention("key lengths", {}, {.key_lengths = {3, 7}});
  verify_attention("no key at all for one sequence", {}, {.key_lengths = {0, 7}}, {}, false);
  verify_attention("grouped heads", {.heads = 4, .key_heads = 2}, {});
  verify_attention("one key head", {.heads = 3, .key_heads = 1}, {.options = {.causal = Causal::top_left}});
  verify_attention("one query, one key", {.queries = 1, .keys = 1}, {});
  verify_attention("no keys", {.keys = 0}, {}, {}, false);
  verify_attention("no queries", {.queries = 0}, {});
}

TEST_CASE("attention: the bias and its gradient in every broadcast shape") {
  for (const Shape& shape :
       std::vector<Shape>{{7}, {1}, {5, 1}, {5, 7}, {2, 5, 7}, {2, 1, 1}, {2, 1, 5, 7}, {1, 2, 1, 7}, {2, 2, 5, 7}}) {
    verify_attention("bias " + to_string(shape), {}, {}, shape);
  }
}

TEST_CASE("attention: boolean masks") {
  for (const Shape& shape : std::vector<Shape>{{7}, {5, 1}, {5, 7}, {2, 1, 5, 7}, {2, 2, 5, 7}}) {
    Reference reference;
    const Tensor mask = greater(uniform(shape, -1, 1, {}, 5), scalar(-0.3));
    reference.options.mask = mask;
    const Array allowed(mask);
    reference.mask = filled(shape, [&](const Dims& index) { return allowed[index] != 0 ? 0.0 : -infinity; });
    verify_attention("mask " + to_string(shape), {}, reference, {}, false);
  }
}

TEST_CASE("attention: weights, dropout and repeatability") {
  const Tensor x = uniform({1, 2, 4, 8}, -1, 1, {}, 3);
  Generator a{7, 0}, b{7, 0};
  const auto run = [&](Generator& generator) {
    return scaled_dot_product_attention(x, x, x, {.dropout = 0.5, .return_weights = true, .generator = &generator});
  };
  const Attention first = run(a), second = run(b), third = run(b);
  CHECK_EQ(first.output.to_vector<float>(), second.output.to_vector<float>());
  CHECK_NE(first.output.to_vector<float>(), third.output.to_vector<float>());
  CHECK_EQ(difference(first.output, Array(matmul(first.weights, x)), 1e-6), "");
  const Attention plain = scaled_dot_product_attention(x, x, x, {.return_weights = true});
  CHECK_EQ(difference(sum(plain.weights, {3}), Array({1, 2, 4}, 1.0), 1e-6), "");
}

TEST_CASE("attention refuses what it cannot do") {
  const Tensor x = zeros({2, 2, 5, 4});
  CHECK_EQ(
      message_of([&] {
        scaled_dot_product_attention(x, zeros({2, 2, 5, 3}), x);
      }),
      "scaled_dot_product_attention: query [2, 2, 5, 4], key [2, 2, 5, 3] and value [2, 2, 5, 4] do not fit; expected "
      "[batch, heads, queries, head_dim], [batch, key_heads, keys, head_dim] and [batch, key_heads, keys, value_dim] "
      "with heads a multiple of key_heads");
  CHECK_EQ(message_of([&] {
             scaled_dot_product_attention(x, x, x, {.mask = zeros({3, 5})});
           }),
           "scaled_dot_product_attention: mask of shape [3, 5] does not broadcast to [2, 2, 5, 5]");
  CHECK_EQ(message_of([&] {
             scaled_dot_product_attention(x, x, x, {.mask = zeros({5, 5}, {Dtype::i64})});
           }),
           "scaled_dot_product_attention: mask is i64, neither bool nor floating");
  CHECK_EQ(message_of([&] { scaled_dot_product_attention(x, x, x, {.key_lengths = zeros({3}, {Dtype::i64})}); }),
           "scaled_dot_product_attention: key_lengths of shape [3] (i64), expected [2] (i64)");
  CHECK_EQ(message_of([&] { scaled_dot_product_attention(x, x, x, {.window = -2}); }),
           "scaled_dot_product_attention: window -2 is negative");
}

}  // namespace heed::test
