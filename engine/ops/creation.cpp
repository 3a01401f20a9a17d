#include "engine/operation.h"
#include "engine/ops.h"
#include "kernels/copy/copy.h"

namespace heed {

Tensor full(const Shape& shape, double value, TensorOptions options) {
  Operation op("full");
  Tensor y = empty(shape, options);
  kernels::fill(y.view(), value, op.stream(y));
  return y;
}

Tensor zeros(const Shape& shape, TensorOptions options) {
  return full(shape, 0.0, options);
}
Tensor ones(const Shape& shape, TensorOptions options) {
  return full(shape, 1.0, options);
}
Tensor zeros_like(const Tensor& x) {
  return full(x.shape(), 0.0, x.options());
}
Tensor ones_like(const Tensor& x) {
  return full(x.shape(), 1.0, x.options());
}
Tensor scalar(double value, TensorOptions options) {
  return full({}, value, options);
}

}  // namespace heed
