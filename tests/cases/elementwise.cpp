#include "kernels/elementwise/elementwise.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "kernels/copy/copy.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
const double nan = std::nan("");

using Slots = std::vector<const kernels::KernelSlot*>;

void verify_unary(const char* name, Tensor (*operation)(const Tensor&), double (*reference)(double), Input input,
                  Slots slots) {
  for (const Shape& shape : small_shapes()) {
    input.shape = shape;
    verify({.name = name,
            .inputs = {input},
            .operation = [=](const Tensors& x) { return operation(x[0]); },
            .reference =
                [=](const std::vector<Array>& x) {
                  return filled(x[0].shape, [&](const Dims& index) { return reference(x[0][index]); });
                },
            .kernels = slots});
  }
}

// Pairs of shapes that broadcast: scalars, rows, columns, both ways, empty.
const std::vector<std::pair<Shape, Shape>> broadcasts = {
    {{}, {}},        {{1}, {1}},       {{33}, {33}},           {{3, 33}, {}},    {{}, {2, 3}},
    {{5, 33}, {33}}, {{33}, {2, 33}},  {{5, 33}, {5, 1}},      {{5, 1}, {1, 7}}, {{2, 1, 4}, {3, 1}},
    {{0, 3}, {3}},   {{2, 0}, {2, 1}}, {{2, 3, 1}, {2, 1, 1}}, {{130}, {1}}};

Array zipped(const Array& a, const Array& b, double (*function)(double, double)) {
  return filled(*broadcast(a.shape, b.shape),
                [&](const Dims& index) { return function(a.broadcast_at(index), b.broadcast_at(index)); });
}

void verify_binary(const char* name, Tensor (*operation)(const Tensor&, const Tensor&),
                   double (*reference)(double, double), Input a, Input b, Slots slots) {
  for (const auto& [a_shape, b_shape] : broadcasts) {
    a.shape = a_shape;
    b.shape = b_shape;
    verify({.name = name,
            .inputs = {a, b},
            .operation = [=](const Tensors& x) { return operation(x[0], x[1]); },
            .reference = [=](const std::vector<Array>& x) { return zipped(x[0], x[1], reference); },
            .kernels = slots});
  }
}

std::vector<double> values_of(const Tensor& x) {
  return x.to_vector<double>();
}
bool same_values(const Tensor& x, const std::vector<double>& expected) {
  return difference(x, Array(from_vector(expected, x.shape())), 0) == "";
}
Tensor floats(const std::vector<double>& values, Dtype dtype = Dtype::f32) {
  return from_vector(values, {static_cast<std::int64_t>(values.size())}).to(dtype);
}

}  // namespace

TEST_CASE("arithmetic with broadcasting") {
  verify_binary("add", add, [](double a, double b) { return a + b; }, {}, {}, {&kernels::add});
  verify_binary("sub", sub, [](double a, double b) { return a - b; }, {}, {}, {&kernels::sub});
  verify_binary("mul", mul, [](double a, double b) { return a * b; }, {}, {}, {&kernels::mul});
  verify_binary("div", div, [](double a, double b) { return a / b; }, {}, {.low = 0.5}, {&kernels::div});
  verify_binary("pow", pow, [](double a, double b) { return std::pow(a, b); }, {.low = 0.2}, {}, {&kernels::pow});
}

TEST_CASE("maximum and minimum") {
  const Input a{.keep_away = 0.2}, b{.keep_away = 0.4};  // never close to each other
  verify_binary("maximum", maximum, [](double a, double b) { return std::max(a, b); }, a, b, {&kernels::maximum});
  verify_binary("minimum", minimum, [](double a, double b) { return std::min(a, b); }, a, b, {&kernels::minimum});
}

TEST_CASE("maximum and minimum: ties share the gradient, NaN wins") {
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    for (const auto operation : {maximum, minimum}) {
      const Tensor a = floats({1, 2, 3}, dtype), b = floats({1, 5, 3}, dtype);
      a.set_requires_grad();
      b.set_requires_grad();
      backward(operation(a, b), floats({2, 4, 6}, dtype));
      const double to_a = operation == maximum ? 0 : 4;
      CHECK(same_values(a.grad(), {1, to_a, 3}));
      CHECK(same_values(b.grad(), {1, 4 - to_a, 3}));
      for (const Tensor& y : {operation(floats({nan, 1}, dtype), floats({1, nan}, dtype))}) {
        CHECK(std::isnan(values_of(y)[0]));
        CHECK(std::isnan(values_of(y)[1]));
      }
    }
  }
}

TEST_CASE("functions of one tensor") {
  verify_unary("neg", neg, [](double x) { return -x; }, {}, {&kernels::neg});
  verify_unary("abs", abs, [](double x) { return std::abs(x); }, {.keep_away = 0.1},
               {&kernels::abs, &kernels::abs_backward});
  verify_unary("exp", exp, [](double x) { return std::exp(x); }, {}, {&kernels::exp});
  verify_unary("log", log, [](double x) { return std::log(x); }, {.low = 0.2, .high = 9}, {&kernels::log});
  verify_unary("sqrt", sqrt, [](double x) { return std::sqrt(x); }, {.low = 0.2, .high = 9}, {&kernels::sqrt});
  verify_unary("rsqrt", rsqrt, [](double x) { return 1 / std::sqrt(x); }, {.low = 0.2, .high = 9}, {&kernels::rsqrt});
  verify_unary("erf", erf, [](double x) { return std::erf(x); }, {.low = -3, .high = 3}, {&kernels::erf});
  verify_unary(
      "clamp", [](const Tensor& x) { return clamp(x, -0.7, 1.1); },
      [](double x) { return std::min(std::max(x, -0.7), 1.1); }, {.keep_away = 0.2},
      {&kernels::clamp, &kernels::clamp_backward});
  verify_unary(
      "pow 2", [](const Tensor& x) { return pow(x, 2); }, [](double x) { return x * x; }, {}, {&kernels::mul});
  verify_unary(
      "pow 3", [](const Tensor& x) { return pow(x, 3); }, [](double x) { return x * x * x; }, {}, {&kernels::pow});
  verify_unary(
      "pow -1.5", [](const Tensor& x) { return pow(x, -1.5); }, [](double x) { return std::pow(x, -1.5); },
      {.low = 0.4}, {&kernels::pow});
  verify_unary(
      "pow 0", [](const Tensor& x) { return pow(x, 0); }, [](double) { return 1.0; }, {}, {&kernels::pow});
}

TEST_CASE("special values") {
  const std::vector<double> x = {0, -0.0, infinity, -infinity, nan, 1e-40, -3, 3e38};
  const auto check = [&](Tensor (*operation)(const Tensor&), double (*reference)(double)) {
    for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
      const Tensor input = floats(x, dtype);
      Array expected(input);
      for (double& value : expected.values) {
        value = reference(value);
        if (dtype == Dtype::f32) value = static_cast<float>(value);
      }
      CHECK_EQ(difference(operation(input), expected, 1e-6), "");
    }
  };
  check(exp, [](double v) { return std::exp(v); });
  check(log, [](double v) { return std::log(v); });
  check(sqrt, [](double v) { return std::sqrt(v); });
  check(erf, [](double v) { return std::erf(v); });
  check(abs, [](double v) { return std::abs(v); });
  check([](const Tensor& t) { return clamp(t, -infinity, 2); }, [](double v) { return v > 2 ? 2.0 : v; });
  check([](const Tensor& t) { return pow(t, floats({0.5}, t.dtype())); }, [](double v) { return std::pow(v, 0.5); });
  check([](const Tensor& t) { return pow(t, floats({-3}, t.dtype())); }, [](double v) { return std::pow(v, -3); });
}

TEST_CASE("integers wrap, and keep their sign") {
  const Tensor x = floats({-7, 2147483647}, Dtype::i32);
  CHECK(same_values(x + x, {-14, -2}));
  CHECK(same_values(x * x, {49, 1}));
  CHECK(same_values(-x, {7, -2147483647}));
  CHECK(same_values(abs(x), {7, 2147483647}));
  CHECK(same_values(clamp(x, -3.5, 1e12), {-3, 2147483647}));
  CHECK(same_values(minimum(x, floats({0, 0}, Dtype::i32)), {-7, 0}));
}

TEST_CASE("pow: the gradient at a base of zero") {
  const Tensor a = floats({0, 0, 2}), b = floats({0, 2, 0});
  a.set_requires_grad();
  b.set_requires_grad();
  backward(sum(pow(a, b)));
  CHECK(same_values(a.grad(), {0, 0, 0}));
  CHECK_EQ(difference(b.grad(), Array(floats({0, 0, std::log(2.0)}, Dtype::f64)), 1e-6), "");
}

TEST_CASE("clamp: bounds belong to the inside") {
  const Tensor x = floats({-1, 0, 1, nan});
  x.set_requires_grad();
  const Tensor y = clamp(x, -1, 0);
  CHECK(same_values(y, {-1, 0, 0, nan}));
  backward(y, floats({1, 2, 3, 4}));
  CHECK(same_values(x.grad(), {1, 2, 0, 0}));
}

TEST_CASE("where and masked_fill") {
  const Input condition{.low = 0, .high = 2, .differentiable = false, .dtype = Dtype::boolean};
  const auto verify_where = [&](const Shape& c, const Shape& a, const Shape& b) {
    Input mask = condition;
    mask.shape = c;
    // Half of them true: drawn from {0, 1} by truncation to an integer.
    mask.values.resize(static_cast<std::size_t>(count_of(c)));
    for (std::size_t i = 0; i < mask.values.size(); ++i) mask.values[i] = i * 7 % 5 < 2;
    verify({.name = "where",
            .inputs = {mask, {a}, {b}},
            .operation = [](const Tensors& x) { return where(x[0], x[1], x[2]); },
            .reference =
                [](const std::vector<Array>& x) {
                  const Shape shape = *broadcast(*broadcast(x[0].shape, x[1].shape), x[2].shape);
                  return filled(shape, [&](const Dims& i) {
                    return x[0].broadcast_at(i) != 0 ? x[1].broadcast_at(i) : x[2].broadcast_at(i);
                  });
                },
            .kernels = {&kernels::where}});
    if (broadcast(c, a) != a) return;
    verify({.name = "masked_fill",
            .inputs = {mask, {a}},
            .operation = [](const Tensors& x) { return masked_fill(x[1], x[0], -infinity); },
            .reference =
                [](const std::vector<Array>& x) {
                  return filled(x[1].shape,
                                [&](const Dims& i) { return x[0].broadcast_at(i) != 0 ? -infinity : x[1][i]; });
                },
            .differentiable = false});
    verify({.name = "masked_fill with a number",
            .inputs = {mask, {a}},
            .operation = [](const Tensors& x) { return masked_fill(x[1], x[0], 3); },
            .reference =
                [](const std::vector<Array>& x) {
                  return filled(x[1].shape, [&](const Dims& i) { return x[0].broadcast_at(i) != 0 ? 3 : x[1][i]; });
                }});
  };
  verify_where({4, 33}, {4, 33}, {4, 33});
  verify_where({33}, {4, 33}, {});
  verify_where({4, 1}, {}, {3});
  verify_where({}, {5}, {5});
  verify_where({0, 3}, {0, 3}, {3});
}

TEST_CASE("triangles") {
  for (const Shape& shape : {Shape{1, 1}, {3, 3}, {4, 7}, {7, 4}, {2, 5, 6}, {0, 3}, {3, 0}}) {
    for (const std::int64_t diagonal : {-9, -2, 0, 1, 6}) {
      for (const bool upper : {false, true}) {
        verify({.name = upper ? "triu" : "tril",
                .inputs = {{shape}},
                .operation = [=](const Tensors& x) { return upper ? triu(x[0], diagonal) : tril(x[0], diagonal); },
                .reference =
                    [=](const std::vector<Array>& x) {
                      return filled(x[0].shape, [&](const Dims& i) {
                        const std::int64_t column = i[i.size() - 1], row = i[i.size() - 2];
                        return (upper ? column - row >= diagonal : column - row <= diagonal) ? x[0][i] : 0.0;
                      });
                    },
                .kernels = {&kernels::triangle}});
      }
    }
  }
}

TEST_CASE("comparisons and logic") {
  const auto verify_predicate = [](const char* name, Tensor (*operation)(const Tensor&, const Tensor&),
                                   double (*reference)(double, double), Dtype dtype) {
    for (const auto& [a, b] : broadcasts) {
      const Input left{.shape = a, .low = 0, .high = 3, .dtype = dtype};
      const Input right{.shape = b, .low = 0, .high = 3, .dtype = dtype};
      verify({.name = name,
              .inputs = {left, right},
              .operation = [=](const Tensors& x) { return operation(x[0], x[1]); },
              .reference = [=](const std::vector<Array>& x) { return zipped(x[0], x[1], reference); },
              .differentiable = false});
    }
  };
  for (const Dtype dtype : {Dtype::f32, Dtype::i64, Dtype::u8}) {
    verify_predicate(
        "equal", equal, [](double a, double b) -> double { return a == b; }, dtype);
    verify_predicate(
        "not_equal", not_equal, [](double a, double b) -> double { return a != b; }, dtype);
    verify_predicate(
        "less", less, [](double a, double b) -> double { return a < b; }, dtype);
    verify_predicate(
        "less_equal", less_equal, [](double a, double b) -> double { return a <= b; }, dtype);
    verify_predicate(
        "greater", greater, [](double a, double b) -> double { return a > b; }, dtype);
    verify_predicate(
        "greater_equal", greater_equal, [](double a, double b) -> double { return a >= b; }, dtype);
  }
  const Tensor a = floats({0, 0, 1, 1}, Dtype::boolean), b = floats({0, 1, 0, 1}, Dtype::boolean);
  CHECK(same_values(logical_and(a, b), {0, 0, 0, 1}));
  CHECK(same_values(logical_or(a, b), {0, 1, 1, 1}));
  CHECK(same_values(logical_not(floats({0, -0.0, 2, nan})), {1, 1, 0, 0}));
  const Tensor n = floats({nan}), one = floats({1});
  CHECK(same_values(equal(n, n), {0}));
  CHECK(same_values(not_equal(n, one), {1}));
  for (const auto operation : {less, less_equal, greater, greater_equal}) CHECK(same_values(operation(n, one), {0}));
}

TEST_CASE("elementwise operations refuse what they cannot do") {
  const Tensor x = zeros({2, 4}), mask = zeros({2, 4}, {Dtype::boolean}), i = zeros({2, 4}, {Dtype::i64});
  CHECK_EQ(message_of([&] { add(x, zeros({3})); }), "add: shapes [2, 4] and [3] do not broadcast");
  CHECK_EQ(message_of([&] { add(mask, mask); }), "add: needs numbers, not bool");
  CHECK_EQ(message_of([&] { div(i, i); }), "div: needs a floating dtype, not i64");
  CHECK_EQ(message_of([&] { log(i); }), "log: needs a floating dtype, not i64");
  CHECK_EQ(message_of([&] { neg(mask); }), "neg: needs a dtype with negative numbers, not bool");
  CHECK_EQ(message_of([&] { clamp(x, std::nan(""), 1); }), "clamp: bounds [nan, 1] must not be NaN");
  CHECK_EQ(message_of([&] { where(x, x, x); }), "where: condition is f32, not bool");
  CHECK_EQ(message_of([&] {
             masked_fill(x, zeros({5, 2, 4}, {Dtype::boolean}), 0);
           }),
           "masked_fill: mask of shape [5, 2, 4] does not broadcast to [2, 4]");
  CHECK_EQ(message_of([&] { tril(zeros({3})); }), "tril: needs a matrix, not shape [3]");
  CHECK_EQ(message_of([&] { logical_and(x, x); }), "logical_and: first operand is f32, not bool");
  CHECK_EQ(message_of([&] { exp(Tensor()); }), "exp: undefined tensor");
  CHECK(message_of([&] { mul(x, i); }).starts_with("mul: "));
  const Tensor leaf = zeros({2});
  leaf.set_requires_grad();
  CHECK_FALSE(less(leaf, leaf).requires_grad());
}

}  // namespace heed::test
