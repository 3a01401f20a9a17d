#include <doctest/doctest.h>

#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

void verify_activation(const char* name, Tensor (*operation)(const Tensor&), double (*reference)(double),
                       const std::vector<const kernels::KernelSlot*>& slots, double keep_away = 0) {
  for (const Shape& shape : small_shapes()) {
    verify({.name = name,
            .inputs = {{.shape = shape, .low = -4, .high = 4, .keep_away = keep_away}},
            .operation = [=](const Tensors& x) { return operation(x[0]); },
            .reference =
                [=](const std::vector<Array>& x) {
                  return filled(x[0].shape, [&](const Dims& index) { return reference(x[0][index]); });
                },
            .kernels = slots});
  }
}

double sigmoid_reference(double x) {
  return 1 / (1 + std::exp(-x));
}
double gelu_reference(double x) {
  return x * (1 + std::erf(x / std::sqrt(2.0))) / 2;
}
double gelu_tanh_reference(double x) {
  return x / 2 * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

}  // namespace

TEST_CASE("activations") {
  verify_activation("tanh", tanh, [](double x) { return std::tanh(x); }, {&kernels::tanh, &kernels::tanh_backward});
  verify_activation("sigmoid", sigmoid, sigmoid_reference, {&kernels::sigmoid, &kernels::sigmoid_backward});
  verify_activation(
      "relu", relu, [](double x) { return std::max(x, 0.0); }, {&kernels::relu, &kernels::relu_backward}, 0.1);
  verify_activation("silu", silu, [](double x) { return x * sigmoid_reference(x); },
                    {&kernels::silu, &kernels::silu_backward});
  verify_activation("gelu", [](const Tensor& x) { return gelu(x); }, gelu_reference,
                    {&kernels::gelu, &kernels::gelu_backward});
  verify_activation("gelu tanh", [](const Tensor& x) { return gelu(x, GeluForm::tanh); }, gelu_tanh_reference,
                    {&kernels::gelu_tanh, &kernels::gelu_tanh_backward});
}

TEST_CASE("activations of huge values and NaN") {
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    const Tensor x = from_vector<double>({1000, -1000, INFINITY, NAN}, {4}).to(dtype);
    const auto check = [&](const Tensor& y, double large, double small, double infinite) {
      CHECK_EQ(difference(y, Array(from_vector<double>({large, small, infinite, NAN}, {4})), 1e-7), "");
    };
    check(tanh(x), 1, -1, 1);
    check(sigmoid(x), 1, 0, 1);
    check(relu(x), 1000, 0, INFINITY);
    check(silu(x), 1000, 0, INFINITY);
    check(gelu(x), 1000, 0, INFINITY);
    check(gelu(x, GeluForm::tanh), 1000, 0, INFINITY);
  }
}

TEST_CASE("relu has no gradient at 0") {
  const Tensor x = from_vector<float>({-1, 0, 1}, {3});
  x.set_requires_grad();
  backward(relu(x), from_vector<float>({5, 6, 7}, {3}));
  CHECK(x.grad().to_vector<float>() == std::vector<float>{0, 0, 7});
}

TEST_CASE("halves are computed in f32 and rounded once") {
  for (const Dtype dtype : {Dtype::bf16, Dtype::f16}) {
    const Tensor x = uniform({1025}, -3, 3, {dtype}, 1);
    CHECK(gelu(x).to_vector<double>() == gelu(x.to(Dtype::f32)).to(dtype).to_vector<double>());
    CHECK((x * x).to_vector<double>() == (x.to(Dtype::f32) * x.to(Dtype::f32)).to(dtype).to_vector<double>());
  }
}

TEST_CASE("activations refuse integers") {
  CHECK_EQ(message_of([] { relu(zeros({2}, {Dtype::i32})); }), "relu: needs a floating dtype, not i32");
  CHECK_EQ(message_of([] { gelu(Tensor()); }), "gelu: undefined tensor");
}

}  // namespace heed::test
