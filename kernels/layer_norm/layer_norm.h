// Layer normalisation (Ba, Kiros, Hinton 2016, arXiv:1607.06450) and RMS normalisation (Zhang, Sennrich 2019,
// arXiv:1910.07467) over the last axis, and their gradients.
//
//   layer_norm   y = (x - mean) * rstd * weight + bias    rstd = 1 / sqrt(mean of (x - mean)^2 + eps)
//   rms_norm     y = x * rstd * weight                    rstd = 1 / sqrt(mean of x^2 + eps)
//
// Shapes: x, y, dy, dx [rows, n]; weight, bias, dweight, dbias [n]; mean, rstd [rows]. n >= 1; rows may be 0.
// Dtypes: f32, f64 or a half, one for all, except that mean, rstd and the workspace are f32 where the rest is halves.
// Any strides; mean, rstd and workspace contiguous. Optional (View{} when absent): weight, bias (taken as 1 and 0);
// dx, dweight, dbias (not wanted). y may be x; dx may be x or dy.
// The variance is taken about the mean in a second pass, so an offset in x (1e4 plus a small noise) costs no digits.
//
// Backward, with xhat = (x - mean) * rstd and g = dy * weight; averages run along the row, sums over the rows:
//   layer_norm   dx = rstd * (g - average(g) - xhat * average(g * xhat))
//   rms_norm     dx = rstd * (g - xhat * average(g * xhat))          xhat = x * rstd
//   dweight = sum(dy * xhat)     dbias = sum(dy)
// The rows are summed in norm_row_chunks(rows) fixed chunks whose partial sums lie in the workspace and are then added
// in order: the same bits for any number of threads. dweight and dbias are overwritten, not added to.
#pragma once

#include <algorithm>

#include "kernels/registry.h"

namespace heed::kernels {

// 1 to 64 chunks of at least 64 rows each, unless there are fewer.
constexpr std::int64_t norm_row_chunks(std::int64_t rows) {
  return std::clamp<std::int64_t>((rows + 63) / 64, 1, 64);
}

// Elements that the backward workspace must hold: the partial sums of dweight and dbias for each chunk of rows.
constexpr std::int64_t norm_workspace_size(std::int64_t rows, std::int64_t n) {
  return norm_row_chunks(rows) * 2 * n;
}

inline constinit Kernel<void(View x, View weight, View bias, View y, View mean, View rstd, double eps, Stream stream)>
    layer_norm_forward{"layer_norm_forward"};
inline constinit Kernel<void(View x, View weight, View dy, View mean, View rstd, View dx, View dweight, View dbias,
                             View workspace, Stream stream)>
    layer_norm_backward{"layer_norm_backward"};

inline constinit Kernel<void(View x, View weight, View y, View rstd, double eps, Stream stream)> rms_norm_forward{
    "rms_norm_forward"};
inline constinit Kernel<void(View x, View weight, View dy, View rstd, View dx, View dweight, View workspace,
                             Stream stream)>
    rms_norm_backward{"rms_norm_backward"};

}  // namespace heed::kernels
