#include "kernels/elementwise/elementwise.h"

#include <doctest/doctest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/copy/copy.h"
#include "tests/kernels/arrays.h"
#include "tests/kernels/instruction_sets.h"

using namespace heed;
using namespace heed::kernels;
using namespace heed::test;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// Distance from the exact value in units of a float's last place, subnormals included. NaN and infinities must match.
double ulps(float got, double exact) {
  const auto rounded = static_cast<float>(exact);
  if (std::isnan(rounded) || std::isinf(rounded)) {
    return std::isnan(rounded) == std::isnan(got) && (std::isnan(got) || got == rounded) ? 0 : 1e9;
  }
  if (exact == 0 && std::signbit(got) != std::signbit(exact)) return 1e9;
  const int exponent = exact == 0 ? -126 : std::max(std::ilogb(exact), -126);
  return std::abs(got - exact) / std::ldexp(1.0, exponent - 23);
}

// All kinds of floats: a range of interest, random bits, and the special ones.
std::vector<float> samples(float low, float high) {
  std::mt19937 random(1);
  std::vector<float> x = {0.0f,     -0.0f,    infinity, -infinity, NAN,     1e-45f,  -1e-45f, 1e-38f, 3.4e38f,
                          -3.4e38f, 88.7228f, 88.73f,   -87.34f,   -103.9f, -104.0f, 0.625f,  1.0f,   -1.0f};
  for (int i = 0; i < 100000; ++i) x.push_back(low + (high - low) * static_cast<float>(random() * 0x1p-32));
  for (int i = 0; i < 100000; ++i) x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random())));
  return x;
}

void check_accuracy(const Kernel<Unary>& kernel, double (*exact)(double), double allowed, float low, float high) {
  std::vector<float> x = samples(low, high), y(x.size());
  const auto n = static_cast<std::int64_t>(x.size());
  on_each_instruction_set([&] {
    kernel(view_of(x, {n}), view_of(y, {n}), Stream{});
    double worst = 0;
    float at = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const double error = ulps(y[i], exact(x[i]));
      if (!(error <= worst)) {
        worst = error;
        at = x[i];
      }
    }
    CAPTURE(kernel.name());
    CAPTURE(at);
    CHECK(worst <= allowed);
  });
}

}  // namespace

TEST_SUITE("elementwise kernels") {
  TEST_CASE("functions are as accurate as they claim on every instruction set") {
    const auto sigmoid_exact = [](double x) {
      return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
    };
    check_accuracy(
        kernels::exp, [](double x) { return std::exp(x); }, 2, -105, 90);
    check_accuracy(
        kernels::log, [](double x) { return std::log(x); }, 2, 0, 10);
    check_accuracy(
        kernels::tanh, [](double x) { return std::tanh(x); }, 4, -10, 10);
    check_accuracy(
        kernels::erf, [](double x) { return std::erf(x); }, 4, -5, 5);
    check_accuracy(kernels::sigmoid, sigmoid_exact, 4, -105, 90);
    check_accuracy(
        rsqrt, [](double x) { return 1 / std::sqrt(x); }, 2, 0, 90);
    check_accuracy(
        kernels::sqrt, [](double x) { return std::sqrt(x); }, 0.5, 0, 90);
  }

  TEST_CASE("pow is as good in f32 as in f64, special cases included") {
    std::vector<float> a = samples(0, 10), b = samples(-5, 5), y(a.size());
    const auto n = static_cast<std::int64_t>(a.size());
    std::shuffle(b.begin(), b.end(), std::mt19937(2));
    on_each_instruction_set([&] {
      kernels::pow(view_of(a, {n}), view_of(b, {n}), view_of(y, {n}), Stream{});
      double worst = 0;
      for (std::int64_t i = 0; i < n; ++i) {
        worst = std::max(worst, ulps(y[i], std::pow(static_cast<double>(a[i]), static_cast<double>(b[i]))));
      }
      CHECK(worst <= 2);
    });
  }

  TEST_CASE("any strides, in place too") {
    std::mt19937 random(3);
    const auto below = [&](std::int64_t n) { return static_cast<std::int64_t>(random() % n); };
    // Memory with room for any strides below, and a view of it in a random order of axes, some expanded, with gaps.
    const auto arrange = [&](std::vector<float>& memory, const std::vector<std::int64_t>& shape, bool may_expand) {
      std::vector<int> order(shape.size());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
      if (below(2) == 0) std::shuffle(order.begin(), order.end(), random);
      std::vector<std::int64_t> strides(shape.size(), 0);
      std::int64_t step = 1 + below(4) / 3;
      for (const int axis : order) {
        if (may_expand && below(4) == 0) continue;
        strides[axis] = step;
        step = step * std::max<std::int64_t>(shape[axis], 1) + below(5) / 4;
      }
      memory = random_numbers<float>(step + 8, static_cast<unsigned>(random()));
      return view_of(memory, shape, strides);
    };
    const auto offset = [](const View& view, std::int64_t i) {
      std::int64_t sum = 0;
      for (int axis = view.rank - 1; axis >= 0; --axis) {
        sum += i % view.shape[axis] * view.strides[axis];
        i /= view.shape[axis];
      }
      return sum;
    };
    const std::int64_t lengths[] = {1, 2, 3, 5, 8, 31, 33, 64, 127, 130, 1025, 0};
    for (int trial = 0; trial < 300; ++trial) {
      std::vector<std::int64_t> shape(below(6));
      std::int64_t size = 1;
      for (std::int64_t& length : shape) {
        do {
          length = lengths[below(12)];
        } while (size * length > 20000);
        size *= length;
      }
      std::vector<float> a_memory, b_memory, y_memory;
      const View a = arrange(a_memory, shape, true), b = arrange(b_memory, shape, true);
      const View y = arrange(y_memory, shape, false);
      std::vector<float> expected = y_memory, expected_sum;
      for (std::int64_t i = 0; i < size; ++i) {
        expected[offset(y, i)] = a.as<float>()[offset(a, i)] - b.as<float>()[offset(b, i)];
      }
      sub(a, b, y, Stream{});
      CHECK(y_memory == expected);  // and nothing else was written
      for (std::int64_t i = 0; i < size; ++i) expected[offset(y, i)] += b.as<float>()[offset(b, i)];
      add(y, b, y, Stream{});
      CHECK(y_memory == expected);
      for_each_variant({&copy}, [&] {
        for (std::int64_t i = 0; i < size; ++i) expected[offset(y, i)] = a.as<float>()[offset(a, i)];
        fill(y, 0, Stream{});
        copy(a, y, Stream{});
        CHECK(y_memory == expected);
      });
    }
  }

  TEST_CASE("conversions are defined for every value") {
    std::vector<float> from = {NAN, infinity, -infinity, 300, -5, 2.9f, -2.9f, 3e9f, 1e20f};
    std::vector<std::int32_t> small(9);
    std::vector<std::int64_t> large(9);
    copy(view_of(from, {9}), view_of(small, {9}), Stream{});
    copy(view_of(from, {9}), view_of(large, {9}), Stream{});
    constexpr std::int32_t low = std::numeric_limits<std::int32_t>::min(),
                           high = std::numeric_limits<std::int32_t>::max();
    CHECK(small == std::vector<std::int32_t>{0, high, low, 300, -5, 2, -2, high, high});
    constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
    constexpr std::int64_t highest = std::numeric_limits<std::int64_t>::max();
    CHECK(large == std::vector<std::int64_t>{0, highest, lowest, 300, -5, 2, -2, 3000000000, highest});
  }
}
