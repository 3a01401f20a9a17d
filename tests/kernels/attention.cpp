// Attention over the sizes and features that a fused kernel can get wrong, against the composed formula in f64. The rule
// is FlashAttention's: no further from the truth than twice (gradients: three times) what the composed formula in f32 is.
#include "kernels/attention/attention.h"

#include <doctest/doctest.h>

#include <omp.h>

#include <cmath>

#include "engine/autograd.h"
#include "engine/ops.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

struct Problem {
  std::int64_t batch = 1, heads = 2, key_heads = 2, queries = 5, keys = 7, head_dim = 8, value_dim = 8;
  AttentionOptions options = {};
  bool transposed = false;  // heads and lengths exchanged in memory, as nn::MultiheadAttention hands them over
  double magnitude = 1;
};

// Output, log-sum-exp and the three gradients under random cotangents.
struct Results {
  std::vector<Tensor> tensors;
};

Tensor input(const Problem& p, std::int64_t heads, std::int64_t length, std::int64_t dim, std::uint64_t seed) {
  const Tensor x = p.transposed ? uniform({p.batch, length, heads, dim}, -1, 1, {}, seed).transpose(1, 2)
                                : uniform({p.batch, heads, length, dim}, -1, 1, {}, seed);
  return x * p.magnitude;
}

Results run(const Problem& p, Dtype dtype, AttentionPath path) {
  const auto leaf = [&](const Tensor& x) {
    const Tensor y = x.dtype() == dtype ? x.detach() : x.to(dtype).detach();
    y.set_requires_grad();
    return y;
  };
  const Tensor query = leaf(input(p, p.heads, p.queries, p.head_dim, 1));
  const Tensor key = leaf(input(p, p.key_heads, p.keys, p.head_dim, 2));
  const Tensor value = leaf(input(p, p.key_heads, p.keys, p.value_dim, 3));
  Generator generator{11, 5};
  AttentionOptions options = p.options;
  options.generator = &generator;
  options.path = path;
  options.return_log_sum_exp = true;
  const Attention y = scaled_dot_product_attention(query, key, value, options);
  const Tensor dy = uniform(y.output.shape(), -1, 1, {}, 4).to(dtype);
  // Where a query looks at nothing the log-sum-exp is -inf and has no gradient.
  const Tensor masked = equal(y.log_sum_exp.detach(), scalar(-infinity, y.log_sum_exp.options()));
  const Tensor dlse = masked_fill(uniform(y.log_sum_exp.shape(), -1, 1, {}, 5).to(dtype), masked, 0);
  Results results{{y.output.detach(), y.log_sum_exp.detach()}};
  for (const Tensor& g : grad({y.output, y.log_sum_exp}, {query, key, value}, {dy, dlse})) results.tensors.push_back(g);
  return results;
}

// The largest distance from `truth`; NaN or an infinity at another place counts as infinite.
double distance(const Tensor& x, const Tensor& truth) {
  const std::vector<double> a = x.to_vector<double>(), b = truth.to_vector<double>();
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    const double difference = std::abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = std::isnan(difference) ? infinity : difference;
  }
  return largest;
}

double largest(const Tensor& x) {
  double result = 0;
  for (const double value : x.to_vector<double>())
    if (std::isfinite(value)) result = std::max(result, std::abs(value));
  return result;
}

void verify(const std::string& name, const Problem& p) {
  CAPTURE(name);
  const std::string sizes = fmt::format("batch {} heads {}/{} queries {} keys {} dims {}/{}", p.batch, p.heads,
                                        p.key_heads, p.queries, p.keys, p.head_dim, p.value_dim);
  CAPTURE(sizes);
  const Results truth = run(p, Dtype::f64, AttentionPath::composed);
  const Results composed = run(p, Dtype::f32, AttentionPath::composed);
  const auto compare = [&](const std::string& variant) {
    CAPTURE(variant);
    const Results fused = run(p, Dtype::f32, AttentionPath::fused);
    const std::string names[] = {"output", "log_sum_exp", "dquery", "dkey", "dvalue"};
    for (std::size_t i = 0; i < 5; ++i) {
      CAPTURE(names[i]);
      // The backward starts from a log-sum-exp rounded to f32, which makes all weights wrong by that factor.
      const double rounding = i < 2 ? 0 : 0x1p-24 * largest(truth.tensors[1]) * largest(truth.tensors[i]);
      const double allowed =
          (i < 2 ? 2 : 3) * distance(composed.tensors[i], truth.tensors[i]) + rounding + 1e-6 * p.magnitude;
      const double found = distance(fused.tensors[i], truth.tensors[i]);
      CHECK_MESSAGE(found <= allowed, found, " > ", allowed);
    }
  };
  for (const kernels::Variant& variant : kernels::attention_forward.variants()) {
    const kernels::ScopedVariant forward(kernels::attention_forward, variant.device, variant.name);
    const kernels::ScopedVariant backward(kernels::attention_backward, variant.device, variant.name);
    if (variant.device == DeviceType::cpu) compare(variant.name);
  }
}

}  // namespace

TEST_CASE("fused attention: lengths around vectors, strips and stretches of 512 keys") {
  for (const auto& [queries, keys] : std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1},
                                                                                        {1, 239},
                                                                                        {6, 64},
                                                                                        {7, 65},
                                                                                        {13, 15},
                                                                                        {50, 50},
                                                                                        {63, 129},
                                                                                        {5, 512},
                                                                                        {5, 513},
                                                                                        {113, 203},
                                                                                        {30, 1100},
                                                                                        {520, 6}}) {
    for (const Causal causal : {Causal::none, Causal::top_left, Causal::bottom_right}) {
      verify("causal " + std::to_string(static_cast<int>(causal)),
             {.queries = queries, .keys = keys, .options = {.causal = causal}});
    }
  }
}

TEST_CASE("fused attention: head dimensions") {
  for (const std::int64_t dim : {1, 2, 3, 15, 16, 17, 32, 40, 59, 64, 80, 96, 111, 128, 160, 192, 224, 256}) {
    verify("equal", {.queries = 20, .keys = 33, .head_dim = dim, .value_dim = dim});
    verify("value other", {.queries = 9, .keys = 20, .head_dim = dim, .value_dim = 257 - dim});
    verify("transposed", {.queries = 9, .keys = 20, .head_dim = dim, .value_dim = dim, .transposed = true});
  }
}

TEST_CASE("fused attention: masks, windows, lengths, groups, dropout, and all of them") {
  const Problem base{
      .batch = 2, .heads = 4, .key_heads = 4, .queries = 37, .keys = 53, .head_dim = 16, .value_dim = 24};
  const auto with = [&](const auto& change) {
    Problem p = base;
    change(p);
    return p;
  };
  const auto mask = [&](const Shape& shape) { return greater(uniform(shape, -1, 1, {}, 6), scalar(-0.2)); };
  for (const Shape& shape : std::vector<Shape>{{53}, {37, 1}, {37, 53}, {4, 37, 53}, {2, 1, 1, 53}, {2, 4, 37, 53}}) {
    verify("boolean mask " + to_string(shape), with([&](Problem& p) { p.options.mask = mask(shape); }));
    verify("bias " + to_string(shape), with([&](Problem& p) { p.options.mask = uniform(shape, -2, 2, {}, 7); }));
  }
  for (const std::int64_t window : {0, 1, 20, 60}) {
    verify("window", with([&](Problem& p) { p.options.window = window; }));
    verify("causal window", with([&](Problem& p) {
             p.options.window = window;
             p.options.causal = Causal::bottom_right;
           }));
  }
  const Tensor lengths = from_vector<std::int64_t>({0, 31}, {2});
  verify("key lengths", with([&](Problem& p) { p.options.key_lengths = lengths; }));
  for (const std::int64_t key_heads : {1, 2}) {
    verify("grouped heads", with([&](Problem& p) {
             p.key_heads = key_heads;
             p.options.causal = Causal::top_left;
           }));
  }
  for (const std::int64_t keys : {53, 52, 51, 700}) {
    verify("dropout", with([&](Problem& p) {
             p.keys = keys;
             p.options.dropout = 0.3;
           }));
  }
  verify("dropout of everything", with([&](Problem& p) { p.options.dropout = 1; }));
  verify("scale", with([&](Problem& p) { p.options.scale = -0.7; }));
  verify("scores of thousands", with([&](Problem& p) { p.magnitude = 40; }));
  verify("all of it", with([&](Problem& p) {
           p.key_heads = 2;
           p.options = {.causal = Causal::bottom_right,
                        .mask = mask({2, 1, 37, 53}),
                        .key_lengths = from_vector<std::int64_t>({29, 53}, {2}),
                        .window = 25,
                        .dropout = 0.2,
                        .scale = 0.3};
           p.transposed = true;
         }));
}

TEST_CASE("fused attention: numbers that are none") {
  for (const double special : {std::nan(""), infinity, -infinity}) {
    std::vector<float> values = uniform({40}, -1, 1, {}, 3).to_vector<float>();
    values[13] = static_cast<float>(special);  // the second coordinate of query or key 3
    const Tensor broken = from_vector(values, {1, 1, 10, 4}), whole = uniform({1, 1, 10, 4}, 0.1, 1, {}, 4);
    for (const bool in_query : {true, false}) {
      const auto output = [&](AttentionPath path) {
        return scaled_dot_product_attention(in_query ? broken : whole, in_query ? whole : broken, whole,
                                            {.return_log_sum_exp = true, .path = path});
      };
      const Attention fused = output(AttentionPath::fused), composed = output(AttentionPath::composed);
      CHECK_LT(distance(fused.output, composed.output), 1e-5);
      CHECK_LT(distance(fused.log_sum_exp, composed.log_sum_exp), 1e-5);
    }
  }
}

TEST_CASE("fused attention: bits do not depend on threads, and come again") {
  const Problem p{.batch = 2,
                  .heads = 3,
                  .key_heads = 3,
                  .queries = 200,
                  .keys = 600,
                  .head_dim = 20,
                  .value_dim = 20,
                  .options = {.causal = Causal::bottom_right, .dropout = 0.1}};
  const auto bits = [&] {
    std::vector<std::vector<float>> all;
    for (const Tensor& x : run(p, Dtype::f32, AttentionPath::fused).tensors) all.push_back(x.to_vector<float>());
    return all;
  };
  const auto first = bits();
  CHECK_EQ(bits(), first);
  const int threads = omp_get_max_threads();
  for (const int count : {1, 2, 3}) {
    omp_set_num_threads(count);
    CHECK_EQ(bits(), first);
  }
  omp_set_num_threads(threads);
}

TEST_CASE("fused attention: a gradient of a gradient is the composed formula's") {
  const Tensor x = uniform({1, 2, 6, 4}, -1, 1, {}, 1);
  const auto second_order = [&](AttentionPath path) {
    const Tensor q = x.detach(), k = (x * 0.5).detach();
    q.set_requires_grad();
    k.set_requires_grad();
    Generator generator{3, 0};
    const Tensor y =
        scaled_dot_product_attention(q, k, x, {.dropout = 0.2, .generator = &generator, .path = path}).output;
    const Tensor dq = grad({sum(y * y)}, {q}, {}, {.create_graph = true})[0];
    return grad({sum(dq * dq)}, {k})[0];
  };
  CHECK_LT(distance(second_order(AttentionPath::fused), second_order(AttentionPath::composed)), 1e-5);
}

TEST_CASE("fused attention says why it cannot") {
  const Tensor x = ones({1, 1, 2, 4}), f64 = ones({1, 1, 2, 4}, {Dtype::f64}), wide = ones({1, 1, 2, 300});
  const auto message = [](const Tensor& x, AttentionOptions options) {
    options.path = AttentionPath::fused;
    return message_of([&] { scaled_dot_product_attention(x, x, x, options); });
  };
  const std::string start = "scaled_dot_product_attention: the fused kernels cannot do this: ";
  CHECK_EQ(message(f64, {}), start + "f64 is not f32");
  CHECK_EQ(message(wide, {}), start + "dimension 300 exceeds 256");
  CHECK_EQ(message(x, {.return_weights = true}), start + "the weights are asked for");
  CHECK_EQ(message(ones({1, 1, 0, 4}), {}), start + "there are no elements");
  const Tensor bias = zeros({2, 2});
  bias.set_requires_grad();
  CHECK_EQ(message(x, {.mask = bias}), start + "the mask requires a gradient");
}

}  // namespace heed::test
