// What the elementwise operations share: running a kernel on tensors. No graph: the caller records.
#pragma once

#include "engine/operation.h"
#include "kernels/elementwise/elementwise.h"

namespace heed {

// `x` as a view broadcast to `shape`, which it fits. Valid while x lives.
inline View broadcast_view(const Tensor& x, const Shape& shape) {
  return alias(x, x.layout().expanded(shape)).view();
}

// The shape of a and b broadcast together; throws when there is none.
inline Shape broadcast_shape(const Operation& op, const Shape& a, const Shape& b) {
  const std::optional<Shape> shape = broadcast(a, b);
  op.check(shape.has_value(), "shapes {} and {} do not broadcast", a, b);
  return *shape;
}

inline Tensor apply(const Operation& op, const kernels::Kernel<kernels::Unary>& kernel, const Tensor& x) {
  op.same_device({x});
  const Tensor y = empty_like(x);
  kernel(x.view(), y.view(), op.stream(x));
  return y;
}

// On broadcast operands of one dtype, which is the result's unless `result` names another.
inline Tensor apply(const Operation& op, const kernels::Kernel<kernels::Binary>& kernel, const Tensor& a,
                    const Tensor& b, std::optional<Dtype> result = {}) {
  op.same_dtype({a, b});
  const Shape shape = broadcast_shape(op, a.shape(), b.shape());
  const Tensor y = empty(shape, {result.value_or(a.dtype()), a.device()});
  kernel(broadcast_view(a, shape), broadcast_view(b, shape), y.view(), op.stream(a));
  return y;
}

// A fused backward kernel: what was saved and dy, of one shape, to dx.
inline Tensor apply_backward(const kernels::Kernel<kernels::Binary>& kernel, const Tensor& saved, const Tensor& dy) {
  const Tensor dx = empty_like(saved);
  kernel(saved.view(), dy.view(), dx.view(), Stream{saved.device(), nullptr});
  return dx;
}

}  // namespace heed
