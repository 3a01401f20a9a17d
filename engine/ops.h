// Every operation of the engine, by name, with its shapes and errors. The operations are differentiable to any order
// unless one says otherwise. Their names, defaults and edge cases are PyTorch's wherever PyTorch has the thing.
//
// Common to all: tensors of one operation share a device and a dtype (no silent promotion: convert with .to(dtype)),
// shapes broadcast by NumPy's rule where the text says "broadcast", negative axes count from the end, axes of length 0
// and scalars of shape [] are fine. What does not fit throws heed::Error naming the operation and the shapes.
#pragma once

#include <optional>
#include <vector>

#include "engine/autograd.h"
#include "engine/random.h"
#include "engine/tensor.h"

namespace heed {

// ---- Creation (engine/ops/creation.cpp): leaves, outside any graph -------------------------------------------------

Tensor full(const Shape& shape, double value, TensorOptions options = {});
Tensor zeros(const Shape& shape, TensorOptions options = {});
Tensor ones(const Shape& shape, TensorOptions options = {});
Tensor zeros_like(const Tensor& x);
Tensor ones_like(const Tensor& x);
// A tensor of shape [].
Tensor scalar(double value, TensorOptions options = {});

// ---- Elementwise (engine/ops/elementwise.cpp): operands broadcast --------------------------------------------------

Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
Tensor neg(const Tensor& x);

inline Tensor operator+(const Tensor& a, const Tensor& b) {
  return add(a, b);
}
inline Tensor operator-(const Tensor& a, const Tensor& b) {
  return sub(a, b);
}
inline Tensor operator*(const Tensor& a, const Tensor& b) {
  return mul(a, b);
}
inline Tensor operator/(const Tensor& a, const Tensor& b) {
  return div(a, b);
}
inline Tensor operator-(const Tensor& x) {
  return neg(x);
}
// A number takes the tensor's dtype.
inline Tensor operator+(const Tensor& a, double b) {
  return add(a, scalar(b, a.options()));
}
inline Tensor operator-(const Tensor& a, double b) {
  return sub(a, scalar(b, a.options()));
}
inline Tensor operator*(const Tensor& a, double b) {
  return mul(a, scalar(b, a.options()));
}
inline Tensor operator/(const Tensor& a, double b) {
  return div(a, scalar(b, a.options()));
}
inline Tensor operator+(double a, const Tensor& b) {
  return add(scalar(a, b.options()), b);
}
inline Tensor operator-(double a, const Tensor& b) {
  return sub(scalar(a, b.options()), b);
}
inline Tensor operator*(double a, const Tensor& b) {
  return mul(scalar(a, b.options()), b);
}
inline Tensor operator/(double a, const Tensor& b) {
  return div(scalar(a, b.options()), b);
}

// ---- Activations (engine/ops/activation.cpp) -----------------------------------------------------------------------

// ---- Reductions (engine/ops/reduce.cpp): `axes` empty means all ----------------------------------------------------

// The sum over `axes`, which disappear, or stay with length 1 when keepdim. Integers and bool give i64.
Tensor sum(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
// x summed down to `shape`, from which it could have been broadcast: the gradient of broadcasting.
Tensor sum_to(const Tensor& x, const Shape& shape);

// ---- Softmax (engine/ops/softmax.cpp) ------------------------------------------------------------------------------

// exp(x) / sum(exp(x)) along `axis`. A row of -inf alone gives zeros and a zero gradient (PyTorch: NaN).
Tensor softmax(const Tensor& x, int axis);
// log(softmax(x)), without the loss of precision of computing it so.
Tensor log_softmax(const Tensor& x, int axis);

// ---- Joining and cutting (engine/ops/join.cpp); views are methods of Tensor ----------------------------------------

// Joins tensors along an existing axis; their other axes agree.
Tensor cat(const std::vector<Tensor>& tensors, int axis = 0);
// Joins tensors of one shape along a new axis.
Tensor stack(const std::vector<Tensor>& tensors, int axis = 0);
// Cuts an axis into consecutive views of these lengths, which sum to its length. One backward pass joins the gradients.
std::vector<Tensor> split(const Tensor& x, const std::vector<std::int64_t>& lengths, int axis = 0);
// ... into `parts` equal views.
std::vector<Tensor> chunk(const Tensor& x, int parts, int axis = 0);

// ---- Matrix products (engine/ops/matmul.cpp) -----------------------------------------------------------------------

// ---- Indexing (engine/ops/indexing.cpp) ----------------------------------------------------------------------------

// ---- Normalisation and dropout (engine/ops/normalization.cpp, dropout.cpp) -----------------------------------------

// ---- Losses (engine/ops/loss.cpp) ----------------------------------------------------------------------------------

// ---- Attention (engine/ops/attention.cpp) --------------------------------------------------------------------------

}  // namespace heed
