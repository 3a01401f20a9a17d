#include "nn/attention.h"

#include <doctest/doctest.h>

#include "engine/ops.h"
#include "nn/pooling.h"
#include "nn/positional.h"
#include "nn/transformer.h"
#include "tests/harness/examine.h"
#include "tests/nn/gradients.h"

namespace heed::test {
namespace {

Tensor random(const Shape& shape, std::uint64_t seed) {
  return uniform(shape, -1, 1, {}, seed);
}
Tensor flags(const std::vector<int>& values, const Shape& shape) {
  return from_vector(std::vector<bool>(values.begin(), values.end()), shape);
}

}  // namespace

TEST_CASE("multi-head attention: gradients against central differences") {
  const Tensor x = leaf({2, 3, 4}, 1), memory = leaf({2, 2, 4}, 2);
  const Tensor padding = flags({0, 0, 0, 0, 0, 1}, {2, 3});
  const nn::RotaryPositions rotary(8, 2);
  SUBCASE("self, padded and causal") {
    nn::MultiheadAttention attention(4, 2);
    const auto forward = [&] { return attention(x, {.key_padding_mask = padding, .causal = Causal::top_left}).output; };
    CHECK_EQ(gradient_difference(leaves_of(attention, {{"x", x}}), forward), "");
  }
  SUBCASE("cross") {
    nn::MultiheadAttention attention(4, 2);
    const auto forward = [&] { return attention(x, memory, memory).output; };
    CHECK_EQ(gradient_difference(leaves_of(attention, {{"x", x}, {"memory", memory}}), forward), "");
  }
  SUBCASE("grouped heads, rotary positions, the weights as output") {
    nn::MultiheadAttention attention(8, 4, {.key_heads = 2});
    nn::RotaryPositions positions(8, 2);
    positions.to(Dtype::f64);
    const Tensor wide = leaf({2, 3, 8}, 3);
    const auto forward = [&] {
      const nn::Attended attended = attention(wide, {.rotary = &positions, .need_weights = true});
      return cat({attended.output.flatten(), attended.weights.flatten()});
    };
    CHECK_EQ(gradient_difference(leaves_of(attention, {{"x", wide}}), forward), "");
  }
}

TEST_CASE("multi-head attention: packed sequences are padded ones without the padding") {
  const nn::TransformerEncoder encoder(8, 2, 2, {.dim_feedforward = 16, .dropout = 0}, true);
  const Tensor padded = random({2, 5, 8}, 1), lengths = from_vector<std::int64_t>({5, 3}, {2});
  const Tensor packed = cat({padded.slice(0, 0, 1).squeeze(0), padded.slice(0, 1, 2).squeeze(0).slice(0, 0, 3)});
  const Tensor starts = from_vector<std::int64_t>({0, 5, 8}, {3}), slopes = random({2}, 2);
  for (const Causal causal : {Causal::none, Causal::top_left}) {
    const auto right =
        encoder(padded, {.key_lengths = lengths, .causal = causal, .softcap = 2, .alibi_slopes = slopes}).output;
    const auto found = encoder(
        packed, {.causal = causal, .softcap = 2, .alibi_slopes = slopes, .query_starts = starts, .need_weights = true});
    const Tensor expected = cat({right.slice(0, 0, 1).squeeze(0), right.slice(0, 1, 2).squeeze(0).slice(0, 0, 3)});
    CHECK_EQ(difference(found.output, Array(expected), 1e-5), "");
    CHECK_EQ(found.weights[0].shape(), Shape{8, 8});
  }
  const nn::MultiheadAttention attention(8, 2);
  CHECK_EQ(message_of([&] { attention(padded, {.query_starts = starts}); }),
           "MultiheadAttention: packed sequences are [tokens, dim], not shape [2, 5, 8]");
  CHECK_EQ(message_of([&] {
             attention(packed, {.key_padding_mask = flags({0, 0}, {1, 2}), .query_starts = starts});
           }),
           "MultiheadAttention: packed sequences have no padding to mask");
}

TEST_CASE("multi-head attention: rotary positions of packed sequences count from each one's start") {
  const nn::MultiheadAttention attention(8, 2);
  const nn::RotaryPositions rotary(8, 4);
  // Queries 4 and 1 of two sequences, keys 5 and 3: padded to 4 and 5, and packed.
  const Tensor queries = random({2, 4, 8}, 1), keys = random({2, 5, 8}, 2);
  const auto sequence = [](const Tensor& x, std::int64_t s, std::int64_t length) {
    return x.slice(0, s, s + 1).squeeze(0).slice(0, 0, length);
  };
  const Tensor packed_queries = cat({sequence(queries, 0, 4), sequence(queries, 1, 1)});
  const Tensor packed_keys = cat({sequence(keys, 0, 5), sequence(keys, 1, 3)});
  const Tensor query_starts = from_vector<std::int64_t>({0, 4, 5}, {3});
  const Tensor key_starts = from_vector<std::int64_t>({0, 5, 8}, {3});
  for (const AttentionPath path : {AttentionPath::fused, AttentionPath::composed}) {
    const Tensor right =
        attention(queries, keys, keys,
                  {.key_lengths = from_vector<std::int64_t>({5, 3}, {2}), .rotary = &rotary, .path = path})
            .output;
    const nn::AttendOptions packed{
        .query_starts = query_starts, .key_starts = key_starts, .rotary = &rotary, .path = path};
    const Tensor found = attention(packed_queries, packed_keys, packed_keys, packed).output;
    CHECK_EQ(difference(found, Array(cat({sequence(right, 0, 4), sequence(right, 1, 1)})), 1e-5), "");
  }
  nn::MultiheadAttention layer(8, 2);
  nn::RotaryPositions exact(8, 4);
  exact.to(Dtype::f64);
  const Tensor x = leaf({5, 8}, 3);
  const auto forward = [&] { return layer(x, {.query_starts = query_starts, .rotary = &exact}).output; };
  CHECK_EQ(gradient_difference(leaves_of(layer, {{"x", x}}), forward), "");
  CHECK_EQ(message_of([&] {
             attention(packed_queries, packed_keys, packed_keys, {.query_starts = query_starts, .rotary = &rotary});
           }),
           "packed_positions: starts do not rise from 0 to 8 tokens");
  CHECK_EQ(message_of([&] { nn::packed_positions(random({3}, 1), 3); }),
           "packed_positions: starts of shape [3] (f32), expected [sequences + 1] (i64)");
  CHECK_EQ(message_of([&] { exact(x, query_starts); }),
           "RotaryPositions: x of shape [5, 8] and positions of shape [3], expected [..., length, dim] and [length]");
}

TEST_CASE("multi-head attention: masks that say the same do the same") {
  const nn::MultiheadAttention attention(8, 2);
  const Tensor x = random({2, 4, 8}, 1);
  const Tensor lengths = from_vector<std::int64_t>({4, 2}, {2});
  const Tensor padding = nn::padding_mask(lengths, 4);
  CHECK_EQ(padding.to_vector<bool>(), flags({0, 0, 0, 0, 0, 0, 1, 1}, {2, 4}).to_vector<bool>());

  const auto weights = [&](nn::AttendOptions options) {
    options.need_weights = true;
    options.average_attn_weights = false;
    return attention(x, options).weights;
  };
  const Array expected(weights({.key_padding_mask = padding}));
  CHECK_EQ(expected.shape, Shape{2, 2, 4, 4});
  CHECK_EQ(expected[{1, 0, 0, 2}], 0);
  CHECK_EQ(difference(weights({.key_lengths = lengths}), expected, 1e-6), "");
  CHECK_EQ(difference(weights({.mask = logical_not(padding).reshape({2, 1, 1, 4})}), expected, 1e-6), "");
  const Tensor all = ones({4, 4}, {Dtype::boolean});
  CHECK_EQ(difference(weights({.key_padding_mask = padding, .mask = all}), expected, 1e-6), "");
  CHECK_EQ(difference(weights({.key_padding_mask = padding, .mask = zeros({4, 4})}), expected, 1e-6), "");

  const Array causal(weights({.causal = Causal::top_left}));
  CHECK_EQ(difference(weights({.mask = tril(ones({4, 4})).to(Dtype::boolean)}), causal, 1e-6), "");
  const Array near(weights({.window = 1}));
  CHECK_EQ(near[{0, 0, 0, 2}], 0);
  CHECK_NE(near[{0, 0, 1, 2}], 0);
}

TEST_CASE("multi-head attention: weights are asked for, per head or averaged") {
  const nn::MultiheadAttention attention(8, 2);
  const Tensor x = random({1, 3, 8}, 1);
  CHECK(!attention(x).weights.defined());
  const Tensor per_head = attention(x, {.need_weights = true, .average_attn_weights = false}).weights;
  const Tensor averaged = attention(x, {.need_weights = true}).weights;
  CHECK_EQ(difference(averaged, Array((per_head.select(1, 0) + per_head.select(1, 1)) * 0.5), 1e-6), "");
  CHECK_EQ(difference(sum(averaged, {-1}), Array({1, 3}, 1), 1e-6), "");
}

TEST_CASE("multi-head attention: dropout is of training alone") {
  nn::MultiheadAttention attention(8, 2, {.dropout = 0.5});
  const Tensor x = random({1, 6, 8}, 1);
  const std::vector<float> first = attention(x).output.to_vector<float>();
  CHECK_NE(attention(x).output.to_vector<float>(), first);
  attention.eval();
  CHECK_EQ(attention(x).output.to_vector<float>(), attention(x).output.to_vector<float>());
}

TEST_CASE("multi-head attention: what does not fit") {
  CHECK_EQ(message_of([] { nn::MultiheadAttention(10, 4); }),
           "MultiheadAttention: embed_dim 10 is not a multiple of num_heads 4");
  CHECK_EQ(message_of([] { nn::MultiheadAttention(8, 4, {.key_heads = 3}); }),
           "MultiheadAttention: num_heads 4 is not a multiple of key_heads 3");
  const nn::MultiheadAttention attention(8, 2);
  const Tensor x = random({2, 3, 8}, 1);
  CHECK_EQ(message_of([&] { attention(x.select(0, 0)); }),
           "MultiheadAttention: needs [batch, length, dim], not shape [3, 8]");
  CHECK_EQ(message_of([&] {
             attention(x, x, random({2, 4, 8}, 1));
           }),
           "MultiheadAttention: query [2, 3, 8], key [2, 3, 8] and value [2, 4, 8] do not go together");
  CHECK_EQ(message_of([&] {
             attention(x, {.key_padding_mask = flags({1, 0, 0}, {1, 3})});
           }),
           "MultiheadAttention: key_padding_mask must be bool of shape [2, 3], not bool of shape [1, 3]");
}

TEST_CASE("additive attention: the formula, gradients, padding") {
  nn::AdditiveAttention attention(3, 2, 4);
  const Tensor query = leaf({2, 2, 3}, 1), key = leaf({2, 3, 2}, 2), value = leaf({2, 3, 5}, 3);
  const Tensor padding = flags({0, 0, 1, 1, 1, 1}, {2, 3});
  const nn::NamedTensors leaves = leaves_of(attention, {{"query", query}, {"key", key}, {"value", value}});
  CHECK_EQ(gradient_difference(leaves, [&] { return attention(query, key, value, padding).output; }), "");

  const Array w(attention.query_proj.weight), u(attention.key_proj.weight), b(attention.key_proj.bias),
      v(attention.score.weight), q(query), k(key);
  const Array scores = filled({2, 2, 3}, [&](const Dims& i) {
    double score = 0;
    for (std::int64_t h = 0; h < 4; ++h) {
      double sum = b[{h}];
      for (std::int64_t d = 0; d < 3; ++d) sum += w[{h, d}] * q[{i[0], i[1], d}];
      for (std::int64_t d = 0; d < 2; ++d) sum += u[{h, d}] * k[{i[0], i[2], d}];
      score += v[{0, h}] * std::tanh(sum);
    }
    return std::exp(score);
  });
  const Array weights = filled({2, 2, 3}, [&](const Dims& i) {
    return scores[i] / (scores[{i[0], i[1], 0}] + scores[{i[0], i[1], 1}] + scores[{i[0], i[1], 2}]);
  });
  CHECK_EQ(difference(attention(query, key, value).weights, weights, 1e-12), "");
  const nn::Attended padded = attention(query, key, value, padding);
  CHECK_EQ(Array(padded.weights)[{0, 0, 2}], 0);
  CHECK_EQ(difference(padded.output.select(0, 1), Array({2, 5}), 0), "");  // nothing but padding
}

TEST_CASE("pooling: mean, max, attention") {
  const Tensor x = from_vector<float>({1, 8, 3, 4, 5, 6, -7, -2, -9, 10, 11, 12}, {2, 3, 2});
  const Tensor padding = flags({0, 0, 1, 0, 1, 1}, {2, 3});
  CHECK_EQ(difference(nn::mean_pool(x), Array(from_vector<double>({3, 6, -5.0 / 3, 20.0 / 3}, {2, 2})), 1e-6), "");
  CHECK_EQ(nn::mean_pool(x, padding).to_vector<float>(), std::vector<float>{2, 6, -7, -2});
  CHECK_EQ(nn::max_pool(x).to_vector<float>(), std::vector<float>{5, 8, 11, 12});
  CHECK_EQ(nn::max_pool(x, padding).to_vector<float>(), std::vector<float>{3, 8, -7, -2});
  const Tensor nothing = ones({2, 3}, {Dtype::boolean});
  CHECK_EQ(nn::mean_pool(x, nothing).to_vector<float>(), std::vector<float>(4, 0));
  CHECK_EQ(nn::max_pool(x, nothing).to_vector<float>(), std::vector<float>(4, 0));
  CHECK_EQ(message_of([&] {
             nn::mean_pool(x, flags({0, 0}, {2, 1}));
           }),
           "mean_pool: a key_padding_mask of shape [2, 1] for a sequence of shape [2, 3, 2]");

  nn::AttentionPooling pooling(2, 3);
  const Tensor y = leaf({2, 3, 2}, 5);
  const nn::NamedTensors leaves = leaves_of(pooling, {{"x", y}});
  CHECK_EQ(gradient_difference(leaves, [&] { return pooling(y, padding).output; }), "");
  const nn::Attended pooled = pooling(y, padding);
  CHECK_EQ(difference(sum(pooled.weights, {1}), Array({2}, 1), 1e-12), "");
  CHECK_EQ(difference(pooled.output.select(0, 1), Array(y.select(0, 1).select(0, 0)), 1e-12), "");
  const nn::NamedTensors only_x = {{"x", y}};
  CHECK_EQ(gradient_difference(only_x, [&] { return nn::mean_pool(y, padding); }), "");
  CHECK_EQ(gradient_difference(only_x, [&] { return nn::max_pool(y, padding); }), "");
}

TEST_CASE("positions: sinusoidal and learned") {
  const Array table(nn::sinusoidal_positions(7, 6));
  const Array expected = filled({7, 6}, [](const Dims& i) {
    const double angle = static_cast<double>(i[0]) / std::pow(10000, static_cast<double>(i[1] / 2 * 2) / 6);
    return i[1] % 2 == 0 ? std::sin(angle) : std::cos(angle);
  });
  CHECK_EQ(difference(nn::sinusoidal_positions(7, 6), expected, 1e-6), "");

  const nn::SinusoidalPositions fixed(7, 6);
  CHECK(fixed.state_dict().empty());
  const Tensor shifted = fixed(zeros({2, 3, 6}), 2);
  CHECK_EQ(difference(shifted.select(0, 1), Array(fixed.table.slice(0, 2, 5)), 0), "");

  nn::LearnedPositions learned(4, 3);
  const Tensor x = leaf({2, 2, 3}, 1);
  learned.to(Dtype::f64);
  CHECK_EQ(gradient_difference({{"x", x}}, [&] { return learned(x, 1); }), "");
  CHECK_EQ(difference(learned(x, 1) - x, Array(learned.weight.slice(0, 1, 3).expand({2, 2, 3})), 1e-12), "");
  learned.zero_grad();
  backward(sum(learned(x, 1)));
  CHECK_EQ(learned.weight.grad().to_vector<double>(), std::vector<double>{0, 0, 0, 2, 2, 2, 2, 2, 2, 0, 0, 0});
  CHECK_EQ(message_of([&] { learned(x, 3); }), "LearnedPositions: positions 3 to 5 of a table of 4");
  CHECK_EQ(message_of([] { nn::sinusoidal_positions(4, 3); }),
           "positions: length 4 and dimension 3; the dimension must be even");
}

TEST_CASE("positions: rotary products depend on the distance alone") {
  nn::RotaryPositions rotary(64, 8);
  rotary.to(Dtype::f64);
  const Tensor query = uniform({1, 8}, -1, 1, {Dtype::f64}, 1), key = uniform({1, 8}, -1, 1, {Dtype::f64}, 2);
  const auto product = [&](std::int64_t i, std::int64_t j) {
    return sum(rotary(query, i) * rotary(key, j)).item<double>();
  };
  CHECK_EQ(product(5, 3), doctest::Approx(product(40, 38)).epsilon(1e-6));
  CHECK_NE(product(5, 3), doctest::Approx(product(40, 37)).epsilon(1e-3));
  CHECK_EQ(product(7, 7), doctest::Approx(sum(query * key).item<double>()).epsilon(1e-6));
  const Tensor x = leaf({2, 3, 4, 8}, 3);
  CHECK_EQ(gradient_difference({{"x", x}}, [&] { return rotary(x, 2); }), "");
  CHECK_EQ(message_of([&] { rotary(zeros({3, 6})); }), "RotaryPositions: head_dim 6 where the tables have 8");
}

TEST_CASE("transformer: gradients and the weights of every layer") {
  for (const bool norm_first : {false, true}) {
    const nn::Activation activation = norm_first ? nn::Activation::gelu : nn::Activation::relu;
    nn::TransformerEncoder encoder(
        4, 2, 2, {.dim_feedforward = 3, .dropout = 0, .activation = activation, .norm_first = norm_first}, norm_first);
    const Tensor x = leaf({1, 3, 4}, 1);
    const auto forward = [&] { return encoder(x, {.causal = Causal::top_left}).output; };
    CHECK_EQ(gradient_difference(leaves_of(encoder, {{"x", x}}), forward), "");
    const nn::TransformerEncoder::Result result = encoder(x, {.need_weights = true});
    CHECK_EQ(result.weights.size(), 2);
    CHECK_EQ(result.weights[1].shape(), Shape{1, 3, 3});
    CHECK(encoder(x).weights.empty());
  }
}

TEST_CASE("transformer: layers start with weights of their own, dropout is of training alone") {
  nn::TransformerEncoder encoder(8, 2, 2, {.dim_feedforward = 16});
  CHECK_NE(encoder.layers[0].linear1.weight.to_vector<float>(), encoder.layers[1].linear1.weight.to_vector<float>());
  const Tensor x = random({1, 4, 8}, 1);
  const std::vector<float> first = encoder(x).output.to_vector<float>();
  CHECK_NE(encoder(x).output.to_vector<float>(), first);
  encoder.eval();
  CHECK_EQ(encoder(x).output.to_vector<float>(), encoder(x).output.to_vector<float>());
}

}  // namespace heed::test
