#include <algorithm>

#include "engine/operation.h"
#include "engine/ops.h"
#include "kernels/copy/copy.h"
#include "kernels/gather/gather.h"

namespace heed {
namespace {

void check_integers(const Operation& op, const Tensor& index) {
  op.same_device({index});
  op.check(index.dtype() == Dtype::i64 || index.dtype() == Dtype::i32, "index is {}, expected i64 or i32",
           index.dtype());
}

// Throws unless all of index lies in [0, length). The place of a wrong one is searched for only then.
void check_index(const Operation& op, const Tensor& index, std::int64_t length, const char* what) {
  if (index.count() == 0) return;
  const Tensor range = empty({2}, {Dtype::i64, index.device()});
  kernels::index_range(index.view(), range.view(), op.stream(index));
  const auto outside = [&](std::int64_t i) { return i < 0 || i >= length; };
  if (std::ranges::none_of(range.to_vector<std::int64_t>(), outside)) return;
  const std::vector<std::int64_t> all = index.to_vector<std::int64_t>();
  const auto wrong = std::ranges::find_if(all, outside);
  op.fail("index {} out of range for {} {} at position {}", *wrong, length, what, wrong - all.begin());
}

// x with zeros in row `row`: its own adjoint.
Tensor without_row(const Tensor& x, std::int64_t row) {
  Operation op("without_row");
  const Tensor y = empty_like(x);
  kernels::copy(x.view(), y.view(), op.stream(x));
  kernels::fill(alias(y, y.layout().selected(0, row)).view(), 0, op.stream(x));
  return op.record(y, {x}, [row](const Upstream& up) -> Gradients { return {without_row(up.dy(), row)}; });
}

// The slices of dy [..., n, ...] added up in zeros of `shape`, where index [n] says, and nothing in row `skipped`.
Tensor index_select_backward(const Tensor& dy, const Shape& shape, int axis, const Tensor& index,
                             std::optional<std::int64_t> skipped = {}) {
  Operation op("index_select_backward");
  const Tensor dx = zeros(shape, dy.options());
  kernels::index_add(dx.view(), axis, index.view(), dy.view(), op.stream(dy));
  if (skipped) kernels::fill(alias(dx, dx.layout().selected(0, *skipped)).view(), 0, op.stream(dy));
  return op.record(dx, {dy}, [=](const Upstream& up) -> Gradients {
    return {index_select(skipped ? without_row(up.dy(), *skipped) : up.dy(), axis, index)};
  });
}

// The same for gather.
Tensor gather_backward(const Tensor& dy, const Shape& shape, int axis, const Tensor& index) {
  Operation op("gather_backward");
  const Tensor dx = zeros(shape, dy.options());
  kernels::scatter_add(dx.view(), axis, index.view(), dy.view(), op.stream(dy));
  return op.record(dx, {dy}, [=](const Upstream& up) -> Gradients { return {gather(up.dy(), axis, index)}; });
}

// What gather and scatter_add ask of an index into x.
void check_positions(const Operation& op, const Tensor& x, int axis, const Tensor& index) {
  check_integers(op, index);
  bool fits = index.rank() == x.rank();
  for (int i = 0; fits && i < x.rank(); ++i) fits = i == axis || index.shape()[i] <= x.shape()[i];
  op.check(fits, "index of shape {} exceeds shape {} beside axis {}", index.shape(), x.shape(), axis);
  check_index(op, index, x.shape()[axis], "elements");
}

}  // namespace

Tensor embedding(const Tensor& weight, const Tensor& index, std::optional<std::int64_t> padding_idx, bool sparse) {
  Operation op("embedding");
  op.same_device({weight, index});
  check_integers(op, index);
  op.check(weight.rank() > 0, "weight of shape [] has no rows");
  const std::int64_t rows = weight.shape()[0];
  op.check(!padding_idx || (0 <= *padding_idx && *padding_idx < rows), "padding_idx {} out of range for {} rows",
           padding_idx.value_or(0), rows);
  check_index(op, index, rows, "rows");
  Shape shape = index.shape(), taken = weight.shape();
  op.check(shape.size() + weight.rank() - 1 <= max_rank,
           "index of shape {} into weight of shape {} makes more than {} axes", index.shape(), weight.shape(),
           max_rank);
  for (int i = 1; i < weight.rank(); ++i) shape.push_back(weight.shape()[i]);
  taken[0] = index.count();  // [index positions, ...]
  const Tensor flat = index.reshape({index.count()});
  const Tensor y = empty(shape, weight.options());
  kernels::index_select(weight.view(), 0, flat.view(), alias(y, Layout::contiguous(taken)).view(), op.stream(weight));
  return op.record(y, {weight}, [=, whole = weight.shape()](const Upstream& up) -> Gradients {
    const Tensor dy = up.dy().reshape(taken);
    if (up.create_graph()) return {index_select_backward(dy, whole, 0, flat, padding_idx)};
    return {Gradient(sum_rows(flat, dy, padding_idx), whole, sparse)};
  });
}

Tensor index_select(const Tensor& x, int axis, const Tensor& index) {
  Operation op("index_select");
  op.same_device({x, index});
  axis = op.axis(axis, x.shape());
  check_integers(op, index);
  op.check(index.rank() == 1, "index of shape {}, expected one axis", index.shape());
  check_index(op, index, x.shape()[axis], "elements");
  Shape shape = x.shape();
  shape[axis] = index.count();
  const Tensor y = empty(shape, x.options());
  kernels::index_select(x.view(), axis, index.view(), y.view(), op.stream(x));
  return op.record(y, {x}, [=, from = x.shape()](const Upstream& up) -> Gradients {
    return {index_select_backward(up.dy(), from, axis, index)};
  });
}

Tensor gather(const Tensor& x, int axis, const Tensor& index) {
  Operation op("gather");
  op.same_device({x, index});
  axis = op.axis(axis, x.shape());
  check_positions(op, x, axis, index);
  const Tensor y = empty(index.shape(), x.options());
  kernels::gather(x.view(), axis, index.view(), y.view(), op.stream(x));
  return op.record(y, {x}, [=, from = x.shape()](const Upstream& up) -> Gradients {
    return {gather_backward(up.dy(), from, axis, index)};
  });
}

Tensor scatter_add(const Tensor& x, int axis, const Tensor& index, const Tensor& source) {
  Operation op("scatter_add");
  op.same_dtype({x, source});
  op.same_device({x, index});
  op.check(x.dtype() != Dtype::u8 && x.dtype() != Dtype::boolean, "cannot add {}", x.dtype());
  axis = op.axis(axis, x.shape());
  check_positions(op, x, axis, index);
  op.check(index.shape() == source.shape(), "index of shape {} and source of shape {} differ", index.shape(),
           source.shape());
  const Tensor y = empty_like(x);
  kernels::copy(x.view(), y.view(), op.stream(x));
  kernels::scatter_add(y.view(), axis, index.view(), source.view(), op.stream(x));
  return op.record(y, {x, source}, [=](const Upstream& up) -> Gradients {
    return {up.dy(), up.needs(1) ? gather(up.dy(), axis, index) : Tensor()};
  });
}

TopK topk(const Tensor& x, std::int64_t k, bool largest) {
  Operation op("topk");
  op.same_device({x});
  op.check(x.dtype() != Dtype::u8 && x.dtype() != Dtype::boolean, "cannot order {}", x.dtype());
  const int axis = op.axis(-1, x.shape());
  op.check(0 <= k && k <= x.shape()[axis], "k {} out of range for the last axis of shape {}", k, x.shape());
  Shape shape = x.shape();
  shape[axis] = k;
  const Tensor values = empty(shape, x.options()), indices = empty(shape, {Dtype::i64, x.device()});
  kernels::top_k(x.view(), values.view(), indices.view(), largest, op.stream(x));
  return {op.record(values, {x},
                    [=, from = x.shape()](const Upstream& up) -> Gradients {
                      return {gather_backward(up.dy(), from, axis, indices)};
                    }),
          indices};
}

}  // namespace heed
