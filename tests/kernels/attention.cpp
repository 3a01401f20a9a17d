// Attention over the sizes and features that a fused kernel can get wrong; attention_grid.cpp has the whole grid.
#include "kernels/attention/attention.h"

#include <doctest/doctest.h>

#include <omp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "engine/allocator.h"
#include "engine/autograd.h"
#include "kernels/cpu/bf16_pairs.h"
#include "tests/harness/examine.h"
#include "tests/kernels/attention_problem.h"
#include "tests/kernels/instruction_sets.h"

namespace heed::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Tensor random_mask(const Shape& shape) {
  return greater(uniform(shape, -1, 1, {}, 6), scalar(-0.2));
}

// A problem with every feature at once.
AttentionProblem everything() {
  return {.batch = 2,
          .heads = 4,
          .key_heads = 2,
          .queries = 67,
          .keys = 143,
          .head_dim = 24,
          .value_dim = 40,
          .options = {.causal = Causal::bottom_right,
                      .mask = uniform({2, 1, 67, 143}, -2, 2, {}, 7),
                      .key_lengths = from_vector<std::int64_t>({99, 143}, {2}),
                      .window = 60,
                      .softcap = 3,
                      .alibi_slopes = uniform({2, 4}, 0, 0.2, {}, 8),
                      .dropout = 0.2,
                      .scale = 0.4},
          .transposed = true,
          .mask_gradient = true};
}

}  // namespace

TEST_CASE("fused attention: lengths around vectors, strips, blocks and splits") {
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
                                                                                        {3, 2300},
                                                                                        {520, 6}}) {
    for (const Causal causal : {Causal::none, Causal::top_left, Causal::bottom_right})
      verify_attention("", {.queries = queries, .keys = keys, .options = {.causal = causal}});
  }
}

TEST_CASE("fused attention: head dimensions") {
  for (const std::int64_t dim : {1, 2, 3, 15, 16, 17, 32, 40, 59, 64, 80, 96, 111, 128, 160, 192, 224, 256}) {
    verify_attention("equal", {.queries = 20, .keys = 33, .head_dim = dim, .value_dim = dim});
    verify_attention("value other", {.queries = 9, .keys = 20, .head_dim = dim, .value_dim = 257 - dim});
    verify_attention("transposed", {.queries = 9, .keys = 20, .head_dim = dim, .value_dim = dim, .transposed = true});
    for (const Dtype dtype : {Dtype::bf16, Dtype::f16})
      verify_attention("half", {.queries = 9, .keys = 20, .head_dim = dim, .value_dim = dim, .dtype = dtype});
  }
}

TEST_CASE("fused attention: masks and biases, whose gradient is reduced in every broadcast shape") {
  const AttentionProblem base{
      .batch = 2, .heads = 4, .key_heads = 2, .queries = 37, .keys = 53, .head_dim = 16, .value_dim = 24};
  for (const Shape& shape : std::vector<Shape>{{1},
                                               {53},
                                               {37, 1},
                                               {37, 53},
                                               {4, 37, 53},
                                               {4, 1, 1},
                                               {2, 1, 1, 53},
                                               {2, 1, 1, 1},
                                               {2, 1, 37, 53},
                                               {1, 4, 1, 53},
                                               {2, 4, 37, 53}}) {
    AttentionProblem p = base;
    p.options.mask = random_mask(shape);
    verify_attention("boolean mask " + to_string(shape), p);
    p.options.mask = uniform(shape, -2, 2, {}, 7);
    p.mask_gradient = true;
    verify_attention("bias " + to_string(shape), p);
    p.options.causal = Causal::bottom_right;
    p.options.dropout = 0.1;
    p.options.softcap = 2;
    verify_attention("bias, causal, dropout, softcap " + to_string(shape), p);
  }
  // More queries and keys than a task of the gradient takes at a time.
  for (const Shape& shape : std::vector<Shape>{{210, 1}, {150}, {210, 150}}) {
    AttentionProblem p = base;
    p.queries = 210, p.keys = 150;
    p.options.mask = uniform(shape, -2, 2, {}, 7);
    p.mask_gradient = true;
    verify_attention("large bias " + to_string(shape), p, Variants::fast);
  }
  AttentionProblem band = base;
  const Tensor i = arange(0, 37).unsqueeze(1), j = arange(0, 53);
  band.options.mask = masked_fill(zeros({37, 53}), less(abs(j - i), scalar(9, {Dtype::i64})), -infinity);
  band.mask_gradient = true;
  verify_attention("a band of -inf", band);
}

TEST_CASE("fused attention: windows, lengths, groups, dropout, scales, softcap, ALiBi") {
  const AttentionProblem base{
      .batch = 2, .heads = 4, .key_heads = 4, .queries = 37, .keys = 53, .head_dim = 16, .value_dim = 24};
  const auto verify_with = [&](const std::string& name, const auto& change) {
    for (const Causal causal : {Causal::none, Causal::top_left, Causal::bottom_right}) {
      AttentionProblem p = base;
      p.options.causal = causal;
      change(p);
      verify_attention(name, p);
    }
  };
  for (const std::int64_t window : {0, 1, 20, 60})
    verify_with("window", [&](AttentionProblem& p) { p.options.window = window; });
  verify_with("key lengths", [](AttentionProblem& p) {
    p.options.key_lengths = from_vector<std::int64_t>({0, 31}, {2});
  });
  for (const std::int64_t key_heads : {1, 2})
    verify_with("grouped heads", [&](AttentionProblem& p) { p.key_heads = key_heads; });
  for (const std::int64_t keys : {53, 52, 51, 700}) {
    verify_with("dropout", [&](AttentionProblem& p) {
      p.keys = keys;
      p.options.dropout = 0.3;
    });
  }
  verify_with("dropout of everything", [](AttentionProblem& p) { p.options.dropout = 1; });
  for (const double scale : {-0.7, 0.0, 3.0})
    verify_with("scale", [&](AttentionProblem& p) { p.options.scale = scale; });
  for (const double softcap : {0.5, 50.0})
    verify_with("softcap", [&](AttentionProblem& p) { p.options.softcap = softcap; });
  verify_with("ALiBi", [](AttentionProblem& p) { p.options.alibi_slopes = uniform({4}, 0, 1, {}, 8); });
  verify_with("ALiBi of each sequence", [](AttentionProblem& p) {
    p.options.alibi_slopes = uniform({2, 4}, -1, 1, {}, 8);
  });
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16, Dtype::f16}) {
    AttentionProblem p = everything();
    p.dtype = dtype;
    verify_attention("all of it", p);
  }
}

TEST_CASE("fused attention: some queries of a strip see their first key where others have seen hundreds") {
  std::vector<bool> allowed;
  for (int i = 0; i < 12; ++i)
    for (int j = 0; j < 700; ++j) allowed.push_back(i % 2 == 0 || j >= 600);
  verify_attention("", {.queries = 12, .keys = 700, .options = {.mask = from_vector(allowed, {12, 700})}});
}

TEST_CASE("fused attention: bf16, with the processor's products of pairs and without") {
  for (const bool allowed : {true, false}) {
    CAPTURE(allowed);
    kernels::allow_bf16_pairs = allowed;
    for (const auto& [queries, keys] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {1, 1}, {1, 239}, {7, 65}, {13, 15}, {113, 203}, {5, 513}, {3, 2300}}) {
      for (const Causal causal : {Causal::none, Causal::top_left, Causal::bottom_right})
        verify_attention("lengths",
                         {.queries = queries, .keys = keys, .options = {.causal = causal}, .dtype = Dtype::bf16},
                         Variants::fast);
    }
    for (const std::int64_t dim : {1, 2, 3, 15, 16, 17, 59, 64, 111, 128, 255, 256}) {
      verify_attention("dimensions",
                       {.queries = 20, .keys = 33, .head_dim = dim, .value_dim = 257 - dim, .dtype = Dtype::bf16},
                       Variants::fast);
      verify_attention("transposed, negative scale",
                       {.queries = 9,
                        .keys = 21,
                        .head_dim = dim,
                        .value_dim = dim,
                        .options = {.scale = -0.3},
                        .transposed = true,
                        .dtype = Dtype::bf16},
                       Variants::fast);
    }
    AttentionProblem all = everything();
    all.dtype = Dtype::bf16;
    verify_attention("all of it", all, Variants::fast);
    verify_attention("packed",
                     {.heads = 4,
                      .key_heads = 2,
                      .head_dim = 16,
                      .value_dim = 24,
                      .options = {.causal = Causal::bottom_right, .dropout = 0.2},
                      .dtype = Dtype::bf16,
                      .query_lengths = {7, 0, 64, 3, 1, 30},
                      .key_lengths = {12, 5, 64, 0, 1, 131}},
                     Variants::fast);
    // Every other number of a row, so that no copy is a plain one.
    const Tensor wide = uniform({1, 2, 9, 32}, -1, 1, {}, 1).to(Dtype::bf16), sparse = wide.slice(3, 0, 32, 2);
    const auto attend = [&](const Tensor& x) {
      return scaled_dot_product_attention(x, x, x, {.path = AttentionPath::fused}).output;
    };
    CHECK_EQ(distance(attend(sparse), attend(sparse.contiguous())), 0);
  }
  kernels::allow_bf16_pairs = true;
}

TEST_CASE("fused attention: packed batches") {
  AttentionProblem p{.heads = 4,
                     .key_heads = 2,
                     .head_dim = 16,
                     .value_dim = 24,
                     .query_lengths = {7, 0, 64, 3, 1, 30},
                     .key_lengths = {12, 5, 64, 0, 1, 131}};
  for (const Causal causal : {Causal::none, Causal::top_left, Causal::bottom_right}) {
    p.options.causal = causal;
    verify_attention("packed", p);
  }
  p.options.window = 20;
  p.options.alibi_slopes = uniform({6, 4}, 0, 0.2, {}, 8);
  p.options.dropout = 0.2;
  p.options.softcap = 4;
  verify_attention("packed, window, ALiBi, dropout, softcap", p);
  for (const Shape& shape : std::vector<Shape>{{213}, {105, 1}, {4, 105, 213}, {1}}) {
    p.options.mask = uniform(shape, -1, 1, {}, 9);
    p.mask_gradient = true;
    verify_attention("packed, bias " + to_string(shape), p);
  }
}

TEST_CASE("fused attention: large scores") {
  for (const double magnitude : {5.0, 40.0, 300.0}) {
    verify_attention("", {.queries = 37, .keys = 53, .head_dim = 16, .query_magnitude = magnitude, .magnitude = 3});
    verify_attention("", {.queries = 37,
                          .keys = 1100,
                          .head_dim = 64,
                          .options = {.causal = Causal::bottom_right},
                          .query_magnitude = magnitude,
                          .magnitude = 3});
  }
  const AttentionOracle oracle(
      {.queries = 20, .keys = 600, .head_dim = 64, .value_dim = 8, .options = {.scale = 100}, .query_magnitude = 10});
  CHECK_GT(distance(oracle.truth[1].second, zeros({1, 2, 20}, {Dtype::f64})), 1e4);  // that is what scores reach
  CHECK_EQ(oracle.findings(run_attention(oracle.problem, Dtype::f32, AttentionPath::fused)), "");
}

TEST_CASE("fused attention: numbers that are none, in query and key") {
  for (const double special : {std::nan(""), infinity, -infinity}) {
    std::vector<float> values = uniform({40}, -1, 1, {}, 3).to_vector<float>();
    values[13] = static_cast<float>(special);  // the second coordinate of query or key 3
    const Tensor broken = from_vector(values, {1, 1, 10, 4}), whole = uniform({1, 1, 10, 4}, 0.1, 1, {}, 4);
    for (const bool in_query : {true, false}) {
      for (const double scale : {0.5, -0.5, 0.0}) {
        const auto output = [&](AttentionPath path) {
          return scaled_dot_product_attention(in_query ? broken : whole, in_query ? whole : broken, whole,
                                              {.scale = scale, .return_log_sum_exp = true, .path = path});
        };
        const Attention composed = output(AttentionPath::composed);
        for_each_variant({&kernels::attention_forward}, [&] {
          const Attention fused = output(AttentionPath::fused);
          CHECK_LT(distance(fused.output, composed.output), 1e-5);
          CHECK_LT(distance(fused.log_sum_exp, composed.log_sum_exp), 1e-5);
        });
      }
    }
  }
}

TEST_CASE("fused attention: bits do not depend on threads, and come again") {
  AttentionProblem plain{.queries = 200, .keys = 600, .head_dim = 20, .value_dim = 20};
  AttentionProblem few_queries{.queries = 2, .keys = 5000, .head_dim = 20, .value_dim = 20};
  for (const AttentionProblem& p : {everything(), plain, few_queries}) {
    const auto bits = [&] {
      std::vector<std::vector<float>> all;
      for (const auto& [name, x] : run_attention(p, Dtype::f32, AttentionPath::fused))
        all.push_back(x.to_vector<float>());
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
}

TEST_CASE("fused attention: kernels stay within the memory they ask for") {
  // Batches of heads and lengths that are cut into parts, sizes that are no multiples of anything.
  for (const auto& [heads, key_heads, queries, keys, dim] :
       std::vector<std::array<std::int64_t, 5>>{{8, 2, 1, 4100, 64}, {3, 1, 5, 2500, 17}, {2, 2, 130, 1100, 40}}) {
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
      const auto make = [&](std::int64_t h, std::int64_t rows) { return rand({4, h, rows, dim}).to(dtype); };
      const Tensor query = make(heads, queries), key = make(key_heads, keys), value = make(key_heads, keys);
      const Tensor output = empty_like(query), lse = empty({4, heads, queries});
      const Tensor dquery = empty_like(query), dkey = empty_like(key), dvalue = empty_like(value);
      constexpr std::size_t guard = 64;  // floats at either end
      std::vector<std::vector<float>> blocks;
      const kernels::AttentionWorkspace workspace = [&](std::int64_t bytes) -> void* {
        blocks.emplace_back(static_cast<std::size_t>(bytes + 3) / 4 + 2 * guard + 16, 12345.0f);
        return blocks.back().data() + guard;
      };
      const auto is_whole = [](const std::vector<float>& block) {
        const auto is_set = [](float x) { return x == 12345.0f; };
        return std::all_of(block.begin(), block.begin() + guard, is_set) &&
               std::all_of(block.end() - guard - 16, block.end(), is_set);
      };
      const kernels::AttentionOptions options{.scale = 0.3};
      kernels::attention_forward(query.view(), key.view(), value.view(), options, output.view(), lse.view(), workspace,
                                 Stream{});
      kernels::attention_backward(query.view(), key.view(), value.view(), options, output.view(), lse.view(),
                                  output.view(), View{}, dquery.view(), dkey.view(), dvalue.view(), workspace,
                                  Stream{});
      CHECK_GE(blocks.size(), 2);
      CHECK(std::all_of(blocks.begin(), blocks.end(), is_whole));
    }
  }
}

TEST_CASE("fused attention: every instruction set") {
  on_each_instruction_set([] {
    verify_attention("all of it", everything());
    for (const std::int64_t length : {1, 5, 17, 70, 600}) {
      verify_attention("", {.queries = length, .keys = length, .head_dim = 33, .value_dim = 20});
      verify_attention("", {.queries = length, .keys = length, .options = {.causal = Causal::top_left}});
    }
  });
}

TEST_CASE("fused attention: memory grows with the length, not with its square") {
  const auto peak_of = [](std::int64_t length) {
    const auto leaf = [&] {
      const Tensor x = uniform({1, 1, length, 16}, -1, 1, {}, 1);
      x.set_requires_grad();
      return x;
    };
    const Tensor query = leaf(), key = leaf(), value = leaf(), dy = ones(query.shape());
    release_cached_memory();
    reset_peak_memory();
    const Tensor y = scaled_dot_product_attention(query, key, value, {.path = AttentionPath::fused}).output;
    grad({y}, {query, key, value}, {dy});
    return memory_stats().peak_bytes;
  };
  const double small = static_cast<double>(peak_of(4096)), large = static_cast<double>(peak_of(8192));
  CHECK_LT(large, 2.2 * small);
  CHECK_LT(large, 8192.0 * 8192 * 4 / 8);  // an eighth of the scores
}

TEST_CASE("fused attention: a gradient of a gradient is the composed formula's") {
  const Tensor x = uniform({1, 2, 6, 4}, -1, 1, {}, 1), bias = uniform({6, 6}, -1, 1, {}, 2);
  const auto second_order = [&](AttentionPath path) {
    const Tensor q = x.detach(), k = (x * 0.5).detach(), mask = bias.detach();
    for (const Tensor& leaf : {q, k, mask}) leaf.set_requires_grad();
    Generator generator{3, 0};
    const Tensor y = scaled_dot_product_attention(
                         q, k, x, {.mask = mask, .softcap = 2, .dropout = 0.2, .generator = &generator, .path = path})
                         .output;
    const Tensor dq = grad({sum(y * y)}, {q}, {}, {.create_graph = true})[0];
    return grad({sum(dq * dq)}, {k, mask});
  };
  const std::vector<Tensor> fused = second_order(AttentionPath::fused);
  const std::vector<Tensor> composed = second_order(AttentionPath::composed);
  for (std::size_t i = 0; i < fused.size(); ++i) CHECK_LT(distance(fused[i], composed[i]), 1e-5);
}

TEST_CASE("fused attention says why it cannot") {
  const Tensor x = ones({1, 1, 2, 4}), f64 = ones({1, 1, 2, 4}, {Dtype::f64}), wide = ones({1, 1, 2, 300});
  const auto message = [](const Tensor& x, AttentionOptions options) {
    options.path = AttentionPath::fused;
    return message_of([&] { scaled_dot_product_attention(x, x, x, options); });
  };
  const std::string start = "scaled_dot_product_attention: the fused kernels cannot do this: ";
  CHECK_EQ(message(f64, {}), start + "f64 is neither f32, bf16 nor f16");
  CHECK_EQ(message(wide, {}), start + "dimension 300 exceeds 256");
  CHECK_EQ(message(x, {.return_weights = true}), start + "the weights are asked for");
  CHECK_EQ(message(ones({1, 1, 0, 4}), {}), start + "there are no elements");
  CHECK_EQ(message(x, {.mask = zeros({2, 2}, {Dtype::f64})}), start + "the mask is f64");
  CHECK_EQ(message(x, {.alibi_slopes = zeros({1}, {Dtype::f64})}), start + "the ALiBi slopes are f64");
  const Tensor slopes = zeros({1});
  slopes.set_requires_grad();
  CHECK_EQ(message(x, {.alibi_slopes = slopes}), start + "the ALiBi slopes require a gradient");
}

}  // namespace heed::test
