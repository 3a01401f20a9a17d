#include "kernels/optimizer/optimizer.h"

#include <doctest/doctest.h>
#include <hwy/targets.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/arrays.h"
#include "tests/kernels/instruction_sets.h"

using namespace heed;
using namespace heed::kernels;
using namespace heed::test;

namespace {

// Calls body() for every variant on the CPU and every instruction set this processor has.
template <class Body>
void for_every_version(const KernelSlot& slot, Body&& body) {
  for_each_variant({&slot}, [&] { on_each_instruction_set(body); });
}

// A parameter with its state. Gradients are new at every step; `dense` ones lie in one piece.
template <class T>
struct Parameter {
  std::int64_t count;
  bool dense;
  std::vector<T> value = random_numbers<T>(count, 1), first = std::vector<T>(count), second = std::vector<T>(count);
  std::vector<T> gradient = {};

  void new_gradient(unsigned seed) { gradient = random_numbers<T>(dense ? count : 3 * count, seed); }
  T gradient_at(std::int64_t i) const { return gradient[dense ? i : 3 * i]; }
  View gradient_view() { return view_of(gradient, {count}, {dense ? 1 : 3}); }
};

// torch.optim.Adam and AdamW for one number, in f64.
void adam_by_hand(const AdamOptions& o, int step, double gradient, double& p, double& m, double& v) {
  double g = gradient * o.gradient_scale;
  if (o.decoupled) p -= o.lr * o.weight_decay * p;
  if (!o.decoupled) g += o.weight_decay * p;
  m = o.beta1 * m + (1 - o.beta1) * g;
  v = o.beta2 * v + (1 - o.beta2) * g * g;
  const double m_hat = m / (1 - std::pow(o.beta1, step)), v_hat = v / (1 - std::pow(o.beta2, step));
  p -= o.lr * m_hat / (std::sqrt(v_hat) + o.eps);
}

template <class T>
bool close(const std::vector<T>& values, const std::vector<double>& expected, double tolerance) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!(std::abs(values[i] - expected[i]) <= tolerance * (1 + std::abs(expected[i])))) return false;
  }
  return values.size() == expected.size();
}

template <class T>
std::vector<double> widened(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

const std::int64_t counts[] = {1, 7, 0, 33, 20'011};

template <class T>
void check_adam(const AdamOptions& options, double tolerance) {
  std::vector<Parameter<T>> parameters;
  for (const std::int64_t count : counts) parameters.push_back({count, true});
  parameters.push_back({50, false});
  std::vector<std::vector<double>> p, m, v;
  for (const auto& parameter : parameters) {
    p.push_back(widened(parameter.value));
    m.push_back(std::vector<double>(parameter.count));
    v.push_back(std::vector<double>(parameter.count));
  }
  for (int step = 1; step <= 5; ++step) {
    std::vector<AdamSlice> slices;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      Parameter<T>& one = parameters[i];
      one.new_gradient(static_cast<unsigned>(100 * step + i));
      slices.push_back({view_of(one.value, {one.count}),
                        one.gradient_view(),
                        view_of(one.first, {one.count}),
                        view_of(one.second, {one.count}),
                        {},
                        step});
      for (std::int64_t e = 0; e < one.count; ++e) {
        adam_by_hand(options, step, one.gradient_at(e), p[i][e], m[i][e], v[i][e]);
      }
    }
    adam(slices, options, Stream{});
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    CHECK(close(parameters[i].value, p[i], tolerance));
    CHECK(close(parameters[i].first, m[i], tolerance));
    CHECK(close(parameters[i].second, v[i], tolerance));
  }
}

template <class T>
void check_sgd(const SgdOptions& options, double tolerance) {
  std::vector<Parameter<T>> parameters;
  for (const std::int64_t count : counts) parameters.push_back({count, true});
  parameters.push_back({50, false});
  std::vector<std::vector<double>> p, m;
  for (const auto& parameter : parameters) {
    p.push_back(widened(parameter.value));
    m.push_back(std::vector<double>(parameter.count));
  }
  for (int step = 1; step <= 4; ++step) {
    std::vector<SgdSlice> slices;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      Parameter<T>& one = parameters[i];
      one.new_gradient(static_cast<unsigned>(100 * step + i));
      const View momentum = options.momentum == 0 ? View{} : view_of(one.first, {one.count});
      slices.push_back({view_of(one.value, {one.count}), one.gradient_view(), momentum});
      for (std::int64_t e = 0; e < one.count; ++e) {
        double g = one.gradient_at(e) * options.gradient_scale + options.weight_decay * p[i][e];
        m[i][e] = options.momentum * m[i][e] + g;
        if (options.momentum != 0) g = options.nesterov ? g + options.momentum * m[i][e] : m[i][e];
        p[i][e] -= options.lr * g;
      }
    }
    sgd(slices, options, Stream{});
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) CHECK(close(parameters[i].value, p[i], tolerance));
}

}  // namespace

TEST_SUITE("optimizer kernels") {
  TEST_CASE("adam follows its formula over several steps, tensors of all sizes in one call") {
    for_every_version(adam, [] {
      check_adam<double>({}, 1e-14);
      check_adam<float>({}, 2e-6);
      check_adam<double>({.lr = 0.1, .beta1 = 0.3, .weight_decay = 0.2}, 1e-13);
      check_adam<double>({.lr = 0.1, .eps = 0.5, .weight_decay = 0.2, .decoupled = false}, 1e-13);
      check_adam<float>({.lr = 0.01, .weight_decay = 0.1, .decoupled = false, .gradient_scale = 0.25}, 2e-5);
    });
  }

  TEST_CASE("sgd follows its formula over several steps") {
    for_every_version(sgd, [] {
      check_sgd<double>({.lr = 0.1}, 1e-14);
      check_sgd<float>({.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01}, 5e-6);
      check_sgd<double>({.lr = 0.1, .momentum = 0.9, .nesterov = true, .gradient_scale = 3}, 1e-13);
    });
  }

  TEST_CASE("a row-sparse slice changes its rows as a dense one would, and no others") {
    const std::int64_t length = 7, width = 6007;  // long enough that a row is cut between two tasks
    std::vector<std::int64_t> rows{6, 3, 0, 4};
    const std::int64_t n = static_cast<std::int64_t>(rows.size());
    auto gradient = random_numbers<float>(n * width, 5);
    std::vector<float> full_gradient(length * width);
    for (std::int64_t i = 0; i < n * width; ++i) full_gradient[rows[i / width] * width + i % width] = gradient[i];
    Parameter<float> start{length * width, true};
    start.first = random_numbers<float>(length * width, 6);
    start.second = std::vector<float>(length * width, 0.25f);
    const auto touched = [&](std::int64_t element) {
      return std::find(rows.begin(), rows.end(), element / width) != rows.end();
    };
    const auto check = [&](const auto& run) {
      Parameter<float> sparse = start, dense = start;
      run(sparse, view_of(gradient, {n, width}), view_of(rows, {n}));
      run(dense, view_of(full_gradient, {length, width}), View{});
      std::int64_t wrong = 0;
      for (std::int64_t i = 0; i < length * width; ++i) {
        const Parameter<float>& expected = touched(i) ? dense : start;
        wrong += !(std::abs(sparse.value[i] - expected.value[i]) <= 1e-7);
        wrong += !(std::abs(sparse.first[i] - expected.first[i]) <= 1e-7);
        wrong += !(std::abs(sparse.second[i] - expected.second[i]) <= 1e-7);
      }
      CHECK(wrong == 0);
    };
    const std::vector<std::int64_t> shape{length, width};
    for_every_version(adam, [&] {
      check([&](Parameter<float>& one, View dy, View positions) {
        const AdamSlice slice{view_of(one.value, shape),  dy,        view_of(one.first, shape),
                              view_of(one.second, shape), positions, 3};
        adam({&slice, 1}, {.lr = 0.1, .weight_decay = 0.1}, Stream{});
      });
    });
    for_every_version(sgd, [&] {
      check([&](Parameter<float>& one, View dy, View positions) {
        const SgdSlice slice{view_of(one.value, shape), dy, view_of(one.first, shape), positions};
        sgd({&slice, 1}, {.lr = 0.1, .momentum = 0.5}, Stream{});
      });
    });
  }

  TEST_CASE("the sum of squares of all tensors") {
    for_every_version(sum_of_squares, [] {
      std::vector<double> workspace(sum_of_squares_workspace), result(1, -1.0), doubles{3, 99, 4};
      const auto sum = [&](const std::vector<View>& tensors) {
        sum_of_squares(tensors, view_of(workspace, {sum_of_squares_workspace}), view_of(result, {1}), Stream{});
        return result[0];
      };
      CHECK(sum({}) == 0);
      CHECK(sum({view_of(doubles, {2}, {2})}) == 25);
      auto large = random_numbers<float>(300'001, 1), small = random_numbers<float>(5, 2);
      double expected = 0;
      for (const float x : large) expected += double(x) * x;
      for (const float x : small) expected += double(x) * x;
      const std::vector<View> tensors{view_of(small, {5}), view_of(small, {0}), view_of(large, {300'001})};
      CHECK(std::abs(sum(tensors) - expected) <= 1e-9 * expected);
      const double on_all_threads = result[0];
      omp_set_num_threads(1);
      CHECK(sum(tensors) == on_all_threads);
      omp_set_num_threads(3);
      CHECK(sum(tensors) == on_all_threads);
      omp_set_num_threads(omp_get_num_procs());
      large[100'000] = std::numeric_limits<float>::quiet_NaN();
      CHECK(std::isnan(sum(tensors)));
    });
  }
}
