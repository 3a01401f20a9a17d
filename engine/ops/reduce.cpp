#include "kernels/reduce/reduce.h"

#include "engine/operation.h"
#include "engine/ops.h"

namespace heed {
namespace {

// Which axes a reduction removes: the flags of all when the list is empty.
std::vector<bool> reduced_axes(const Operation& op, const Axes& axes, const Shape& shape) {
  std::vector<bool> reduced(static_cast<std::size_t>(shape.size()), axes.empty());
  for (std::int64_t axis : axes) {
    const auto i = static_cast<std::size_t>(op.axis(axis, shape));
    op.check(!reduced[i], "axis {} appears twice in {}", axis, axes);
    reduced[i] = true;
  }
  return reduced;
}

Shape kept_shape(const Shape& shape, const std::vector<bool>& reduced) {
  Shape kept = shape;
  for (int i = 0; i < kept.size(); ++i) {
    if (reduced[static_cast<std::size_t>(i)]) kept[i] = 1;
  }
  return kept;
}

Shape squeezed_shape(const Shape& shape, const std::vector<bool>& reduced) {
  Shape squeezed;
  for (int i = 0; i < shape.size(); ++i) {
    if (!reduced[static_cast<std::size_t>(i)]) squeezed.push_back(shape[i]);
  }
  return squeezed;
}

}  // namespace

Tensor sum(const Tensor& x, const Axes& axes, bool keepdim) {
  Operation op("sum");
  op.same_device({x});
  const std::vector<bool> reduced = reduced_axes(op, axes, x.shape());
  const Shape kept = kept_shape(x.shape(), reduced);
  const Tensor y = empty(kept, {is_floating(x.dtype()) ? x.dtype() : Dtype::i64, x.device()});
  kernels::reduce_sum(x.view(), y.view(), op.stream(x));
  const Tensor shaped = keepdim ? y : alias(y, Layout::contiguous(squeezed_shape(x.shape(), reduced)));
  return op.record(shaped, {x}, [kept, shape = x.shape()](const Upstream& up) -> Gradients {
    return {up.dy().reshape(kept).expand(shape)};
  });
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
