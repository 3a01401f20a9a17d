// Copies and fills: bytes moved, rearranged or converted, nothing computed.
//
// The views of a call have the same shape, rank 0 to 8, any axis may have length 0. Inputs may have any strides, 0
// included; y ("to") never has stride 0. "Logical order" is row-major order over the shape, whatever the strides.
#pragma once

#include "kernels/registry.h"

namespace heed::kernels {

// to = from, converted when the dtypes differ. Any pair of dtypes. `from` may be the very memory of `to` (same data and
// strides) when the dtypes are equal; any other overlap is undefined.
//   to boolean           x != 0 (NaN is true)
//   floating to integer  towards zero; NaN gives 0 and what lies outside the range gives its nearest end, on every
//   machine
//                        (C++ leaves both undefined, and processors differ)
//   integer to integer   modulo 2^bits, as C++
//   to f32, halves       nearest, ties to even; f64 and i64 reach halves by way of f32, as in PyTorch
// Fast when both sides are contiguous in some common order of axes, when one is the transpose of the other in two of
// its axes, and when `from` is expanded.
inline constinit Kernel<void(View from, View to, Stream)> copy{"copy"};

// y = value, converted as by copy from f64.
inline constinit Kernel<void(View y, double value, Stream)> fill{"fill"};

// y[i] = start + i step, i counting in logical order. f32, f64, halves: computed in f64 with one rounding of the product
// and one of the sum, so no error accumulates along y. i32, i64, u8: start and step converted to i64 first, then exact.
inline constinit Kernel<void(View y, double start, double step, Stream)> iota{"iota"};

// Zeroes one side of a diagonal in each matrix formed by the last two axes [..., rows, columns]; rank at least 2.
// upper: y = x where column - row >= diagonal (triu), else y = x where column - row <= diagonal (tril); elsewhere 0.
// x and y of any one dtype; x may be the very memory of y.
inline constinit Kernel<void(View x, View y, std::int64_t diagonal, bool upper, Stream)> triangle{"triangle"};

}  // namespace heed::kernels
