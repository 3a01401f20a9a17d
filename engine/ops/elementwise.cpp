#include "kernels/elementwise/elementwise.h"

#include "engine/operation.h"
#include "engine/ops.h"

namespace heed {
namespace {

// Runs a binary kernel on broadcast operands. No graph: the caller records.
Tensor apply(const Operation& op, const kernels::Kernel<kernels::Binary>& kernel, const Tensor& a, const Tensor& b) {
  op.same_dtype({a, b});
  const std::optional<Shape> shape = broadcast(a.shape(), b.shape());
  op.check(shape.has_value(), "shapes {} and {} do not broadcast", a.shape(), b.shape());
  const Tensor y = empty(*shape, a.options());
  kernel(alias(a, a.layout().expanded(*shape)).view(), alias(b, b.layout().expanded(*shape)).view(), y.view(),
         op.stream(a));
  return y;
}

Tensor apply(const Operation& op, const kernels::Kernel<kernels::Unary>& kernel, const Tensor& x) {
  op.same_device({x});
  const Tensor y = empty_like(x);
  kernel(x.view(), y.view(), op.stream(x));
  return y;
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
  Operation op("add");
  return op.record(
      apply(op, kernels::add, a, b), {a, b},
      [a_shape = a.shape(), b_shape = b.shape()](const Upstream& up) -> Gradients {
        return {up.needs(0) ? sum_to(up.dy(), a_shape) : Tensor(), up.needs(1) ? sum_to(up.dy(), b_shape) : Tensor()};
      });
}

Tensor sub(const Tensor& a, const Tensor& b) {
  Operation op("sub");
  return op.record(
      apply(op, kernels::sub, a, b), {a, b},
      [a_shape = a.shape(), b_shape = b.shape()](const Upstream& up) -> Gradients {
        return {up.needs(0) ? sum_to(up.dy(), a_shape) : Tensor(), up.needs(1) ? sum_to(-up.dy(), b_shape) : Tensor()};
      });
}

Tensor mul(const Tensor& a, const Tensor& b) {
  Operation op("mul");
  return op.record(apply(op, kernels::mul, a, b), {a, b}, [a, b](const Upstream& up) -> Gradients {
    return {up.needs(0) ? sum_to(up.dy() * b, a.shape()) : Tensor(),
            up.needs(1) ? sum_to(up.dy() * a, b.shape()) : Tensor()};
  });
}

Tensor div(const Tensor& a, const Tensor& b) {
  Operation op("div");
  op.floating(a);
  return op.record(apply(op, kernels::div, a, b), {a, b}, [a, b](const Upstream& up) -> Gradients {
    return {up.needs(0) ? sum_to(up.dy() / b, a.shape()) : Tensor(),
            up.needs(1) ? sum_to(-up.dy() * a / (b * b), b.shape()) : Tensor()};
  });
}

Tensor neg(const Tensor& x) {
  Operation op("neg");
  return op.record(apply(op, kernels::neg, x), {x}, [](const Upstream& up) -> Gradients { return {-up.dy()}; });
}

Tensor exp(const Tensor& x) {
  Operation op("exp");
  op.floating(x);
  return op.record(
      apply(op, kernels::exp, x), {x}, [](const Upstream& up) -> Gradients { return {up.dy() * up.y()}; }, save_output);
}

}  // namespace heed
