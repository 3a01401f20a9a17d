#include "nn/optim.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>

#include "engine/ops.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "nn/normalization.h"
#include "nn/schedule.h"
#include "tests/harness/examine.h"
#include "tests/nn/golden.h"

namespace heed::test {
namespace {

using Parameters = nn::NamedTensors;
using Groups = std::vector<nn::ParameterGroup>;
using MakeOptimizer = std::function<std::unique_ptr<nn::Optimizer>(const Parameters&)>;

template <class Optimizer, class Options>
MakeOptimizer rule(const Options& options) {
  return [options](const Parameters& parameters) {
    return std::make_unique<Optimizer>(Groups{{.parameters = parameters}}, options);
  };
}

Parameters start(const Golden& golden) {
  Parameters parameters;
  for (const auto& [name, value] : golden.below("start"))
    parameters.emplace_back(name, value.clone().set_requires_grad());
  return parameters;
}

// Gives every parameter the file's gradient of a step.
void set_gradients(const Golden& golden, const Parameters& parameters, std::int64_t step) {
  for (const auto& [name, parameter] : parameters) {
    const bool missing = name == "vector" && 3 <= step && step <= 5;
    parameter.set_grad(missing ? Tensor() : golden["gradients." + name].select(0, step).contiguous());
  }
}

constexpr std::int64_t steps = 20;

void compare_path(const std::string& name, const MakeOptimizer& make,
                  const std::function<double(nn::Optimizer&, std::int64_t)>& before_step = nullptr) {
  CAPTURE(name);
  const Golden golden("optimisers");
  const Parameters parameters = start(golden);
  const auto optimizer = make(parameters);
  for (std::int64_t step = 0; step < steps; ++step) {
    CAPTURE(step);
    set_gradients(golden, parameters, step);
    optimizer->step(before_step ? before_step(*optimizer, step) : 1);
    for (const auto& [parameter, value] : parameters)
      CHECK_EQ(difference(value, Array(golden[name + "." + parameter].select(0, step)), 1e-6), "");
  }
}

// A leaf with a gradient.
Tensor parameter(const std::vector<float>& values, const std::vector<float>& gradient) {
  const auto count = static_cast<std::int64_t>(values.size());
  const Tensor x = from_vector(values, {count});
  x.set_requires_grad();
  x.set_grad(from_vector(gradient, {count}));
  return x;
}

}  // namespace

TEST_CASE("optim: PyTorch's trajectories over 20 steps") {
  compare_path("sgd", rule<nn::SGD>(nn::SgdOptions{.lr = 0.05}));
  compare_path("sgd_momentum", rule<nn::SGD>(nn::SgdOptions{.lr = 0.05, .momentum = 0.9, .weight_decay = 0.1}));
  compare_path("sgd_nesterov", rule<nn::SGD>(nn::SgdOptions{.lr = 0.05, .momentum = 0.9, .nesterov = true}));
  compare_path("adam", rule<nn::Adam>(nn::AdamOptions{.lr = 0.02}));
  compare_path("adam_l2",
               rule<nn::Adam>(nn::AdamOptions{.lr = 0.02, .beta1 = 0.8, .beta2 = 0.95, .weight_decay = 0.1}));
  compare_path("adamw", rule<nn::AdamW>(nn::AdamOptions{.lr = 0.02}));
  compare_path("adamw_groups", [](const Parameters& p) {
    return std::make_unique<nn::AdamW>(
        Groups{{.parameters = {p[0]}}, {.parameters = {p[1]}, .lr = 0.1, .weight_decay = 0}},
        nn::AdamOptions{.lr = 0.02, .weight_decay = 0.3});
  });
}

TEST_CASE("optim: PyTorch's clipping and cosine schedule") {
  const Golden golden("optimisers");
  const std::vector<double> norms = golden["adamw_clip_cosine.norms"].to_vector<double>();
  const std::vector<double> rates = golden["adamw_clip_cosine.rates"].to_vector<double>();
  const nn::Schedule schedule = nn::cosine(steps, 0.1);
  compare_path("adamw_clip_cosine", rule<nn::AdamW>(nn::AdamOptions{.lr = 0.02}),
               [&](nn::Optimizer& optimizer, std::int64_t step) {
                 const auto i = static_cast<std::size_t>(step);
                 CHECK(std::abs(optimizer.clip_grad_norm(2.5) - norms[i]) <= 1e-5);
                 CHECK(std::abs(0.02 * schedule(step) - rates[i]) <= 1e-12);
                 return schedule(step);
               });
}

TEST_CASE("optim: clipping is for one step and leaves gradients as they are") {
  const Tensor x = parameter({0, 0}, {3, 4});
  nn::SGD optimizer(Groups{{.parameters = {{"x", x}}}}, {.lr = 1});
  CHECK_EQ(optimizer.grad_norm(), doctest::Approx(5));
  CHECK_EQ(optimizer.clip_grad_norm(1), doctest::Approx(5));
  CHECK_EQ(x.grad().to_vector<float>(), std::vector<float>{3, 4});
  optimizer.step();
  CHECK_EQ(difference(x, Array(from_vector<double>({-0.6, -0.8}, {2})), 1e-6), "");
  optimizer.step();
  CHECK_EQ(difference(x, Array(from_vector<double>({-3.6, -4.8}, {2})), 1e-6), "");
  CHECK_EQ(optimizer.clip_grad_norm(100), doctest::Approx(5));  // no scaling up
  optimizer.step(0.5);
  CHECK_EQ(difference(x, Array(from_vector<double>({-5.1, -6.8}, {2})), 1e-6), "");
  optimizer.clip_grad_norm(1);  // of a step that is not taken
  optimizer.zero_grad();
  CHECK(!x.grad().defined());
  x.set_grad(from_vector<float>({1, 0}, {2}));
  optimizer.step();
  CHECK_EQ(difference(x, Array(from_vector<double>({-6.1, -6.8}, {2})), 1e-6), "");
  optimizer.zero_grad();
  CHECK_EQ(optimizer.grad_norm(), 0);
}

TEST_CASE("optim: gradients that are not finite") {
  const float infinity = std::numeric_limits<float>::infinity();
  nn::SGD optimizer(Groups{{.parameters = {{"fine", parameter({0}, {1})},
                                           {"broken", parameter({0, 0}, {infinity, 1})},
                                           {"lost", parameter({0}, {NAN})}}}});
  CHECK_EQ(message_of([&] { optimizer.clip_grad_norm(1, true); }),
           "clip_grad_norm: the gradients' norm is nan; not finite: broken, lost");
  CHECK(std::isnan(optimizer.clip_grad_norm(1)));
}

TEST_CASE("optim: what gets no gradient stays") {
  const nn::Linear linear(2, 2);
  nn::AdamW optimizer(linear, {.lr = 0.1});
  linear.weight.set_grad(ones({2, 2}));
  linear.bias.set_grad(ones({2}));
  linear.bias.set_requires_grad(false);
  const std::vector<float> bias = linear.bias.to_vector<float>(), weight = linear.weight.to_vector<float>();
  optimizer.step();
  CHECK_EQ(linear.bias.to_vector<float>(), bias);
  CHECK_NE(linear.weight.to_vector<float>(), weight);
}

TEST_CASE("optim: a sparse embedding is updated where it was used, as a dense one is there") {
  const auto updated = [](bool sparse, const auto& optimizer_of) {
    manual_seed(3);
    const nn::Embedding embedding(6, 4, {}, sparse);
    const auto optimizer = optimizer_of(embedding);
    for (int step = 0; step < 3; ++step) {
      optimizer->zero_grad();
      backward(sum(embedding(from_vector<std::int64_t>({5, 2, 5}, {3})) * uniform({3, 4}, -1, 1, {}, step + 9)));
      CHECK_EQ(embedding.weight.row_grad().has_value(), sparse);
      optimizer->clip_grad_norm(0.5);
      optimizer->step();
    }
    return embedding.weight;
  };
  const auto compare_rows = [&](const auto& optimizer_of) {
    manual_seed(3);
    const Tensor before = nn::Embedding(6, 4).weight, dense = updated(false, optimizer_of),
                 sparse = updated(true, optimizer_of);
    for (int row = 0; row < 6; ++row) {
      const bool used = row == 5 || row == 2;
      CAPTURE(row);
      CHECK_EQ(sparse.select(0, row).to_vector<float>(), (used ? dense : before).select(0, row).to_vector<float>());
      CHECK_NE(dense.select(0, row).to_vector<float>(), before.select(0, row).to_vector<float>());  // decay
    }
  };
  compare_rows([](const nn::Module& m) { return std::make_unique<nn::AdamW>(m, nn::AdamOptions{.lr = 0.1}); });
  compare_rows([](const nn::Module& m) {
    return std::make_unique<nn::SGD>(m, nn::SgdOptions{.lr = 0.1, .momentum = 0.9, .weight_decay = 0.1});
  });
}

TEST_CASE("optim: biases and norms do not decay") {
  const nn::LayerNorm norm(3);
  const nn::Linear linear(2, 3);
  const Groups groups = nn::decay_matrices_only(linear);
  CHECK_EQ(groups[0].parameters[0].first, "weight");
  CHECK(!groups[0].weight_decay.has_value());
  CHECK_EQ(groups[1].parameters[0].first, "bias");
  CHECK_EQ(groups[1].weight_decay, 0);
  CHECK_EQ(nn::decay_matrices_only(norm)[1].parameters.size(), 2);
}

TEST_CASE("optim: a state continues the trajectory to the bit") {
  const Golden golden("optimisers");
  for (const MakeOptimizer& make :
       {rule<nn::AdamW>(nn::AdamOptions{.lr = 0.02}), rule<nn::SGD>(nn::SgdOptions{.lr = 0.05, .momentum = 0.9})}) {
    const Parameters straight = start(golden), first = start(golden), second = start(golden);
    const auto optimizer = make(straight), before = make(first), after = make(second);
    for (std::int64_t step = 0; step < steps; ++step) {
      set_gradients(golden, straight, step);
      optimizer->step();
      const bool early = step < 8;
      set_gradients(golden, early ? first : second, step);
      (early ? before : after)->step();
      if (step != 7) continue;
      const NoGrad no_grad;
      for (std::size_t i = 0; i < first.size(); ++i) assign(second[i].second, first[i].second);
      after->load_state_dict(before->state_dict());
    }
    for (std::size_t i = 0; i < straight.size(); ++i)
      CHECK_EQ(straight[i].second.to_vector<float>(), second[i].second.to_vector<float>());
  }
}

TEST_CASE("optim: states that do not fit") {
  const Tensor x = parameter({1, 2}, {1, 1}), y = parameter({1, 2, 3}, {1, 1, 1});
  nn::AdamW optimizer(Groups{{.parameters = {{"x", x}}}}), other(Groups{{.parameters = {{"x", y}}}});
  CHECK(optimizer.state_dict().empty());
  other.step();
  optimizer.step();
  const std::vector<float> before = optimizer.state_dict()[0].second.to_vector<float>();
  CHECK_EQ(message_of([&] { optimizer.load_state_dict(other.state_dict()); }),
           "AdamW::load_state_dict: the state does not fit\n"
           "  mismatched: x.exp_avg: shape [2], given [3], x.exp_avg_sq: shape [2], given [3]");
  CHECK_EQ(message_of([&] {
             optimizer.load_state_dict({{"x.step", from_vector<std::int64_t>({1}, {})}, {"z.step", zeros({})}});
           }),
           "AdamW::load_state_dict: the state does not fit\n"
           "  missing: x.exp_avg, x.exp_avg_sq\n"
           "  unexpected: z.step");
  CHECK_EQ(optimizer.state_dict()[0].second.to_vector<float>(), before);
  optimizer.load_state_dict({});
  CHECK(optimizer.state_dict().empty());
}

TEST_CASE("optim: settings that cannot be") {
  const Tensor x = parameter({1}, {1});
  const Groups groups = {{.parameters = {{"x", x}}}};
  CHECK_EQ(message_of([&] { nn::SGD(Groups{}); }), "SGD: no parameters");
  CHECK_EQ(message_of([&] { nn::SGD(Groups{groups[0], groups[0]}); }), "SGD: parameter x is there twice");
  CHECK_EQ(message_of([&] { nn::SGD(groups, {.lr = -1}); }), "SGD: lr -1 and weight_decay 0 must not be negative");
  CHECK_EQ(message_of([&] { nn::SGD(groups, {.nesterov = true}); }), "SGD: nesterov needs momentum");
  CHECK_EQ(message_of([&] { nn::Adam(groups, {.beta1 = 1}); }), "Adam: beta 1 outside [0, 1)");
  CHECK_EQ(message_of([&] {
             nn::Adam(Groups{{.parameters = {{"x", zeros({1}, {Dtype::bf16})}}}});
           }),
           "Adam: x is bf16; optimisers work on f32 and f64");
  CHECK_EQ(message_of([&] { nn::Adam(groups).clip_grad_norm(0); }), "clip_grad_norm: max_norm 0 must be positive");
}

TEST_CASE("schedule: constant, steps, warm-up and cosine") {
  CHECK_EQ(nn::constant()(7), 1);
  const nn::Schedule steps = nn::step_decay(3, 0.5);
  CHECK_EQ(steps(2), 1);
  CHECK_EQ(steps(3), 0.5);
  CHECK_EQ(steps(6), 0.25);
  const nn::Schedule schedule = nn::warmup(4, nn::cosine(10, 0.2));
  CHECK_EQ(schedule(0), 0.25);
  CHECK_EQ(schedule(3), 1);
  CHECK_EQ(schedule(4), 1);
  CHECK_EQ(schedule(9), doctest::Approx(0.6));
  CHECK_EQ(schedule(14), doctest::Approx(0.2));
  CHECK_EQ(schedule(1000), doctest::Approx(0.2));
  CHECK_EQ(message_of([] { nn::cosine(0); }), "cosine: 0 steps");
}

}  // namespace heed::test
