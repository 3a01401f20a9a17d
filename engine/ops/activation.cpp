// Activations. Each gradient exists twice: as one fused kernel, and as the formula in terms of other operations, which
// runs when the gradient must itself be differentiable.
#include <cmath>
#include <numbers>

#include "engine/ops.h"
#include "engine/ops/apply.h"

namespace heed {

// dx = dy (1 - y^2)
Tensor tanh(const Tensor& x) {
  Operation op("tanh");
  op.floating(x);
  return op.record(
      apply(op, kernels::tanh, x), {x},
      [](const Upstream& up) -> Gradients {
        const Tensor y = up.y();
        if (up.create_graph()) return {up.dy() * (1.0 - y * y)};
        return {apply_backward(kernels::tanh_backward, y, up.dy())};
      },
      save_output);
}

// dx = dy y (1 - y)
Tensor sigmoid(const Tensor& x) {
  Operation op("sigmoid");
  op.floating(x);
  return op.record(
      apply(op, kernels::sigmoid, x), {x},
      [](const Upstream& up) -> Gradients {
        const Tensor y = up.y();
        if (up.create_graph()) return {up.dy() * (y * (1.0 - y))};
        return {apply_backward(kernels::sigmoid_backward, y, up.dy())};
      },
      save_output);
}

// dx = 0 where x <= 0, else dy. y <= 0 says the same, and y is likely to be kept anyway by what comes next.
Tensor relu(const Tensor& x) {
  Operation op("relu");
  op.floating(x);
  return op.record(
      apply(op, kernels::relu, x), {x},
      [](const Upstream& up) -> Gradients {
        const Tensor y = up.y();
        if (up.create_graph()) return {masked_fill(up.dy(), less_equal(y, scalar(0, y.options())), 0)};
        return {apply_backward(kernels::relu_backward, y, up.dy())};
      },
      save_output);
}

// dx = dy s (1 + x (1 - s)), s = sigmoid(x)
Tensor silu(const Tensor& x) {
  Operation op("silu");
  op.floating(x);
  return op.record(apply(op, kernels::silu, x), {x}, [x](const Upstream& up) -> Gradients {
    if (!up.create_graph()) return {apply_backward(kernels::silu_backward, x, up.dy())};
    const Tensor s = sigmoid(x);
    return {up.dy() * (s * (1.0 + x * (1.0 - s)))};
  });
}

namespace {

// d/dx x Phi(x) = Phi(x) + x phi(x)
Tensor gelu_slope(const Tensor& x) {
  const Tensor distribution = 0.5 * (1.0 + erf(x * (std::numbers::sqrt2 / 2)));
  const Tensor density = (std::numbers::inv_sqrtpi / std::numbers::sqrt2) * exp(-0.5 * (x * x));
  return distribution + x * density;
}

// The tanh form is x s with s = sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3). Its slope: s + x s (1 - s) 2 u'.
Tensor gelu_tanh_slope(const Tensor& x) {
  const double scale = 2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
  const Tensor square = x * x;
  const Tensor s = sigmoid(scale * (x * (1.0 + 0.044715 * square)));
  return s + x * (s * (1.0 - s)) * (scale * (1.0 + (3 * 0.044715) * square));
}

}  // namespace

Tensor gelu(const Tensor& x, GeluForm form) {
  Operation op("gelu");
  op.floating(x);
  const bool by_erf = form == GeluForm::erf;
  return op.record(apply(op, by_erf ? kernels::gelu : kernels::gelu_tanh, x), {x},
                   [x, by_erf](const Upstream& up) -> Gradients {
                     if (up.create_graph()) return {up.dy() * (by_erf ? gelu_slope(x) : gelu_tanh_slope(x))};
                     return {apply_backward(by_erf ? kernels::gelu_backward : kernels::gelu_tanh_backward, x, up.dy())};
                   });
}

}  // namespace heed
