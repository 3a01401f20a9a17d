// The views: methods of Tensor that share its memory. Each gradient is the opposite view.
#include <algorithm>

#include "engine/operation.h"
#include "engine/ops.h"
#include "engine/transfer.h"
#include "kernels/copy/copy.h"

namespace heed {
namespace {

// `shape` with its -1, if it has one, replaced by what makes the count fit.
Shape resolved(const Operation& op, Shape shape, const Tensor& x) {
  std::int64_t known = 1;
  int unknown = -1;
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      op.check(unknown < 0, "more than one -1 in shape {}", shape);
      unknown = i;
      continue;
    }
    op.check(shape[i] >= 0, "negative length in shape {}", shape);
    const bool overflows = __builtin_mul_overflow(known, std::max<std::int64_t>(shape[i], 1), &known);
    op.check(!overflows, "shape {} does not fit a tensor of shape {}", shape, x.shape());
  }
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) known = 0;
  const bool fits = unknown < 0 ? known == x.count() : known != 0 && x.count() % known == 0;
  op.check(fits, "shape {} does not fit a tensor of shape {}", shape, x.shape());
  if (unknown >= 0) shape[unknown] = x.count() / known;
  return shape;
}

// The gradient of slice: dy written into zeros of the sliced tensor's shape.
Tensor slice_backward(const Tensor& dy, const Shape& shape, int axis, std::int64_t start, std::int64_t step) {
  Operation op("slice_backward");
  const Tensor dx = zeros(shape, dy.options());
  const Tensor window = alias(dx, dx.layout().sliced(axis, start, dy.shape()[axis], step));
  kernels::copy(dy.view(), window.view(), op.stream(dy));
  const std::int64_t stop = start + dy.shape()[axis] * step;
  return op.record(dx, {dy}, [=, length = dy.shape()[axis]](const Upstream& up) -> Gradients {
    return {up.dy().slice(axis, start, std::min(stop, shape[axis]), step).slice(axis, 0, length)};
  });
}

}  // namespace

Tensor Tensor::reshape(const Shape& shape) const {
  Operation op("reshape");
  op.same_device({*this});
  const Shape target = resolved(op, shape, *this);
  if (target == this->shape()) return *this;
  const std::optional<Layout> layout = this->layout().reshaped(target);
  if (!layout) return contiguous().reshape(target);
  return op.record(alias(*this, *layout), {*this},
                   [from = this->shape()](const Upstream& up) -> Gradients { return {up.dy().reshape(from)}; });
}

Tensor Tensor::flatten(int first, int last) const {
  Operation op("flatten");
  if (rank() == 0) return reshape({1});
  first = op.axis(first, shape());
  last = op.axis(last, shape());
  op.check(first <= last, "first axis {} comes after last axis {}", first, last);
  Shape target;
  for (int i = 0; i < first; ++i) target.push_back(shape()[i]);
  target.push_back(count_of(Shape(std::span(shape().begin() + first, shape().begin() + last + 1))));
  for (int i = last + 1; i < rank(); ++i) target.push_back(shape()[i]);
  return reshape(target);
}

Tensor Tensor::permute(const Axes& axes) const {
  Operation op("permute");
  op.check(axes.size() == rank(), "{} axes given for shape {}", axes.size(), shape());
  Axes order;
  Axes inverse = Axes::filled(rank(), -1);
  for (int i = 0; i < rank(); ++i) {
    const int from = op.axis(axes[i], shape());
    op.check(inverse[from] < 0, "axis {} appears twice in {}", axes[i], axes);
    inverse[from] = i;
    order.push_back(from);
  }
  return op.record(alias(*this, layout().permuted(order)), {*this},
                   [inverse](const Upstream& up) -> Gradients { return {up.dy().permute(inverse)}; });
}

Tensor Tensor::transpose(int a, int b) const {
  Operation op("transpose");
  a = op.axis(a, shape());
  b = op.axis(b, shape());
  Axes order;
  for (int i = 0; i < rank(); ++i) order.push_back(i);
  std::swap(order[a], order[b]);
  return op.record(alias(*this, layout().permuted(order)), {*this},
                   [a, b](const Upstream& up) -> Gradients { return {up.dy().transpose(a, b)}; });
}

Tensor Tensor::slice(int axis, std::int64_t start, std::int64_t stop, std::int64_t step) const {
  Operation op("slice");
  axis = op.axis(axis, shape());
  op.check(step >= 1, "step {} is not positive", step);
  const std::int64_t length = shape()[axis];
  start = std::clamp<std::int64_t>(start < 0 ? start + length : start, 0, length);
  stop = std::clamp<std::int64_t>(stop < 0 ? stop + length : stop, start, length);
  step = std::min(step, std::max<std::int64_t>(length, 1));  // a longer one keeps the same element, and may overflow
  const std::int64_t kept = (stop - start + step - 1) / step;
  return op.record(alias(*this, layout().sliced(axis, start, kept, step)), {*this},
                   [=, from = shape()](const Upstream& up) -> Gradients {
                     return {slice_backward(up.dy(), from, axis, start, step)};
                   });
}

Tensor Tensor::select(int axis, std::int64_t index) const {
  Operation op("select");
  axis = op.axis(axis, shape());
  const std::int64_t length = shape()[axis];
  op.check(-length <= index && index < length, "index {} out of range for axis {} of shape {}", index, axis, shape());
  if (index < 0) index += length;
  return slice(axis, index, index + 1).squeeze(axis);
}

Tensor Tensor::expand(const Shape& shape) const {
  Operation op("expand");
  Shape target = shape;
  const int added = target.size() - rank();
  op.check(added >= 0, "shape {} does not expand to {}", this->shape(), shape);
  for (int i = 0; i < target.size(); ++i) {
    const std::int64_t length = i < added ? -1 : this->shape()[i - added];
    if (target[i] == -1) target[i] = length;
    op.check(target[i] >= 0 && (i < added || length == 1 || length == target[i]), "shape {} does not expand to {}",
             this->shape(), shape);
  }
  op.check(bytes_of(target, size_of(dtype())).has_value(), "shape {} is too large", target);
  if (target == this->shape()) return *this;
  return op.record(alias(*this, layout().expanded(target)), {*this},
                   [from = this->shape()](const Upstream& up) -> Gradients { return {sum_to(up.dy(), from)}; });
}

Tensor Tensor::squeeze(int axis) const {
  Operation op("squeeze");
  axis = op.axis(axis, shape());
  op.check(shape()[axis] == 1, "axis {} of shape {} is not of length 1", axis, shape());
  return op.record(alias(*this, layout().without_axis(axis)), {*this},
                   [axis](const Upstream& up) -> Gradients { return {up.dy().unsqueeze(axis)}; });
}

Tensor Tensor::unsqueeze(int axis) const {
  Operation op("unsqueeze");
  op.check(-rank() - 1 <= axis && axis <= rank(), "axis {} out of range for a new axis in shape {}", axis, shape());
  if (axis < 0) axis += rank() + 1;
  return op.record(alias(*this, layout().with_axis(axis)), {*this},
                   [axis](const Upstream& up) -> Gradients { return {up.dy().squeeze(axis)}; });
}

Tensor Tensor::clone() const {
  Operation op("clone");
  op.same_device({*this});
  const Tensor y = empty_like(*this);
  kernels::copy(view(), y.view(), op.stream(*this));
  return op.record(y, {*this}, [](const Upstream& up) -> Gradients { return {up.dy()}; });
}

Tensor Tensor::contiguous() const {
  return is_contiguous() ? *this : clone();
}

Tensor Tensor::to(Dtype dtype) const {
  Operation op("to");
  op.same_device({*this});
  if (dtype == this->dtype()) return *this;
  const Tensor y = empty(shape(), {dtype, device()});
  kernels::copy(view(), y.view(), op.stream(*this));
  if (!is_floating(dtype) || !is_floating(this->dtype())) return op.non_differentiable(y, {*this});
  return op.record(y, {*this}, [from = this->dtype()](const Upstream& up) -> Gradients { return {up.dy().to(from)}; });
}

Tensor Tensor::to(Device device) const {
  Operation op("to");
  op.check(defined(), "undefined tensor");
  if (device == this->device()) return *this;
  const Tensor dense = detach().contiguous();
  const Tensor y = empty(shape(), {dtype(), device});
  transfer(dense.view(), y.view());
  return op.record(y, {*this}, [from = this->device()](const Upstream& up) -> Gradients { return {up.dy().to(from)}; });
}

}  // namespace heed
