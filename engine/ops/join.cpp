#include <numeric>

#include "engine/joined.h"
#include "engine/operation.h"
#include "engine/ops.h"
#include "kernels/copy/copy.h"

namespace heed {
namespace {

// What all tensors of a list share, apart from the length along `axis`.
void check_joinable(const Operation& op, const std::vector<Tensor>& tensors, int axis) {
  for (const Tensor& x : tensors) {
    op.same_dtype({tensors[0], x});
    Shape shape = x.shape();
    if (shape.size() == tensors[0].rank()) shape[axis] = tensors[0].shape()[axis];
    op.check(shape == tensors[0].shape(), "shapes {} and {} differ beside axis {}", tensors[0].shape(), x.shape(),
             axis);
  }
}

}  // namespace

Tensor cat(const std::vector<Tensor>& tensors, int axis) {
  Operation op("cat");
  op.check(!tensors.empty(), "nothing to join");
  op.same_device({tensors[0]});
  axis = op.axis(axis, tensors[0].shape());
  check_joinable(op, tensors, axis);
  Shape shape = tensors[0].shape();
  std::vector<std::int64_t> lengths;
  for (const Tensor& x : tensors) lengths.push_back(x.shape()[axis]);
  shape[axis] = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  const Tensor y = empty(shape, tensors[0].options());
  std::int64_t start = 0;
  for (const Tensor& x : tensors) {
    const std::int64_t length = x.shape()[axis];
    kernels::copy(x.view(), alias(y, y.layout().sliced(axis, start, length, 1)).view(), op.stream(y));
    start += length;
  }
  return op.record_all({y}, tensors, [=](const Upstream& up) -> Gradients {
    const std::vector<Tensor> parts = split(up.dy(), lengths, axis);
    return {parts.begin(), parts.end()};
  })[0];
}

Tensor stack(const std::vector<Tensor>& tensors, int axis) {
  Operation op("stack");
  op.check(!tensors.empty(), "nothing to join");
  std::vector<Tensor> widened;
  for (const Tensor& x : tensors) {
    op.same_dtype({tensors[0], x});
    op.check(x.shape() == tensors[0].shape(), "shapes {} and {} differ", tensors[0].shape(), x.shape());
    op.check(-x.rank() - 1 <= axis && axis <= x.rank(), "axis {} out of range for a new axis in shape {}", axis,
             x.shape());
    widened.push_back(x.unsqueeze(axis));
  }
  return cat(widened, axis);
}

std::vector<Tensor> split(const Tensor& x, const std::vector<std::int64_t>& lengths, int axis) {
  Operation op("split");
  op.same_device({x});
  axis = op.axis(axis, x.shape());
  const auto no_cut = [&] {
    op.fail("lengths [{}] do not cut axis {} of shape {}", joined(lengths, ", "), axis, x.shape());
  };
  std::vector<Tensor> parts;
  std::int64_t start = 0;
  for (std::int64_t length : lengths) {
    if (length < 0 || start + length > x.shape()[axis]) no_cut();
    parts.push_back(alias(x, x.layout().sliced(axis, start, length, 1)));
    start += length;
  }
  if (start != x.shape()[axis]) no_cut();
  if (parts.empty()) return parts;
  return op.record_all(parts, {x}, [axis, count = parts.size()](const Upstream& up) -> Gradients {
    std::vector<Tensor> dys;
    for (std::size_t i = 0; i < count; ++i) dys.push_back(up.dy(static_cast<int>(i)));
    return {cat(dys, axis)};
  });
}

std::vector<Tensor> chunk(const Tensor& x, int parts, int axis) {
  Operation op("chunk");
  op.same_device({x});
  axis = op.axis(axis, x.shape());
  const std::int64_t length = x.shape()[axis];
  op.check(parts >= 1 && length % parts == 0, "axis {} of shape {} does not divide into {} equal parts", axis,
           x.shape(), parts);
  return split(x, std::vector<std::int64_t>(static_cast<std::size_t>(parts), length / parts), axis);
}

}  // namespace heed
