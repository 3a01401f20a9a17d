#include "nn/module.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/ops.h"
#include "nn/dropout.h"
#include "nn/embedding.h"
#include "nn/init.h"
#include "nn/linear.h"
#include "nn/normalization.h"
#include "nn/transformer.h"
#include "tests/harness/examine.h"
#include "tests/nn/gradients.h"

namespace heed::test {
namespace {

std::vector<std::string> names_of(const nn::NamedTensors& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}
using Names = std::vector<std::string>;

struct Pair : nn::Module {
  Pair() {
    register_module("first", first);
    register_module("second", second);
    register_buffer("steps", steps);
    register_buffer("scratch", scratch, false);
  }
  Tensor operator()(const Tensor& x) const { return second(relu(first(x))); }
  nn::Linear first{3, 4}, second{4, 2, false};
  Tensor steps = zeros({1}, {Dtype::i64}), scratch = ones({2});
};

// Registers what it is told to.
struct Open : nn::Module {
  void add(const std::string& name) { register_parameter(name, tensor); }
  void add(const std::string& name, nn::Module& child) { register_module(name, child); }
  Tensor tensor = zeros({1});
};

}  // namespace

TEST_CASE("module: names in order of registration") {
  const Pair pair;
  CHECK_EQ(names_of(pair.named_parameters()), Names{"first.weight", "first.bias", "second.weight"});
  CHECK_EQ(names_of(pair.named_buffers()), Names{"steps", "scratch"});
  CHECK_EQ(names_of(pair.state_dict()), Names{"steps", "first.weight", "first.bias", "second.weight"});
  CHECK_EQ(pair.parameter_count(), 3 * 4 + 4 + 4 * 2);
  for (const Tensor& parameter : pair.parameters()) CHECK(parameter.requires_grad());
}

TEST_CASE("module: PyTorch's names of the transformer") {
  const nn::TransformerEncoder encoder(8, 2, 2, {.dim_feedforward = 4}, true);
  const Names layer = {"self_attn.in_proj_weight",
                       "self_attn.in_proj_bias",
                       "self_attn.out_proj.weight",
                       "self_attn.out_proj.bias",
                       "linear1.weight",
                       "linear1.bias",
                       "linear2.weight",
                       "linear2.bias",
                       "norm1.weight",
                       "norm1.bias",
                       "norm2.weight",
                       "norm2.bias"};
  Names expected;
  for (const char* prefix : {"layers.0.", "layers.1."})
    for (const std::string& name : layer) expected.push_back(prefix + name);
  expected.insert(expected.end(), {"norm.weight", "norm.bias"});
  CHECK_EQ(names_of(encoder.state_dict()), expected);
}

TEST_CASE("module: tied weights are one parameter under two names") {
  Pair pair;
  nn::Linear tied(3, 4);
  Open open;
  open.add("pair", pair);
  open.add("tied", tied);
  tied.weight = pair.first.weight;
  CHECK_EQ(names_of(open.named_parameters()),
           Names{"pair.first.weight", "pair.first.bias", "pair.second.weight", "tied.bias"});
  CHECK_EQ(open.state_dict().size(), 6);
  open.to(Dtype::f64);
  CHECK(tied.weight.impl() == pair.first.weight.impl());
  CHECK(tied.weight.dtype() == Dtype::f64);
}

TEST_CASE("module: state dicts copy values, exactly") {
  Pair source, target;
  source.steps = from_vector<std::int64_t>({41}, {1});
  CHECK(target.load_state_dict(source.state_dict()).exact());
  CHECK_EQ(target.steps.item<std::int64_t>(), 41);
  const Tensor x = uniform({5, 3}, -1, 1, {}, 1);
  CHECK_EQ(source(x).to_vector<float>(), target(x).to_vector<float>());
  nn::init::constant(source.first.weight, 0);  // copies, not handles
  CHECK_NE(source(x).to_vector<float>(), target(x).to_vector<float>());
}

TEST_CASE("module: a state that does not fit is refused as a whole") {
  Pair pair;
  nn::NamedTensors state = {{"first.weight", zeros({4, 3})},
                            {"second.weight", zeros({4, 2})},
                            {"third", zeros({1})},
                            {"steps", zeros({1}, {Dtype::i64})}};
  const std::vector<float> before = pair.first.weight.to_vector<float>();
  CHECK_EQ(message_of([&] { pair.load_state_dict(state); }),
           "load_state_dict: the state does not fit\n"
           "  missing: first.bias\n"
           "  unexpected: third\n"
           "  mismatched: second.weight: shape [2, 4], given [4, 2]");
  CHECK_EQ(pair.first.weight.to_vector<float>(), before);

  const nn::LoadReport report = pair.load_state_dict(state, false);
  CHECK_EQ(report.missing, Names{"first.bias"});
  CHECK_EQ(report.unexpected, Names{"third"});
  CHECK_EQ(report.mismatched, Names{"second.weight: shape [2, 4], given [4, 2]"});
  CHECK_EQ(pair.first.weight.to_vector<float>(), std::vector<float>(12, 0));
}

TEST_CASE("module: training, evaluation, freezing, clearing gradients") {
  Pair pair;
  pair.eval();
  CHECK(!pair.second.training());
  pair.train();
  CHECK(pair.second.training());

  backward(sum(pair(ones({1, 3}))));
  CHECK(pair.first.weight.grad().defined());
  pair.zero_grad();
  CHECK(!pair.first.weight.grad().defined());
  pair.first.freeze();
  backward(sum(pair(ones({1, 3}))));
  CHECK(!pair.first.weight.grad().defined());
  CHECK(pair.second.weight.grad().defined());
  pair.first.set_requires_grad(true);
  CHECK(pair.first.bias.requires_grad());
}

TEST_CASE("module: conversion keeps handles") {
  Pair pair;
  const Tensor handle = pair.first.weight;
  const std::vector<float> before = handle.to_vector<float>();
  pair.to(Dtype::f64);
  CHECK(handle.dtype() == Dtype::f64);
  CHECK(handle.requires_grad());
  CHECK_EQ(handle.to_vector<float>(), before);
  CHECK(pair.steps.dtype() == Dtype::i64);
  CHECK(pair.scratch.dtype() == Dtype::f64);
  backward(sum(pair(ones({1, 3}, {Dtype::f64}))));
  CHECK(handle.grad().dtype() == Dtype::f64);
  CHECK_EQ(message_of([&] { pair.to(Dtype::i64); }), "Module::to: needs a floating dtype, not i64");
}

TEST_CASE("module: summary") {
  Pair pair;
  pair.first.freeze();
  CHECK_EQ(pair.summary(),
           "first.weight   [4, 3]                          12  frozen\n"
           "first.bias     [4]                              4  frozen\n"
           "second.weight  [2, 4]                           8\n"
           "total                                          24\n");
}

TEST_CASE("module: names that cannot be") {
  Open open;
  CHECK_EQ(message_of([&] { open.add(""); }), "register: '' is no name for part of a module");
  CHECK_EQ(message_of([&] { open.add("a.b"); }), "register: 'a.b' is no name for part of a module");
  open.add("a");
  CHECK_EQ(message_of([&] { open.add("a"); }), "register: the module has a 'a' already");
}

TEST_CASE("layers: gradients against central differences") {
  {
    nn::Linear layer(3, 4);
    const Tensor x = leaf({2, 3}, 1);
    CHECK_EQ(gradient_difference(leaves_of(layer, {{"x", x}}), [&] { return layer(x); }), "");
  }
  {
    nn::LayerNorm layer(5);
    const Tensor x = leaf({3, 5}, 2);
    CHECK_EQ(gradient_difference(leaves_of(layer, {{"x", x}}), [&] { return layer(x); }), "");
  }
  {
    nn::RMSNorm layer(5);
    const Tensor x = leaf({3, 5}, 3);
    CHECK_EQ(gradient_difference(leaves_of(layer, {{"x", x}}), [&] { return layer(x); }), "");
  }
  {
    nn::Embedding layer(4, 3);
    const Tensor index = from_vector<std::int64_t>({0, 3, 3, 1}, {2, 2});
    CHECK_EQ(gradient_difference(leaves_of(layer), [&] { return layer(index); }), "");
  }
}

TEST_CASE("embedding: the padding row is zero and stays so") {
  const nn::Embedding layer(4, 3, 1);
  CHECK_EQ(layer.weight.select(0, 1).to_vector<float>(), std::vector<float>(3, 0));
  CHECK_NE(layer.weight.select(0, 0).to_vector<float>(), std::vector<float>(3, 0));
  backward(sum(layer(from_vector<std::int64_t>({1, 2}, {2}))));
  CHECK_EQ(layer.weight.grad().to_vector<float>(), std::vector<float>{0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0});
  CHECK_EQ(message_of([] { nn::Embedding(4, 3, 4); }), "Embedding: padding_idx 4 of 4 embeddings");
}

TEST_CASE("dropout: only while training") {
  nn::Dropout layer(0.5);
  const Tensor x = ones({1000});
  const double kept = sum(layer(x)).item<double>() / 2;
  CHECK(kept > 400);
  CHECK(kept < 600);
  layer.eval();
  CHECK_EQ(layer(x).to_vector<float>(), x.to_vector<float>());
  CHECK_EQ(message_of([] { nn::Dropout(1.5); }), "Dropout: probability 1.5 outside [0, 1]");
}

TEST_CASE("init: ranges, moments, the same numbers for the same seed") {
  const Tensor x = empty({200, 300});
  const auto spread = [&] { return std::sqrt(var(x).item<double>()); };
  Generator generator{.seed = 5};

  nn::init::uniform(x, -3, 1, &generator);
  CHECK(min(x).item<double>() >= -3);
  CHECK(max(x).item<double>() <= 1);
  CHECK(std::abs(mean(x).item<double>() + 1) < 0.02);
  nn::init::normal(x, 2, 0.5, &generator);
  CHECK(std::abs(mean(x).item<double>() - 2) < 0.01);
  CHECK(std::abs(spread() - 0.5) < 0.01);
  nn::init::trunc_normal(x, 0, 1, -1, 2, &generator);
  CHECK(min(x).item<double>() >= -1);
  CHECK(max(x).item<double>() <= 2);
  CHECK(std::abs(mean(x).item<double>() - 0.2296) < 0.01);  // (phi(-1) - phi(2)) / (Phi(2) - Phi(-1))
  nn::init::xavier_uniform(x, 2, &generator);
  CHECK(std::abs(max(x).item<double>() - 2 * std::sqrt(6.0 / 500)) < 1e-3);
  nn::init::xavier_normal(x, 1, &generator);
  CHECK(std::abs(spread() - std::sqrt(2.0 / 500)) < 1e-3);
  nn::init::kaiming_uniform(x, 0, &generator);
  CHECK(std::abs(max(x).item<double>() - std::sqrt(6.0 / 300)) < 1e-3);

  const Generator at = generator;
  nn::init::normal(x, 0, 1, &generator);
  const std::vector<float> first = x.to_vector<float>();
  generator = at;
  nn::init::normal(x, 0, 1, &generator);
  CHECK_EQ(x.to_vector<float>(), first);

  CHECK_EQ(message_of([] { nn::init::xavier_uniform(empty({3})); }),
           "xavier_uniform: needs at least two axes, not shape [3]");
  CHECK_EQ(message_of([&] {
             nn::init::trunc_normal(empty({2, 3}), 0, 1, 40, 41);
           }),
           "trunc_normal: hardly any number of mean 0 and standard deviation 1 lies in [40, 41]");
}

TEST_CASE("linear: PyTorch's first values") {
  const nn::Linear layer(400, 50);
  CHECK(std::abs(max(layer.weight).item<double>() - 0.05) < 1e-4);
  CHECK(std::abs(min(layer.weight).item<double>() + 0.05) < 1e-4);
  CHECK(max(abs(layer.bias)).item<double>() <= 0.05);
}

}  // namespace heed::test
