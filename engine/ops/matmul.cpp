#include "kernels/matmul/matmul.h"

#include "engine/operation.h"
#include "engine/ops.h"
#include "kernels/copy/copy.h"

namespace heed {
namespace {

// x itself where a BLAS can read it in place, which is nearly always; a copy where strides of an expanded or stepped
// view forbid it. Outside the graph.
Tensor readable(const Tensor& x, Stream stream) {
  if (kernels::is_blas_matrix(x.view())) return x;
  const Tensor copy = empty_like(x);
  kernels::copy(x.view(), copy.view(), stream);
  return copy;
}

// All axes but the last taken for one: a matrix [rows, last].
Shape rows_shape(const Tensor& x) {
  const Shape leading(std::span(x.shape().begin(), x.shape().end() - 1));
  return {count_of(leading), x.shape().back()};
}

Tensor as_rows(const Tensor& x) {
  return x.reshape(rows_shape(x));
}

// As as_rows, outside the graph.
Tensor as_rows_untracked(const Tensor& x) {
  const NoGrad no_grad;
  return as_rows(x);
}

// Of operands with two axes or more. Where one weight serves a whole batch, its gradient is a single product of all rows.
Tensor product(Operation& op, const Tensor& a, const Tensor& b, const Shape& batch) {
  const auto batched = [&](const Tensor& x, std::int64_t rows, std::int64_t columns) {
    Shape shape = batch;
    shape.push_back(rows);
    shape.push_back(columns);
    return alias(x, x.layout().expanded(shape));
  };
  const std::int64_t m = a.size(-2), k = a.size(-1), n = b.size(-1);
  Shape shape = batch;
  shape.push_back(m);
  shape.push_back(n);
  const Tensor c = empty(shape, a.options());
  const Stream stream = op.stream(a);
  kernels::matmul(batched(readable(a, stream), m, k).view(), batched(readable(b, stream), k, n).view(), c.view(), 1, 0,
                  stream);
  return op.record(c, {a, b}, [a, b](const Upstream& up) -> Gradients {
    Gradients gradients(2);
    const Tensor& dc = up.dy();
    const bool shared_b = b.rank() == 2 && a.rank() > 2;
    if (up.needs(0)) gradients[0] = sum_to(matmul(dc, b.transpose(-2, -1)), a.shape());
    if (up.needs(1) && shared_b) gradients[1] = matmul(as_rows(a).transpose(0, 1), as_rows(dc));
    if (up.needs(1) && !shared_b) gradients[1] = sum_to(matmul(a.transpose(-2, -1), dc), b.shape());
    return gradients;
  });
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  Operation op("matmul");
  op.same_dtype({a, b});
  op.floating(a);
  op.check(a.rank() > 0 && b.rank() > 0, "shapes {} and {}, expected at least one axis each", a.shape(), b.shape());
  const std::int64_t inner = b.size(b.rank() == 1 ? 0 : -2);
  op.check(a.size(-1) == inner, "shapes {} and {} do not fit: inner lengths {} and {}", a.shape(), b.shape(),
           a.size(-1), inner);
  if (a.rank() == 1) return matmul(a.unsqueeze(0), b).squeeze(b.rank() == 1 ? 0 : -2);
  if (b.rank() == 1) return matmul(a, b.unsqueeze(1)).squeeze(-1);
  const auto batch_of = [](const Tensor& x) { return Shape(std::span(x.shape().begin(), x.shape().end() - 2)); };
  const std::optional<Shape> batch = broadcast(batch_of(a), batch_of(b));
  op.check(batch.has_value(), "batch axes of shapes {} and {} do not broadcast", a.shape(), b.shape());
  return product(op, a, b, *batch);
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  Operation op("linear");
  op.same_dtype({x, weight});
  if (bias.defined()) op.same_dtype({x, bias});
  op.floating(x);
  op.check(x.rank() > 0 && weight.rank() == 2 && x.size(-1) == weight.size(1),
           "x {} and weight {} do not fit; expected [..., in] and [out, in]", x.shape(), weight.shape());
  op.check(!bias.defined() || bias.shape() == Shape{weight.size(0)}, "bias {} does not fit weight {}; expected [out]",
           bias.defined() ? bias.shape() : Shape{}, weight.shape());
  Shape shape = x.shape();
  shape[shape.size() - 1] = weight.size(0);
  const Tensor y = empty(shape, x.options());
  const Tensor y_rows = alias(y, Layout::contiguous(rows_shape(y)));  // [rows, out]
  const Stream stream = op.stream(x);
  const Tensor x_rows = readable(as_rows_untracked(x), stream), matrix = readable(weight, stream);
  if (bias.defined()) kernels::copy(alias(bias, bias.layout().expanded(y_rows.shape())).view(), y_rows.view(), stream);
  kernels::matmul(x_rows.view(), alias(matrix, matrix.layout().permuted({1, 0})).view(), y_rows.view(), 1,
                  bias.defined() ? 1 : 0, stream);
  const auto backward = [x, weight, inputs = bias.defined() ? 3 : 2](const Upstream& up) -> Gradients {
    Gradients gradients(inputs);
    const Tensor& dy = up.dy();
    if (up.needs(0)) gradients[0] = matmul(dy, weight);
    if (up.needs(1)) gradients[1] = matmul(as_rows(dy).transpose(0, 1), as_rows(x));
    if (inputs == 3 && up.needs(2)) gradients[2] = sum_to(dy, {weight.size(0)});
    return gradients;
  };
  if (bias.defined()) return op.record(y, {x, weight, bias}, backward);
  return op.record(y, {x, weight}, backward);
}

}  // namespace heed
