#include "kernels/softmax/softmax.h"

#include "engine/operation.h"
#include "engine/ops.h"

namespace heed {

// dx = y (dy - sum(y dy))
Tensor softmax(const Tensor& x, int axis) {
  Operation op("softmax");
  op.floating(x);
  axis = op.axis(axis, x.shape());
  const Tensor y = empty_like(x);
  kernels::softmax_forward(x.view(), y.view(), axis, op.stream(x));
  return op.record(
      y, {x},
      [axis](const Upstream& up) -> Gradients {
        const Tensor y = up.y();
        const Tensor& dy = up.dy();
        if (up.create_graph()) return {y * (dy - sum(y * dy, {axis}, true))};
        const Tensor dx = empty_like(y);
        kernels::softmax_backward(y.view(), dy.view(), dx.view(), axis, Stream{y.device(), nullptr});
        return {dx};
      },
      save_output);
}

// dx = dy - exp(y) sum(dy)
Tensor log_softmax(const Tensor& x, int axis) {
  Operation op("log_softmax");
  op.floating(x);
  axis = op.axis(axis, x.shape());
  const Tensor y = empty_like(x);
  kernels::log_softmax_forward(x.view(), y.view(), axis, op.stream(x));
  return op.record(
      y, {x},
      [axis](const Upstream& up) -> Gradients {
        const Tensor y = up.y();
        const Tensor& dy = up.dy();
        if (up.create_graph()) return {dy - exp(y) * sum(dy, {axis}, true)};
        const Tensor dx = empty_like(y);
        kernels::log_softmax_backward(y.view(), dy.view(), dx.view(), axis, Stream{y.device(), nullptr});
        return {dx};
      },
      save_output);
}

}  // namespace heed
