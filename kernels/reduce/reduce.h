// Reductions: many elements of x become one of y.
//
// y has x's rank, with length 1 on the reduced axes and x's length on the others. Any set of axes, x with any strides.
// An axis on which x itself has length 1 may count as reduced or not: it makes no difference.
//
//   slot                     x                                    y          over no elements
//   reduce_sum               f32 f64 halves                       as x       0
//                            i32 i64 u8 bool                      i64        0 (overflow wraps)
//   reduce_sum_of_squares    f32 f64 halves                       as x       0
//   reduce_max, reduce_min   every dtype                          as x       undefined: the caller refuses it
//   reduce_log_sum_exp       f32 f64 halves                       as x       -inf
//   reduce_any, reduce_all   every dtype (true: not 0; NaN too)   bool       false, true
//   reduce_argmax, _argmin   every dtype; exactly one axis        i64        undefined: the caller refuses it
//
// A NaN makes the sum, the maximum, the minimum and the log-sum-exp of its elements NaN. argmax and argmin give the
// position along the axis; the first of equals wins, and a NaN beats every number (NumPy's and PyTorch's rule).
// log_sum_exp(x) = m + log(sum(exp(x - m))), m = max(x): finite when x is. All elements -inf: -inf; some +inf: +inf.
// Sums of f32 stay within a few units of 1e-7 of the sum of magnitudes however many elements there are.
#pragma once

#include "kernels/registry.h"

namespace heed::kernels {

using Reduction = void(View x, View y, Stream stream);

inline constinit Kernel<Reduction> reduce_sum{"reduce_sum"};
inline constinit Kernel<Reduction> reduce_sum_of_squares{"reduce_sum_of_squares"};
inline constinit Kernel<Reduction> reduce_max{"reduce_max"};
inline constinit Kernel<Reduction> reduce_min{"reduce_min"};
inline constinit Kernel<Reduction> reduce_log_sum_exp{"reduce_log_sum_exp"};
inline constinit Kernel<Reduction> reduce_any{"reduce_any"};
inline constinit Kernel<Reduction> reduce_all{"reduce_all"};
inline constinit Kernel<Reduction> reduce_argmax{"reduce_argmax"};
inline constinit Kernel<Reduction> reduce_argmin{"reduce_argmin"};

}  // namespace heed::kernels
