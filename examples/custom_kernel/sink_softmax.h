// An operation that heed does not have, added from outside: nothing in the library was changed for it.
//
// Softmax must put its weight somewhere, even where nothing deserves it. With a sink it need not: the row gets one more
// score, always 0, whose weight is thrown away (Miller 2023, "attention is off by one"; the attention sinks of Xiao et al.,
// arXiv 2309.17453). Rows of low scores then sum to nearly 0.
//
//   y_i = exp(x_i) / (1 + sum_j exp(x_j))             dx_i = y_i (dy_i - sum_j y_j dy_j)
//
// The gradient is softmax's own formula: the sink's weight has no gradient of its own to add to the sum.
#pragma once

#include "engine/tensor.h"
#include "kernels/registry.h"

namespace sink {

// The contract of the kernel.  x, y [rows, n], contiguous, both f32 or both f64. A row of -inf gives zeros; a NaN or
// +inf makes its row NaN.
inline constinit heed::kernels::Kernel<void(heed::View x, heed::View y, heed::Stream)> softmax_forward{"sink_softmax"};

// The operation, over the last axis of x (f32, f64; any shape but []), differentiable to any order.
heed::Tensor softmax(const heed::Tensor& x);

}  // namespace sink
