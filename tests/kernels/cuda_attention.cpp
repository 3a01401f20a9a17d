// Attention on the GPU: every variant of the three slots against the composed formula in f64, on every feature and on sizes
// around those of the tiles. Small problems, so that a simulator of the GPU can run them.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "engine/ops.h"
#include "kernels/attention/attention.h"
#include "tests/harness/examine.h"
#include "tests/kernels/cuda_arrays.h"
#include "tests/kernels/cuda_attention_problem.h"

namespace heed::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// All variants in f32 and bf16, less those that would run the same kernels again; in f16, which shares the kernels of bf16,
// the default.
void verify_on_gpu(const std::string& name, AttentionProblem p) {
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
    p.dtype = dtype;
    verify_attention_on_gpu(name, p, without_repeats(attention_variants_on_gpu(), dtype));
  }
  p.dtype = Dtype::f16;
  verify_attention_on_gpu(name, p, {"mma"});
}

const AttentionProblem base{
    .batch = 2, .heads = 4, .key_heads = 4, .queries = 37, .keys = 53, .head_dim = 16, .value_dim = 24};

template <class Change>
AttentionProblem with(const Change& change) {
  AttentionProblem p = base;
  change(p);
  return p;
}

std::vector<std::vector<double>> bits(const AttentionProblem& p) {
  std::vector<std::vector<double>> all;
  for (const auto& [name, x] : run_on_gpu(p)) all.push_back(x.to_vector<double>());
  return all;
}

}  // namespace

// What allows the other cases to leave them out.
TEST_CASE("attention on the GPU: variants without kernels of their own run the default's") {
  if (no_gpu()) return;
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
    for (const bool plain : {true, false}) {
      AttentionProblem p = base;
      p.dtype = dtype;
      if (plain) p.head_dim = p.value_dim = 64, p.queries = 70, p.keys = 100;
      if (!plain) p.options = {.causal = Causal::bottom_right, .softcap = 5, .dropout = 0.3};
      const auto expected = bits(p);
      for (const std::string& variant : attention_variants_on_gpu()) {
        if (!runs_the_default(variant, dtype)) continue;
        CAPTURE(variant);
        const ScopedAttentionVariant scope(variant);
        CHECK_EQ(bits(p), expected);
      }
    }
  }
}

TEST_CASE("attention on the GPU: lengths around the tiles") {
  if (no_gpu()) return;
  using Lengths = std::vector<std::pair<std::int64_t, std::int64_t>>;
  for (const auto& [queries, keys] :
       Lengths{{1, 1}, {1, 31}, {33, 1}, {31, 33}, {63, 65}, {64, 64}, {65, 97}, {113, 203}, {130, 40}}) {
    for (const Causal causal : {Causal::none, Causal::top_left, Causal::bottom_right}) {
      verify_on_gpu("", {.heads = 1,
                         .key_heads = 1,
                         .queries = queries,
                         .keys = keys,
                         .head_dim = 64,
                         .value_dim = 64,
                         .options = {.causal = causal}});
    }
  }
}

// A tile's rows beyond the last key are zeros, and so are their scores: if they counted, their weights would be infinite.
TEST_CASE("attention on the GPU: a key beyond the last, and a log-sum-exp that makes its weight infinite") {
  if (no_gpu()) return;
  for (const std::int64_t keys : {1, 65}) {
    verify_on_gpu("", {.queries = 70, .keys = keys, .head_dim = 64, .value_dim = 64, .options = {.scale = 100.0}});
  }
}

// With large scores the backward's weights are right only if its scores are the forward's to the last bit.
TEST_CASE("attention on the GPU: the default gradients go with every forward") {
  if (no_gpu()) return;
  AttentionProblem p{.queries = 113, .keys = 203, .head_dim = 64, .value_dim = 64, .options = {.scale = 10.0}};
  for (const bool with_mask : {false, true}) {
    if (with_mask) {
      p.queries = 70, p.keys = 65;
      p.options.mask = uniform({70, 65}, -2, 2, {}, 7);
      p.mask_gradient = true;
    }
    const AttentionResults truth = run_attention(p, Dtype::f64, AttentionPath::composed),
                           composed = run_attention(p, Dtype::f32, AttentionPath::composed);
    for (const std::string& variant : without_repeats(variants_on_gpu(kernels::attention_forward), p.dtype)) {
      const kernels::ScopedVariant forward(kernels::attention_forward, DeviceType::cuda, variant);
      const AttentionResults found = run_on_gpu(p);
      for (std::size_t i = 0; i < truth.size(); ++i) {
        const auto& [name, right] = truth[i];
        CAPTURE(variant);
        CAPTURE(name);
        CHECK(distance(found[i].second, right) <= 3 * distance(composed[i].second, right));
      }
    }
  }
}

TEST_CASE("attention on the GPU: numbers that are none") {
  if (no_gpu()) return;
  for (const double special : {std::nan(""), infinity, -infinity}) {
    for (const int broken : {0, 1, 2}) {  // query, key or value 3, its second coordinate
      for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
        for (const std::string& variant : without_repeats(variants_on_gpu(kernels::attention_forward), dtype)) {
          CAPTURE(special);
          CAPTURE(broken);
          CAPTURE(variant);
          const kernels::ScopedVariant scope(kernels::attention_forward, DeviceType::cuda, variant);
          AttentionProblem p{.heads = 1, .key_heads = 1, .queries = 70, .keys = 100, .head_dim = 64, .value_dim = 64};
          p.dtype = dtype;
          p.options.causal = Causal::top_left;
          std::vector<Tensor> inputs = attention_inputs(p);
          const Tensor& x = inputs[static_cast<std::size_t>(broken)];
          std::vector<double> values = x.to_vector<double>();
          values[3 * 64 + 1] = special;
          inputs[static_cast<std::size_t>(broken)] = from_vector(values, x.shape()).to(dtype);
          const AttentionResults found = forward_on_gpu(p, inputs);
          AttentionOptions options = p.options;
          options.return_log_sum_exp = true;
          options.path = AttentionPath::composed;
          const Attention expected = scaled_dot_product_attention(inputs[0].to(Dtype::f64), inputs[1].to(Dtype::f64),
                                                                  inputs[2].to(Dtype::f64), options);
          // A value that is none may spoil queries that do not look at it; all else is as composed.
          const auto is_none = [](double y) { return std::isnan(y); };
          const std::vector<double> y = found[0].second.to_vector<double>(), e = expected.output.to_vector<double>();
          for (std::size_t i = 0; i < y.size(); ++i) {
            if (is_none(e[i])) CHECK(is_none(y[i]));
            if (!is_none(e[i]) && broken < 2) CHECK(std::abs(y[i] - e[i]) <= 0.02);
          }
          const std::vector<double> lse = found[1].second.to_vector<double>(),
                                    l = expected.log_sum_exp.to_vector<double>();
          for (std::size_t i = 0; i < lse.size(); ++i) {
            if (std::isfinite(l[i])) CHECK(std::abs(lse[i] - l[i]) <= 0.02);
            if (!std::isfinite(l[i])) CHECK_FALSE(std::isfinite(lse[i]));
          }
        }
      }
    }
  }
}

TEST_CASE("attention on the GPU: few queries, and keys split over blocks") {
  if (no_gpu()) return;
  for (const std::int64_t dim : {24, 64}) {
    for (const Causal causal : {Causal::none, Causal::bottom_right}) {
      verify_on_gpu("", {.heads = 2,
                         .key_heads = 1,
                         .queries = 3,
                         .keys = 799,
                         .head_dim = dim,
                         .value_dim = dim,
                         .options = {.causal = causal, .dropout = dim == 24 ? 0.2 : 0}});
    }
  }
}

TEST_CASE("attention on the GPU: dimensions and layouts") {
  if (no_gpu()) return;
  for (const std::int64_t dim : {1, 8, 31, 32, 40, 64, 96, 128, 200, 256}) {
    for (const bool transposed : {false, true}) {
      verify_on_gpu("equal", {.queries = 70,
                              .keys = 150,
                              .head_dim = dim,
                              .value_dim = dim,
                              .options = {.causal = Causal::bottom_right},
                              .transposed = transposed});
    }
  }
  verify_on_gpu("value wider", {.queries = 20, .keys = 33, .head_dim = 8, .value_dim = 129});
  verify_on_gpu("value narrower", {.queries = 20, .keys = 33, .head_dim = 65, .value_dim = 3});
}

TEST_CASE("attention on the GPU: masks and their gradient") {
  if (no_gpu()) return;
  for (const Shape& shape : std::vector<Shape>{{53}, {37, 1}, {37, 53}, {4, 37, 53}, {2, 1, 1, 53}, {2, 4, 37, 53}}) {
    verify_on_gpu("boolean " + to_string(shape), with([&](AttentionProblem& p) {
                    p.options.mask = greater(uniform(shape, -1, 1, {}, 6), scalar(-0.2));
                  }));
    verify_on_gpu("bias " + to_string(shape), with([&](AttentionProblem& p) {
                    p.options.mask = uniform(shape, -2, 2, {}, 7);
                    p.mask_gradient = true;
                  }));
  }
  // Numbers of an added mask are read by two where they lie so.
  for (const auto& [columns, first] : std::vector<std::pair<std::int64_t, std::int64_t>>{{54, 0}, {55, 0}, {56, 1}}) {
    verify_on_gpu("bias, rows of " + std::to_string(columns), with([&](AttentionProblem& p) {
                    p.keys = 54;
                    p.options.mask = uniform({37, columns}, -2, 2, {}, 7).slice(1, first, first + 54);
                  }));
  }
}

TEST_CASE("attention on the GPU: windows, lengths, groups, softcap, ALiBi, dropout, scale") {
  if (no_gpu()) return;
  for (const std::int64_t window : {0, 1, 20, 60}) {
    verify_on_gpu("window", with([&](AttentionProblem& p) { p.options.window = window; }));
    verify_on_gpu("causal window, 64", with([&](AttentionProblem& p) {
                    p.queries = 200, p.keys = 260, p.head_dim = p.value_dim = 64, p.heads = p.key_heads = 1;
                    p.options.window = window;
                    p.options.causal = Causal::bottom_right;
                  }));
  }
  for (const std::int64_t dim : {16, 64}) {
    verify_on_gpu("key lengths", with([&](AttentionProblem& p) {
                    p.head_dim = p.value_dim = dim;
                    p.options.key_lengths = from_vector<std::int64_t>({0, 31}, {2});
                  }));
    for (const std::int64_t key_heads : {1, 2}) {
      verify_on_gpu("grouped heads", with([&](AttentionProblem& p) {
                      p.head_dim = p.value_dim = dim;
                      p.key_heads = key_heads;
                      p.options.causal = Causal::top_left;
                    }));
    }
  }
  for (const std::int64_t keys : {53, 52, 51}) {
    verify_on_gpu("dropout", with([&](AttentionProblem& p) {
                    p.keys = keys;
                    p.options.dropout = 0.3;
                  }));
  }
  verify_on_gpu("dropout of everything", with([&](AttentionProblem& p) { p.options.dropout = 1; }));
  verify_on_gpu("softcap", with([&](AttentionProblem& p) { p.options.softcap = 2; }));
  verify_on_gpu("softcap far above the scores", {.queries = 113,
                                                 .keys = 203,
                                                 .head_dim = 32,
                                                 .value_dim = 32,
                                                 .options = {.causal = Causal::top_left, .softcap = 50}});
  verify_on_gpu("ALiBi", with([&](AttentionProblem& p) { p.options.alibi_slopes = uniform({4}, 0, 0.3, {}, 8); }));
  verify_on_gpu("negative scale", with([&](AttentionProblem& p) { p.options.scale = -0.7; }));
  verify_on_gpu("scale 0", with([&](AttentionProblem& p) { p.options.scale = 0.0; }));
  verify_on_gpu("large numbers", with([&](AttentionProblem& p) { p.query_magnitude = 5, p.magnitude = 3; }));
}

TEST_CASE("attention on the GPU: packed sequences, and everything at once") {
  if (no_gpu()) return;
  for (const std::int64_t dim : {16, 64}) {
    for (const Causal causal : {Causal::none, Causal::bottom_right}) {
      verify_on_gpu("packed", {.heads = 4,
                               .key_heads = 2,
                               .head_dim = dim,
                               .value_dim = dim,
                               .options = {.causal = causal},
                               .query_lengths = {5, 0, 70, 33, 1},
                               .key_lengths = {7, 3, 100, 0, 40}});
    }
  }
  verify_on_gpu("packed, with all else", {.heads = 4,
                                          .key_heads = 2,
                                          .head_dim = 24,
                                          .value_dim = 16,
                                          .options = {.causal = Causal::bottom_right,
                                                      .mask = uniform({4, 109, 150}, -1, 1, {}, 9),
                                                      .window = 25,
                                                      .softcap = 3,
                                                      .alibi_slopes = uniform({5, 4}, 0, 0.3, {}, 8),
                                                      .dropout = 0.2,
                                                      .scale = 0.3},
                                          .query_lengths = {5, 0, 70, 33, 1},
                                          .key_lengths = {7, 3, 100, 0, 40},
                                          .mask_gradient = true});
  verify_on_gpu("all of it", with([&](AttentionProblem& p) {
                  p.key_heads = 2;
                  p.options = {.causal = Causal::bottom_right,
                               .mask = greater(uniform({2, 1, 37, 53}, -1, 1, {}, 6), scalar(-0.2)),
                               .key_lengths = from_vector<std::int64_t>({29, 53}, {2}),
                               .window = 25,
                               .softcap = 5,
                               .alibi_slopes = uniform({4}, 0, 0.3, {}, 8),
                               .dropout = 0.2,
                               .scale = 0.3};
                  p.transposed = true;
                }));
}

// Lengths of several tiles, so that steps in between and at both ends take part; dimensions of each width of the tiles, whole
// and not, with rows that are aligned and rows that are not.
TEST_CASE("attention on the GPU: the backward on tensor cores, each feature over several tiles") {
  if (no_gpu()) return;
  using Change = std::function<void(AttentionProblem&)>;
  const std::vector<std::pair<std::string, Change>> features{
      {"none", [](AttentionProblem&) {}},
      {"value narrower", [](AttentionProblem& p) { p.value_dim = p.head_dim - 21; }},
      {"value wider", [](AttentionProblem& p) { p.value_dim = p.head_dim + 1; }},
      {"boolean mask",
       [](AttentionProblem& p) {
         p.options.mask = greater(uniform({2, 150, 180}, -1, 1, {}, 6), scalar(-0.2));
       }},
      {"padding mask",
       [](AttentionProblem& p) { p.options.mask = greater(uniform({180}, -1, 1, {}, 6), scalar(0.2)); }},
      {"bias",
       [](AttentionProblem& p) {
         p.options.mask = uniform({150, 180}, -2, 2, {}, 7);
       }},
      {"softcap", [](AttentionProblem& p) { p.options.softcap = 2; }},
      {"ALiBi", [](AttentionProblem& p) { p.options.alibi_slopes = uniform({2}, 0, 0.3, {}, 8); }},
      {"dropout", [](AttentionProblem& p) { p.options.dropout = 0.3; }},
      {"dropout, keys not by four", [](AttentionProblem& p) { p.options.dropout = 0.3, p.keys = 177; }},
      {"negative scale", [](AttentionProblem& p) { p.options.scale = -0.3; }},
      {"key lengths",
       [](AttentionProblem& p) {
         p.options.key_lengths = from_vector<std::int64_t>({99}, {1}), p.options.softcap = 9;
       }},
      {"causal",
       [](AttentionProblem& p) { p.options.causal = Causal::top_left, p.options.softcap = 9, p.key_heads = 1; }},
      {"bottom right, dropout",
       [](AttentionProblem& p) { p.options.causal = Causal::bottom_right, p.options.dropout = 0.2; }},
      {"window", [](AttentionProblem& p) { p.options.window = 40, p.options.softcap = 9; }},
      {"packed, bias, dropout", [](AttentionProblem& p) {
         p.query_lengths = {70, 0, 5, 75}, p.key_lengths = {90, 10, 0, 80};
         p.options.mask = uniform({150, 180}, -1, 1, {}, 9);
         p.options.dropout = 0.2;
       }}};
  for (const std::int64_t dim : {30, 59, 64, 128, 200}) {
    for (const auto& [name, change] : features) {
      AttentionProblem p{.queries = 150, .keys = 180, .head_dim = dim, .value_dim = dim, .dtype = Dtype::bf16};
      change(p);
      CAPTURE(name);
      CAPTURE(dim);
      const AttentionOracle oracle(p);
      for (const char* const variant : {"mma", "mma_plain", "mma_swizzled", "mma_pipelined"}) {
        // Beyond the dimensions of their own kernels the rungs are the production path.
        if (dim > 128 && std::string(variant) != "mma") continue;
        CAPTURE(variant);
        const kernels::ScopedVariant scope(kernels::attention_backward, DeviceType::cuda, variant);
        CHECK_EQ(oracle.findings(run_on_gpu(p)), "");
      }
    }
  }
}

TEST_CASE("attention on the GPU: the bits come again") {
  if (no_gpu()) return;
  for (const auto& [dtype, dropout] : {std::pair(Dtype::f32, 0.0), std::pair(Dtype::bf16, 0.0),
                                       std::pair(Dtype::bf16, 0.1), std::pair(Dtype::f16, 0.1)}) {
    const AttentionProblem p{.heads = 2,
                             .key_heads = 1,
                             .queries = 150,
                             .keys = 200,
                             .head_dim = 64,
                             .value_dim = 64,
                             .options = {.causal = Causal::bottom_right, .dropout = dropout},
                             .dtype = dtype};
    const auto first = bits(p);
    CHECK_EQ(bits(p), first);
  }
}

}  // namespace heed::test
