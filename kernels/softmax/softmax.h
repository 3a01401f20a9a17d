// Softmax and log-softmax along one axis, and their gradients. NOTES.md tells the story of the variants.
//
// All views of a call have one shape and one dtype (f32, f64, halves), any strides; 0 <= axis < rank. An output may be
// exactly one of the inputs (same data and strides). Nothing is read or written when the shape holds no elements.
//
// With m the maximum of a row, a row being the elements along the axis:
//   softmax       y_i = exp(x_i - m) / sum_j exp(x_j - m)             dx_i = y_i (dy_i - sum_j y_j dy_j)
//   log_softmax   y_i = x_i - m - log(sum_j exp(x_j - m))             dx_i = dy_i - exp(y_i) sum_j dy_j
//
// A row of -inf alone is what attention sees where a mask leaves nothing to attend to. Its softmax is 0 everywhere: no
// weight anywhere, and no gradient. Its log_softmax is -inf everywhere, log(0), with the gradient dx = dy that the
// formula gives. (PyTorch gives NaN in both.) A row that holds a NaN or +inf becomes NaN throughout.
#pragma once

#include "kernels/registry.h"

namespace heed::kernels {

inline constinit Kernel<void(View x, View y, int axis, Stream stream)> softmax_forward{"softmax_forward"};
inline constinit Kernel<void(View y, View dy, View dx, int axis, Stream stream)> softmax_backward{"softmax_backward"};

inline constinit Kernel<void(View x, View y, int axis, Stream stream)> log_softmax_forward{"log_softmax_forward"};
inline constinit Kernel<void(View y, View dy, View dx, int axis, Stream stream)> log_softmax_backward{
    "log_softmax_backward"};

}  // namespace heed::kernels
