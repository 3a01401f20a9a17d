#include "kernels/reduce/reduce.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/harness/examine.h"

namespace heed::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
const double nan = std::nan("");

using Fold = std::function<double(const std::vector<double>&)>;
using Slots = std::vector<const kernels::KernelSlot*>;

// The elements of x that each element of the result is made of, in row-major order, handed to `fold`.
Array folded(const Array& x, Axes axes, bool keepdim, const Fold& fold) {
  if (axes.size() == 0) {
    for (int i = 0; i < x.shape.size(); ++i) axes.push_back(i);
  }
  Shape result, gone;
  std::vector<bool> goes(static_cast<std::size_t>(x.shape.size()));
  for (std::int64_t axis : axes) goes[static_cast<std::size_t>(axis < 0 ? axis + x.shape.size() : axis)] = true;
  for (int i = 0; i < x.shape.size(); ++i) {
    gone.push_back(goes[static_cast<std::size_t>(i)] ? x.shape[i] : 1);
    if (!goes[static_cast<std::size_t>(i)] || keepdim) {
      result.push_back(goes[static_cast<std::size_t>(i)] ? 1 : x.shape[i]);
    }
  }
  return filled(result, [&](const Dims& index) {
    std::vector<double> elements;
    for_each_index(gone, [&](const Dims& inner) {
      Dims at = inner;
      int next = 0;
      for (int i = 0; i < at.size(); ++i) {
        const bool reduced = goes[static_cast<std::size_t>(i)];
        if (!reduced) at[i] = index[next];
        if (!reduced || keepdim) ++next;
      }
      elements.push_back(x[at]);
    });
    return fold(elements);
  });
}

double total(const std::vector<double>& x) {
  return std::accumulate(x.begin(), x.end(), 0.0);
}
double variance(const std::vector<double>& x, double correction) {
  const auto n = static_cast<double>(x.size());
  double squares = 0;
  for (const double value : x) squares += std::pow(value - total(x) / n, 2);
  return squares / std::max(0.0, n - correction);
}
double log_of_sum(const std::vector<double>& x) {
  double sum = 0;
  for (const double value : x) sum += std::exp(value);
  return std::log(sum);
}

struct Sample {
  Shape shape;
  Axes axes;
  bool keepdim;
};

// Rows, columns, outer and inner axes together, all, none at all; lengths around vectors.
const std::vector<Sample> samples = {
    {{}, {}, false},         {{33}, {}, false},         {{3, 33}, {-1}, false},   {{33, 3}, {0}, true},
    {{5, 1, 7}, {1}, false}, {{2, 3, 5}, {0, 2}, true}, {{3, 4, 2}, {-2}, false}, {{2, 3, 4, 5}, {1, 2}, false}};

using Operation = std::function<Tensor(const Tensor&, const Axes&, bool)>;

void verify_reduction(const char* name, const Operation& operation, const Fold& fold, const Slots& slots,
                      Input input = {}, const std::vector<Sample>& extra = {}) {
  std::vector<Sample> all_samples = samples;
  all_samples.insert(all_samples.end(), extra.begin(), extra.end());
  for (const auto& [shape, axes, keepdim] : all_samples) {
    input.shape = shape;
    verify(
        {.name = name,
         .inputs = {input},
         .operation = [=, axes = axes, keepdim = keepdim](const Tensors& x) { return operation(x[0], axes, keepdim); },
         .reference = [=, axes = axes,
                       keepdim = keepdim](const std::vector<Array>& x) { return folded(x[0], axes, keepdim, fold); },
         .kernels = slots});
  }
}

bool same_values(const Tensor& x, const std::vector<double>& expected) {
  return difference(x.to(Dtype::f64), Array(from_vector(expected, x.shape())), 1e-6) == "";
}

}  // namespace

TEST_CASE("sum and mean over any axes") {
  const std::vector<Sample> empty = {{{0, 4}, {0}, false}, {{4, 0}, {0}, false}, {{1030}, {}, false}};
  verify_reduction("sum", sum, total, {&kernels::reduce_sum}, {}, empty);
  verify_reduction(
      "mean", mean, [](const auto& x) { return total(x) / static_cast<double>(x.size()); }, {&kernels::reduce_sum}, {},
      empty);
  verify_reduction(
      "var", [](const Tensor& x, const Axes& axes, bool keepdim) { return var(x, axes, 0, keepdim); },
      [](const auto& x) { return variance(x, 0); }, {});
  verify_reduction("log_sum_exp", log_sum_exp, log_of_sum, {&kernels::reduce_log_sum_exp}, {}, {{{0, 4}, {0}, false}});
}

TEST_CASE("max and min over any axes") {
  const Input distinct{.shape = {}, .keep_away = 0.01};
  verify_reduction(
      "max", max, [](const auto& x) { return *std::ranges::max_element(x); }, {&kernels::reduce_max}, distinct);
  verify_reduction(
      "min", min, [](const auto& x) { return *std::ranges::min_element(x); }, {&kernels::reduce_min}, distinct);
}

TEST_CASE("ties share the gradient of an extreme evenly") {
  const Tensor x = from_vector<float>({1, 3, 3, 2, 2, 2}, {2, 3}).set_requires_grad();
  const Tensor dy = from_vector<float>({6, 9}, {2});
  CHECK(same_values(grad({max(x, {1})}, {x}, {dy})[0], {0, 3, 3, 3, 3, 3}));
  CHECK(same_values(grad({min(x, {1})}, {x}, {dy})[0], {6, 0, 0, 3, 3, 3}));
}

TEST_CASE("the variance counts as the correction says, and an offset costs no digits") {
  const Tensor x = from_vector<float>({1, 2, 4}, {3});
  CHECK(same_values(var(x), {7.0 / 3}));
  CHECK(same_values(var(x, {}, 0), {14.0 / 9}));
  CHECK(same_values(var(x + 4096), {7.0 / 3}));
  CHECK(std::isnan(var(from_vector<float>({5}, {1})).item<float>()));
}

TEST_CASE("reductions of numbers that are hard on them") {
  const float inf = INFINITY;
  const auto row = [](std::vector<float> values) {
    const auto n = static_cast<std::int64_t>(values.size());
    return from_vector(values, {n});
  };
  for (const char* variant : variants_of(kernels::reduce_max)) {
    const kernels::ScopedVariant max_scope(kernels::reduce_max, default_device().type, variant);
    const kernels::ScopedVariant sum_scope(kernels::reduce_log_sum_exp, default_device().type, variant);
    const kernels::ScopedVariant position_scope(kernels::reduce_argmax, default_device().type, variant);
    std::vector<float> numbers(41, 1);
    CHECK(argmax(row(numbers), 0).item<std::int64_t>() == 0);
    numbers[37] = NAN;
    numbers[39] = inf;
    CHECK(std::isnan(max(row(numbers)).item<float>()));
    CHECK(std::isnan(min(row(numbers)).item<float>()));
    CHECK(std::isnan(log_sum_exp(row(numbers)).item<float>()));
    CHECK(argmax(row(numbers), 0).item<std::int64_t>() == 37);
    CHECK(same_values(log_sum_exp(row({1000, 1000})), {1000 + std::log(2.0)}));
    CHECK(same_values(log_sum_exp(row({-inf, -inf, -inf, -inf, -inf})), {-infinity}));
    CHECK(same_values(log_sum_exp(row({0, inf, -inf, inf, 1})), {infinity}));
  }
  const Tensor masked = row({-inf, -inf}).set_requires_grad();
  CHECK(same_values(grad({log_sum_exp(masked)}, {masked})[0], {0, 0}));
  CHECK(std::abs(sum(full({3'000'000}, 0.1)).item<double>() / (3e6 * static_cast<double>(0.1f)) - 1) < 1e-6);
}

TEST_CASE("positions and truths") {
  const Tensor x = from_vector<float>({3, 7, 7, -1, 0, -1}, {2, 3});
  CHECK(same_values(argmax(x, 1), {1, 1}));
  CHECK(same_values(argmin(x, -1), {0, 0}));
  CHECK(same_values(argmax(x, 0, true), {0, 0, 0}));
  CHECK(argmax(x, 0, true).shape() == Shape{1, 3});
  const Tensor flags = greater(x, zeros({1}));
  CHECK(same_values(any(flags, {1}), {1, 0}));
  CHECK(same_values(all(flags, {1}), {1, 0}));
  CHECK(same_values(any(x, {0}), {1, 1, 1}));
  CHECK(same_values(all(x, {0}), {1, 0, 1}));
  CHECK(same_values(sum(flags), {3}));
  CHECK(sum(flags).dtype() == Dtype::i64);
  CHECK(any(zeros({0})).item<bool>() == false);
  CHECK(all(zeros({0})).item<bool>() == true);
}

TEST_CASE("reductions refuse what they cannot do") {
  CHECK_EQ(message_of([] { sum(zeros({2, 4}), {2}); }), "sum: axis 2 out of range for shape [2, 4]");
  CHECK_EQ(message_of([] { sum(zeros({2, 4}), {1, -1}); }), "sum: axis -1 appears twice in [1, -1]");
  CHECK_EQ(message_of([] { max(zeros({0, 4}), {0}); }), "max: no elements to choose from in shape [0, 4]");
  CHECK_EQ(message_of([] {
             argmax(zeros({2, 0}), 1);
           }),
           "argmax: no elements to choose from along axis 1 of shape [2, 0]");
  CHECK_EQ(message_of([] { mean(zeros({2}, {Dtype::i64})); }), "mean: needs a floating dtype, not i64");
}

}  // namespace heed::test
