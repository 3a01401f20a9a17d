#include "kernels/reduce/reduce.h"

#include <algorithm>
#include <limits>

#include "engine/operation.h"
#include "engine/ops.h"
#include "engine/ops/apply.h"

namespace heed {
namespace {

// What a reduction over some axes of a shape makes of it.
struct Reduced {
  Shape kept;              // the axes that go have length 1: what kernels write and gradients broadcast from
  Shape result;            // the shape of the result
  std::int64_t count = 1;  // elements that become one

  // No axes: all of them.
  Reduced(const Operation& op, const Axes& axes, const Shape& shape, bool keepdim) : kept(shape) {
    std::vector<bool> goes(static_cast<std::size_t>(shape.size()), axes.empty());
    for (std::int64_t axis : axes) {
      const auto i = static_cast<std::size_t>(op.axis(axis, shape));
      op.check(!goes[i], "axis {} appears twice in {}", axis, axes);
      goes[i] = true;
    }
    for (int i = 0; i < shape.size(); ++i) {
      if (!goes[static_cast<std::size_t>(i)]) {
        result.push_back(shape[i]);
        continue;
      }
      kept[i] = 1;
      count *= shape[i];
      if (keepdim) result.push_back(1);
    }
  }
};

// Runs a kernel. No graph: the caller records.
Tensor reduce(const Operation& op, const kernels::Kernel<kernels::Reduction>& kernel, const Tensor& x,
              const Reduced& reduced, Dtype dtype) {
  const Tensor y = empty(reduced.result, {dtype, x.device()});
  kernel(x.view(), alias(y, Layout::contiguous(reduced.kept)).view(), op.stream(x));
  return y;
}

// Equal extremes share the gradient evenly.
Tensor extreme(const char* name, const kernels::Kernel<kernels::Reduction>& kernel, const Tensor& x, const Axes& axes,
               bool keepdim) {
  Operation op(name);
  op.same_device({x});
  const Reduced reduced(op, axes, x.shape(), keepdim);
  op.check(reduced.count > 0, "no elements to choose from in shape {}", x.shape());
  op.may_be_infinite();
  return op.record(
      reduce(op, kernel, x, reduced, x.dtype()), {x},
      [x, kept = reduced.kept](const Upstream& up) -> Gradients {
        const Tensor chosen = equal(x, up.y().reshape(kept)).to(x.dtype());
        Axes shared;
        for (int i = 0; i < kept.size(); ++i) {
          if (kept[i] == 1) shared.push_back(i);
        }
        const Tensor ties = shared.size() == 0 ? chosen : sum(chosen, shared, true);
        return {chosen * (up.dy().reshape(kept) / ties)};
      },
      save_output);
}

Tensor position(const char* name, const kernels::Kernel<kernels::Reduction>& kernel, const Tensor& x, int axis,
                bool keepdim) {
  Operation op(name);
  op.same_device({x});
  const Reduced reduced(op, {op.axis(axis, x.shape())}, x.shape(), keepdim);
  op.check(reduced.count > 0, "no elements to choose from along axis {} of shape {}", axis, x.shape());
  return op.non_differentiable(reduce(op, kernel, x, reduced, Dtype::i64), {x});
}

Tensor truth(const char* name, const kernels::Kernel<kernels::Reduction>& kernel, const Tensor& x, const Axes& axes,
             bool keepdim) {
  Operation op(name);
  op.same_device({x});
  return op.non_differentiable(reduce(op, kernel, x, Reduced(op, axes, x.shape(), keepdim), Dtype::boolean), {x});
}

}  // namespace

Tensor sum(const Tensor& x, const Axes& axes, bool keepdim) {
  Operation op("sum");
  op.same_device({x});
  const Reduced reduced(op, axes, x.shape(), keepdim);
  const Tensor y = reduce(op, kernels::reduce_sum, x, reduced, is_floating(x.dtype()) ? x.dtype() : Dtype::i64);
  return op.record(y, {x}, [kept = reduced.kept, shape = x.shape()](const Upstream& up) -> Gradients {
    return {up.dy().reshape(kept).expand(shape)};
  });
}

Tensor mean(const Tensor& x, const Axes& axes, bool keepdim) {
  Operation op("mean");
  op.floating(x);
  const Reduced reduced(op, axes, x.shape(), keepdim);
  const Tensor y = reduce(op, kernels::reduce_sum, x, reduced, x.dtype());
  const auto count = static_cast<double>(reduced.count);
  kernels::div(y.view(), broadcast_view(scalar(count, x.options()), y.shape()), y.view(), op.stream(x));
  return op.record(y, {x}, [kept = reduced.kept, shape = x.shape(), count](const Upstream& up) -> Gradients {
    return {(up.dy() / count).reshape(kept).expand(shape)};
  });
}

Tensor max(const Tensor& x, const Axes& axes, bool keepdim) {
  return extreme("max", kernels::reduce_max, x, axes, keepdim);
}
Tensor min(const Tensor& x, const Axes& axes, bool keepdim) {
  return extreme("min", kernels::reduce_min, x, axes, keepdim);
}

// Two passes: squares of the distances from the mean, which no offset can spoil.
Tensor var(const Tensor& x, const Axes& axes, double correction, bool keepdim) {
  Operation op("var");
  op.floating(x);
  const Reduced reduced(op, axes, x.shape(), keepdim);
  const Tensor distance = x - mean(x, axes, true);
  return sum(distance * distance, axes, keepdim) / std::max(0.0, static_cast<double>(reduced.count) - correction);
}

// dx = dy exp(x - y). Where all of x is -inf, so is y, and the gradient is 0.
Tensor log_sum_exp(const Tensor& x, const Axes& axes, bool keepdim) {
  Operation op("log_sum_exp");
  op.floating(x);
  op.may_be_infinite();
  const Reduced reduced(op, axes, x.shape(), keepdim);
  return op.record(
      reduce(op, kernels::reduce_log_sum_exp, x, reduced, x.dtype()), {x},
      [x, kept = reduced.kept](const Upstream& up) -> Gradients {
        const Tensor y = up.y().reshape(kept);
        const Tensor nothing = equal(y, scalar(-std::numeric_limits<double>::infinity(), y.options()));
        return {up.dy().reshape(kept) * exp(x - masked_fill(y, nothing, 0))};
      },
      save_output);
}

Tensor argmax(const Tensor& x, int axis, bool keepdim) {
  return position("argmax", kernels::reduce_argmax, x, axis, keepdim);
}
Tensor argmin(const Tensor& x, int axis, bool keepdim) {
  return position("argmin", kernels::reduce_argmin, x, axis, keepdim);
}
Tensor any(const Tensor& x, const Axes& axes, bool keepdim) {
  return truth("any", kernels::reduce_any, x, axes, keepdim);
}
Tensor all(const Tensor& x, const Axes& axes, bool keepdim) {
  return truth("all", kernels::reduce_all, x, axes, keepdim);
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  Axes axes;
  const int added = x.rank() - shape.size();
  for (int i = 0; i < x.rank(); ++i) {
    if (i < added || (shape[i - added] == 1 && x.shape()[i] != 1)) axes.push_back(i);
  }
  return sum(x, axes, true).reshape(shape);
}

}  // namespace heed
