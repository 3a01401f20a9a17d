#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "kernels/attention/attention.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// One sentence a line: what the options mean, written down without any tensor operation.
struct Reference {
  AttentionOptions options;
  Array mask{Shape{}};  // additive; -inf where a boolean mask forbids
  std::vector<std::int64_t> key_lengths = {};
  std::vector<double> alibi_slopes = {};  // [heads]
  std::vector<std::int64_t> query_starts = {},
                            key_starts = {};  // of a packed batch, whose arrays are [1, heads, tokens, dim]

  // The sequence that a row lies in, and its first row.
  static std::int64_t sequence_of(const std::vector<std::int64_t>& starts, std::int64_t row) {
    std::int64_t s = 0;
    while (row >= starts[static_cast<std::size_t>(s + 1)]) ++s;
    return s;
  }

  // Of query i against key j, counted within the sequence of `queries` and `keys`.
  double score(const Array& query, const Array& key, std::int64_t b, std::int64_t h, std::int64_t query_row,
               std::int64_t key_row) const {
    std::int64_t queries = query.shape[2], keys = key.shape[2], i = query_row, j = key_row;
    if (!query_starts.empty()) {
      const std::int64_t s = sequence_of(query_starts, i);
      if (s != sequence_of(key_starts, j)) return -infinity;
      const auto at = static_cast<std::size_t>(s);
      i -= query_starts[at], j -= key_starts[at];
      queries = query_starts[at + 1] - query_starts[at], keys = key_starts[at + 1] - key_starts[at];
    }
    const std::int64_t head_dim = query.shape[3], key_head = h / (query.shape[1] / key.shape[1]);
    const std::int64_t position = options.causal == Causal::bottom_right ? i + keys - queries : i;
    if (options.causal != Causal::none && j > position) return -infinity;
    if (options.window >= 0 && std::abs(j - position) > options.window) return -infinity;
    if (!key_lengths.empty() && j >= key_lengths[static_cast<std::size_t>(b)]) return -infinity;
    double score = 0;
    for (std::int64_t d = 0; d < head_dim; ++d) score += query[{b, h, query_row, d}] * key[{b, key_head, key_row, d}];
    score *= options.scale.value_or(1 / std::sqrt(static_cast<double>(head_dim)));
    if (options.softcap > 0) score = options.softcap * std::tanh(score / options.softcap);
    if (!alibi_slopes.empty()) {
      score -= alibi_slopes[static_cast<std::size_t>(h)] * static_cast<double>(std::abs(position - j));
    }
    return score + mask.broadcast_at({b, h, query_row, key_row});
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

// The options with their tensors where the inputs are: the examination runs a case on more than one device.
AttentionOptions moved(AttentionOptions options, Device device) {
  for (Tensor* tensor :
       {&options.mask, &options.key_lengths, &options.alibi_slopes, &options.query_starts, &options.key_starts}) {
    if (tensor->defined()) *tensor = tensor->to(device);
  }
  return options;
}

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
  if (!reference.alibi_slopes.empty()) {
    reference.options.alibi_slopes =
        from_vector(std::vector<float>(reference.alibi_slopes.begin(), reference.alibi_slopes.end()), {s.heads});
  }
  Case c{.name = "attention: " + name,
         .inputs = {{{s.batch, s.heads, s.queries, s.head_dim}},
                    {{s.batch, s.key_heads, s.keys, s.head_dim}},
                    {{s.batch, s.key_heads, s.keys, s.value_dim}}}};
  if (bias_shape.size() > 0) c.inputs.push_back({bias_shape});
  c.operation = [reference, with_log_sum_exp](const Tensors& x) {
    AttentionOptions options = moved(reference.options, x[0].device());
    if (x.size() > 3) options.mask = x[3];
    const Attention result = scaled_dot_product_attention(x[0], x[1], x[2], options);
    return with_log_sum_exp ? cat({result.output.to(result.log_sum_exp.dtype()), result.log_sum_exp.unsqueeze(3)}, 3)
                            : result.output;
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
  verify_attention("softcap", {}, {.options = {.softcap = 0.8}});
  verify_attention("softcap, causal, scale", {},
                   {.options = {.causal = Causal::top_left, .softcap = 0.5, .scale = -1.5}});
  verify_attention("ALiBi", {}, {.alibi_slopes = {0.5, 0.125}});
  verify_attention("ALiBi, bottom right", {},
                   {.options = {.causal = Causal::bottom_right}, .alibi_slopes = {0.25, -0.5}});
  verify_attention("everything", {.heads = 4, .queries = 6},
                   {.options = {.causal = Causal::bottom_right, .window = 3, .softcap = 1.5, .scale = 0.8},
                    .key_lengths = {6, 7},
                    .alibi_slopes = {0.5, 0.25, 0.125, -0.25}},
                   {4, 1, 7});
}

TEST_CASE("attention: packed sequences") {
  const std::vector<std::int64_t> query_starts{0, 3, 3, 8, 9}, key_starts{0, 4, 6, 9, 11};
  const auto as_padded = [](const Array& x) {  // [tokens, heads, dim] to [1, heads, tokens, dim]
    return filled({1, x.shape[1], x.shape[0], x.shape[2]}, [&](const Dims& index) {
      return x[{index[2], index[1], index[3]}];
    });
  };
  for (const Causal causal : {Causal::none, Causal::top_left, Causal::bottom_right}) {
    const bool sees_all = causal != Causal::bottom_right;  // else some query has a log-sum-exp of -inf
    Reference reference{.options = {.causal = causal, .softcap = 2, .return_log_sum_exp = true},
                        .alibi_slopes = {0.5, 0.25},
                        .query_starts = query_starts,
                        .key_starts = key_starts};
    AttentionOptions options = reference.options;
    options.query_starts = from_vector(query_starts, {5});
    options.key_starts = from_vector(key_starts, {5});
    options.alibi_slopes = from_vector<float>({0.5, 0.25}, {2});
    verify({.name = "attention: packed",
            .inputs = {{{9, 2, 4}}, {{11, 1, 4}}, {{11, 1, 3}}, {{2, 9, 11}}},
            .operation =
                [=](const Tensors& x) {
                  AttentionOptions all = moved(options, x[0].device());
                  all.mask = x[3];
                  const Attention y = scaled_dot_product_attention(x[0], x[1], x[2], all);
                  return sees_all
                             ? cat({y.output.to(y.log_sum_exp.dtype()), y.log_sum_exp.transpose(0, 1).unsqueeze(2)}, 2)
                             : y.output;
                },
            .reference =
                [=](const std::vector<Array>& x) {
                  Reference full = reference;
                  full.mask = x[3];
                  const Array y = full(as_padded(x[0]), as_padded(x[1]), as_padded(x[2]));
                  return filled({9, 2, sees_all ? 4 : 3}, [&](const Dims& index) {
                    return y[{0, index[1], index[0], index[2]}];
                  });
                }});
  }
}

TEST_CASE("attention: the gradient of ALiBi slopes, by the composed path") {
  for (const Shape& shape : std::vector<Shape>{{2}, {3, 2}}) {
    verify({.name = "attention: slopes " + to_string(shape),
            .inputs = {{{3, 2, 4, 4}}, {shape}},
            .operation =
                [](const Tensors& x) {
                  return scaled_dot_product_attention(x[0], x[0], x[0], {.alibi_slopes = x[1]}).output;
                },
            .reference =
                [shape](const std::vector<Array>& x) {
                  Array bias({3, 2, 4, 4});
                  for_each_index(bias.shape, [&](const Dims& i) {
                    const double slope = shape.size() == 1 ? x[1][{i[1]}] : x[1][{i[0], i[1]}];
                    bias[i] = -slope * static_cast<double>(std::abs(i[2] - i[3]));
                  });
                  Reference reference;
                  reference.mask = bias;
                  const Array both = reference(x[0], x[0], x[0]);
                  return filled({3, 2, 4, 4}, [&](const Dims& index) { return both[index]; });
                }});
  }
}

TEST_CASE("attention: a packed batch is its sequences, one by one") {
  const Tensor query = uniform({9, 2, 8}, -1, 1, {}, 1), key = uniform({11, 2, 8}, -1, 1, {}, 2);
  const Tensor slopes = uniform({3, 2}, 0, 1, {}, 3);
  const AttentionOptions options{.causal = Causal::bottom_right,
                                 .window = 3,
                                 .alibi_slopes = slopes,
                                 .query_starts = from_vector<std::int64_t>({0, 4, 5, 9}, {4}),
                                 .key_starts = from_vector<std::int64_t>({0, 5, 7, 11}, {4}),
                                 .return_weights = true,
                                 .return_log_sum_exp = true};
  const Attention all = scaled_dot_product_attention(query, key, key, options);
  CHECK_EQ(all.weights.shape(), Shape{2, 9, 11});
  for (const auto& [s, i, queries, j, keys] :
       std::vector<std::array<std::int64_t, 5>>{{0, 0, 4, 0, 5}, {1, 4, 1, 5, 2}, {2, 5, 4, 7, 4}}) {
    const auto alone = [](const Tensor& x, std::int64_t first, std::int64_t n) {
      return x.slice(0, first, first + n).transpose(0, 1).unsqueeze(0);
    };
    const Attention one =
        scaled_dot_product_attention(alone(query, i, queries), alone(key, j, keys), alone(key, j, keys),
                                     {.causal = Causal::bottom_right,
                                      .window = 3,
                                      .alibi_slopes = slopes.slice(0, s, s + 1),
                                      .return_log_sum_exp = true});
    CHECK_EQ(difference(alone(all.output, i, queries), Array(one.output), 1e-6), "");
    CHECK_EQ(difference(all.log_sum_exp.slice(1, i, i + queries).unsqueeze(0), Array(one.log_sum_exp), 1e-6), "");
  }
}

TEST_CASE("attention: what no query may look at does not matter, whatever it holds") {
  const Tensor query = uniform({1, 1, 6, 8}, -1, 1, {}, 1), clean = uniform({1, 1, 20, 8}, -1, 1, {}, 2);
  const auto spoilt = [&](std::int64_t from, double special) {
    const Tensor beyond = greater_equal(arange(0, 20), scalar(static_cast<double>(from), {Dtype::i64}));
    return masked_fill(clean, beyond.unsqueeze(1), special);
  };
  const Tensor allowed = less(arange(0, 20), scalar(11, {Dtype::i64}));
  for (const double special : {std::nan(""), infinity}) {
    const auto check_path = [&](AttentionPath path) {
      // Keys and values beyond the length, and keys that are masked, by a bool or by -inf.
      const AttentionOptions lengths{.key_lengths = from_vector<std::int64_t>({11}, {1}), .path = path};
      const AttentionOptions masked{.mask = allowed, .path = path};
      const AttentionOptions biased{.mask = masked_fill(zeros({20}), logical_not(allowed), -infinity), .path = path};
      const auto attend = [&](const Tensor& key, const Tensor& value, const AttentionOptions& options) {
        const Tensor q = query.detach(), k = key.detach(), v = value.detach();
        for (const Tensor& x : {q, k, v}) x.set_requires_grad();
        const Tensor y = scaled_dot_product_attention(q, k, v, options).output;
        std::vector<Tensor> all = grad({y}, {q, k, v}, {ones(y.shape())});
        all.push_back(y.detach());
        return all;
      };
      const Tensor bad = spoilt(11, special);
      const std::vector<Tensor> right = attend(clean, clean, lengths), found = attend(bad, bad, lengths);
      for (std::size_t i = 0; i < right.size(); ++i) CHECK_EQ(difference(found[i], Array(right[i]), 1e-6), "");
      for (const AttentionOptions& options : {masked, biased})
        CHECK_EQ(difference(attend(bad, clean, options).back(), Array(right.back()), 1e-6), "");
    };
    check_path(AttentionPath::composed);
    for (const std::string name : variants_of(kernels::attention_forward)) {
      CAPTURE(name);
      const kernels::ScopedVariant forward(kernels::attention_forward, default_device().type, name);
      check_path(AttentionPath::fused);
    }
  }
}

TEST_CASE("attention: the output lies in memory as the query does") {
  const Tensor x = uniform({2, 5, 3, 8}, -1, 1, {}, 1), transposed = x.transpose(1, 2);
  const Tensor y = scaled_dot_product_attention(transposed, transposed, transposed, {}).output;
  CHECK(y.transpose(1, 2).is_contiguous());
  CHECK(scaled_dot_product_attention(x, x, x, {}).output.is_contiguous());
}

TEST_CASE("attention in halves is attention in f32, rounded at the end") {
  for (const Dtype dtype : {Dtype::bf16, Dtype::f16}) {
    const Tensor x = uniform({1, 2, 6, 8}, -1, 1, {}, 1).to(dtype);
    const Tensor right = scaled_dot_product_attention(x.to(Dtype::f32), x.to(Dtype::f32), x.to(Dtype::f32), {}).output;
    for (const AttentionPath path : {AttentionPath::fused, AttentionPath::composed}) {
      const Attention y = scaled_dot_product_attention(x, x, x, {.return_log_sum_exp = true, .path = path});
      CHECK_EQ(y.output.dtype(), dtype);
      CHECK_EQ(y.log_sum_exp.dtype(), Dtype::f32);
      CHECK_EQ(difference(y.output.to(Dtype::f32), Array(right), dtype == Dtype::bf16 ? 0x1p-8 : 0x1p-11), "");
    }
  }
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
  CHECK_EQ(message_of([&] { scaled_dot_product_attention(x, x, x, {.softcap = -1}); }),
           "scaled_dot_product_attention: softcap -1 is not positive");
  CHECK_EQ(message_of([&] { scaled_dot_product_attention(x, x, x, {.dropout = 1.5}); }),
           "scaled_dot_product_attention: dropout 1.5 is not within [0, 1]");
  CHECK_EQ(message_of([&] { scaled_dot_product_attention(x, x, x, {.alibi_slopes = zeros({3})}); }),
           "scaled_dot_product_attention: alibi_slopes of shape [3] (f32), expected [2] or [2, 2] (floating)");
}

TEST_CASE("packed attention refuses what does not fit") {
  const Tensor x = zeros({5, 2, 4});
  const auto message = [&](const std::vector<std::int64_t>& query_starts, const std::vector<std::int64_t>& key_starts,
                           AttentionOptions options = {}) {
    const auto tensor = [](const std::vector<std::int64_t>& starts) {
      return from_vector(starts, {static_cast<std::int64_t>(starts.size())});
    };
    if (!query_starts.empty()) options.query_starts = tensor(query_starts);
    if (!key_starts.empty()) options.key_starts = tensor(key_starts);
    return message_of([&] { scaled_dot_product_attention(x, x, x, options); });
  };
  const std::string start = "scaled_dot_product_attention: ";
  CHECK_EQ(message({0, 5}, {}), start + "query_starts and key_starts go together");
  CHECK_EQ(message({0, 2, 5}, {0, 5}), start + "query_starts [3] and key_starts [2] differ in length");
  CHECK_EQ(message({0, 4, 2, 5}, {0, 1, 2, 5}), start + "query_starts falls from 4 to 2");
  CHECK_EQ(message({0, 5}, {0, 4}), start + "key_starts runs from 0 to 4, expected 0 to 5");
  CHECK_EQ(message({0, 5}, {0, 5}, {.key_lengths = from_vector<std::int64_t>({3}, {1})}),
           start + "key_lengths are for padded sequences, not for packed ones");
  CHECK_EQ(message({0, 5}, {0, 5}, {.alibi_slopes = zeros({2, 2})}),
           start + "alibi_slopes of shape [2, 2] (f32), expected [2] or [1, 2] (floating)");
  const Tensor starts = from_vector<std::int64_t>({0, 5}, {2}), padded = zeros({1, 2, 5, 4});
  CHECK_EQ(message_of([&] {
             scaled_dot_product_attention(x, x, x, {.query_starts = starts.to(Dtype::i32), .key_starts = starts});
           }),
           start + "starts of shape [2] (i32), expected [sequences + 1] (i64)");
  CHECK_EQ(message_of([&] {
             scaled_dot_product_attention(padded, padded, padded, {.query_starts = starts, .key_starts = starts});
           }),
           start +
               "query [1, 2, 5, 4], key [1, 2, 5, 4] and value [1, 2, 5, 4] do not fit; expected [tokens, heads, "
               "head_dim], [key tokens, key_heads, head_dim] and [key tokens, key_heads, value_dim] with heads a "
               "multiple of key_heads");
}

}  // namespace heed::test
