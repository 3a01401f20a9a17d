#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "kernels/cross_entropy/cross_entropy.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

struct Settings {
  bool weighted = false;
  double label_smoothing = 0;
  Reduction reduction = Reduction::mean;
  Dtype index = Dtype::i64;
};

// torch.nn.CrossEntropyLoss as its documentation defines it. x: logits, target, and class weights if there are any.
Array cross_entropy_reference(const std::vector<Array>& x, const Settings& settings) {
  const std::int64_t n = x[0].shape[0], classes = x[0].shape[1];
  const auto weight = [&](std::int64_t c) { return settings.weighted ? x[2][{c}] : 1.0; };
  Array losses(Shape{n});
  double sum = 0, counted = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto target = static_cast<std::int64_t>(x[1][{i}]);
    if (target == -100) continue;
    double total = 0, smooth = 0;
    for (std::int64_t c = 0; c < classes; ++c) total += std::exp(x[0][{i, c}]);
    for (std::int64_t c = 0; c < classes; ++c) smooth -= weight(c) * (x[0][{i, c}] - std::log(total));
    const double own = -weight(target) * (x[0][{i, target}] - std::log(total));
    losses[{i}] =
        (1 - settings.label_smoothing) * own + settings.label_smoothing / static_cast<double>(classes) * smooth;
    sum += losses[{i}];
    counted += weight(target);
  }
  if (settings.reduction == Reduction::none) return losses;
  return Array(Shape{}, settings.reduction == Reduction::sum ? sum : sum / counted);
}

Case cross_entropy_case(std::int64_t n, std::int64_t classes, const Settings& settings) {
  std::vector<double> targets;
  for (std::int64_t i = 0; i < n; ++i) targets.push_back(i % 4 == 2 ? -100.0 : static_cast<double>(i * 7 % classes));
  std::vector<Input> inputs = {{{n, classes}},
                               {.shape = {n}, .differentiable = false, .dtype = settings.index, .values = targets}};
  if (settings.weighted) inputs.push_back({.shape = {classes}, .low = 0.2, .differentiable = false});
  return {.name = "cross_entropy",
          .inputs = inputs,
          .operation =
              [=](const Tensors& x) {
                return cross_entropy(x[0], x[1],
                                     {.weight = settings.weighted ? x[2] : Tensor(),
                                      .label_smoothing = settings.label_smoothing,
                                      .reduction = settings.reduction});
              },
          .reference = [=](const std::vector<Array>& x) { return cross_entropy_reference(x, settings); },
          .kernels = {&kernels::cross_entropy_forward, &kernels::cross_entropy_backward}};
}

// x: logits, target, weight, pos_weight.
double bce(double x, double t, double weight, double pos_weight) {
  const double p = 1 / (1 + std::exp(-x));
  return -weight * (pos_weight * t * std::log(p) + (1 - t) * std::log(1 - p));
}

}  // namespace

TEST_CASE("cross_entropy") {
  for (const auto& [n, classes] : {std::pair{1, 5}, {5, 33}, {9, 7}, {3, 130}, {2, 1}}) {
    verify(cross_entropy_case(n, classes, {}));
    verify(cross_entropy_case(n, classes, {.weighted = true, .label_smoothing = 0.2}));
  }
  verify(cross_entropy_case(6, 5, {.weighted = true, .reduction = Reduction::none}));
  verify(cross_entropy_case(6, 5, {.label_smoothing = 0.1, .reduction = Reduction::sum, .index = Dtype::i32}));
  verify(cross_entropy_case(0, 5, {.reduction = Reduction::sum}));
}

TEST_CASE("cross_entropy of rows that do not count, and of infinite logits") {
  const Tensor ignored = from_vector<std::int64_t>({-100, -100}, {2});
  CHECK(std::isnan(cross_entropy(zeros({2, 3}), ignored).item<float>()));
  CHECK(cross_entropy(zeros({2, 3}), ignored, {.reduction = Reduction::sum}).item<float>() == 0);

  const Tensor logits = from_vector<float>({0, -INFINITY, 1, 0, -INFINITY, 1}, {2, 3});
  const Tensor losses = cross_entropy(logits, from_vector<std::int64_t>({0, 1}, {2}), {.reduction = Reduction::none});
  Array expected(Shape{2});
  expected.values = {std::log(1 + std::exp(1.0)), infinity};
  CHECK_EQ(difference(losses, expected, 1e-6), "");
}

TEST_CASE("cross_entropy refuses what it cannot do") {
  const Tensor target = from_vector<std::int64_t>({0, 3}, {2});
  if (default_device().type == DeviceType::cpu) {
    CHECK_EQ(message_of([&] {
               cross_entropy(zeros({2, 3}), target);
             }),
             "cross_entropy: target 3 at position 1 out of range for 3 classes");
  } else {  // nobody waits for the device to look at them
    const Tensor losses = cross_entropy(zeros({2, 3}), target, {.reduction = Reduction::none});
    CHECK_EQ(difference(losses, Array(from_vector<double>({std::log(3.0), NAN}, {2})), 1e-6), "");
  }
  CHECK_EQ(message_of([&] {
             cross_entropy(zeros({3, 4}), target);
           }),
           "cross_entropy: target [2] does not fit logits [3, 4]; expected [n] and [n, classes]");
  CHECK_EQ(message_of([&] { cross_entropy(zeros({2}), target); }), "cross_entropy: logits [2], expected [n, classes]");
  CHECK_EQ(message_of([&] {
             cross_entropy(zeros({2, 4}), zeros({2}));
           }),
           "cross_entropy: target is f32, expected i64 or i32");
  CHECK_EQ(message_of([&] {
             cross_entropy(zeros({2, 4}), target, {.weight = ones({3})});
           }),
           "cross_entropy: weight [3] does not fit 4 classes");
  CHECK_EQ(message_of([&] {
             cross_entropy(zeros({2, 4}), target, {.label_smoothing = 1});
           }),
           "cross_entropy: label_smoothing 1 is not in [0, 1)");
}

TEST_CASE("bce_with_logits") {
  const std::vector<const kernels::KernelSlot*> slots = {&kernels::bce_with_logits_forward,
                                                         &kernels::bce_with_logits_backward};
  for (const Shape& shape : small_shapes()) {
    verify({.name = "bce_with_logits",
            .inputs = {{shape}, {.shape = shape, .low = 0, .high = 1, .differentiable = false}},
            .operation = [](const Tensors& x) { return bce_with_logits(x[0], x[1], {.reduction = Reduction::none}); },
            .reference =
                [](const std::vector<Array>& x) {
                  return filled(x[0].shape, [&](const Dims& i) { return bce(x[0][i], x[1][i], 1, 1); });
                },
            .kernels = slots});
  }
  verify(
      {.name = "bce_with_logits, weighted, differentiable target",
       .inputs = {{{5, 9}},
                  {.shape = {5, 9}, .low = 0, .high = 1},
                  {.shape = {5, 1}, .low = 0.5, .differentiable = false},
                  {.shape = {9}, .low = 0.5, .differentiable = false}},
       .operation = [](const Tensors& x) { return bce_with_logits(x[0], x[1], {.weight = x[2], .pos_weight = x[3]}); },
       .reference =
           [](const std::vector<Array>& x) {
             double sum = 0;
             for_each_index(x[0].shape, [&](const Dims& i) {
               sum += bce(x[0][i], x[1][i], x[2].broadcast_at(i), x[3].broadcast_at(i));
             });
             return Array(Shape{}, sum / 45);
           },
       .kernels = slots});
}

TEST_CASE("bce_with_logits stays precise far from 0") {
  const Tensor x = from_vector<float>({100, -100, 30, -30}, {4}), t = from_vector<float>({1, 0, 0, 1}, {4});
  Array expected(Shape{4});
  expected.values = {std::exp(-100.0), std::exp(-100.0), 30, 30};
  const Tensor losses = bce_with_logits(x, t, {.reduction = Reduction::none});
  CHECK_EQ(difference(losses, expected, 1e-6), "");
  const Tensor small = bce_with_logits(from_vector<float>({20}, {1}), ones({1}));  // log1p(exp(-20))
  CHECK(std::abs(small.item<double>() / std::log1p(std::exp(-20.0)) - 1) < 1e-5);
}

TEST_CASE("mse_loss") {
  for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
    verify({.name = "mse_loss",
            .inputs = {{{3, 7}}, {{3, 7}}},
            .operation = [=](const Tensors& x) { return mse_loss(x[0], x[1], reduction); },
            .reference =
                [=](const std::vector<Array>& x) {
                  const Array squares =
                      filled(x[0].shape, [&](const Dims& i) { return std::pow(x[0][i] - x[1][i], 2); });
                  if (reduction == Reduction::none) return squares;
                  double sum = 0;
                  for (const double square : squares.values) sum += square;
                  return Array(Shape{}, reduction == Reduction::mean ? sum / 21 : sum);
                }});
  }
}

TEST_CASE("losses refuse shapes that differ") {
  CHECK_EQ(message_of([] { mse_loss(zeros({2}), zeros({3})); }), "mse_loss: input [2] and target [3] differ in shape");
  CHECK_EQ(message_of([] { bce_with_logits(zeros({2}), zeros({1})); }),
           "bce_with_logits: logits [2] and target [1] differ in shape");
  CHECK_EQ(message_of([] { bce_with_logits(zeros({2}), zeros({2}), {.weight = zeros({3})}); }),
           "bce_with_logits: weight [3] does not broadcast to [2]");
}

}  // namespace heed::test
