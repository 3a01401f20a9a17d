// Matrix products, batched.
#pragma once

#include "kernels/registry.h"

namespace heed::kernels {

// c = alpha a b + beta c
//   a [..., m, k]   b [..., k, n]   c [..., m, n]      the same rank >= 2; the batch axes of a and b have c's lengths
//                                                      (broadcast ones by stride 0)
// f32 and f64, and halves accumulated in f32 (rounded once, when c is stored). All three of one dtype.
// beta == 0: c is not read, so it may hold anything, NaN included. alpha == 0 or k == 0: a and b are not read, c = beta
// c. Otherwise NaN and infinities travel as in the sum of products: 0 * inf is NaN. a and b may have any strides (a
// transposed operand is a view, never a copy), stride 0 included; c must not overlap them.
inline constinit Kernel<void(View a, View b, View c, double alpha, double beta, Stream)> matmul{"matmul"};

// Whether a BLAS can read the last two axes of `matrix` where they lie: one of the two axes has stride 1 and the other
// a stride no smaller than the length of the first (a row- or column-major matrix, possibly inside a wider one). An
// axis of length 1 has whatever stride is convenient. Not so: an expanded axis, a slice with a step in both axes,
// overlapping rows. The fast variants send an operand for which this is false to the slow, stride-agnostic reference,
// so a caller copies such an operand first. The strides of the batch axes do not matter.
bool is_blas_matrix(const View& matrix);

}  // namespace heed::kernels
