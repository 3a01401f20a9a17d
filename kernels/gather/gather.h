// Reading and writing by index: rows of a table, elements along an axis, the k largest.
//
// An index is i64 or i32 and lies in [0, length of the axis it selects from): the kernels do not look (index_range is
// how a caller finds out first). Axes count from 0. Any strides; every slot does nothing on zero sizes.
#pragma once

#include "kernels/registry.h"

namespace heed::kernels {

// y[..., i, ...] = x[..., index[i], ...] at `axis`
//   x [..., length, ...]   index [n]   y [..., n, ...]      every dtype, x's and y's the same
inline constinit Kernel<void(View x, int axis, View index, View y, Stream)> index_select{"index_select"};

// y[..., index[i], ...] += source[..., i, ...] at `axis`: the gradient of index_select.
//   y [..., length, ...]   index [n]   source [..., n, ...]      f32, f64, halves, i32, i64, both the same
// An index may occur often: its sources are added one after another in the order of i, so the bits never vary. A
// half is rounded at every addition. Rows of y that no index names are neither read nor written.
inline constinit Kernel<void(View y, int axis, View index, View source, Stream)> index_add{"index_add"};

// y[p] = x[p with index[p] at `axis`] for every position p of index, as torch.gather.
//   x   index   y      one rank >= 1; y has index's shape, which exceeds x's nowhere but at `axis`      every dtype
inline constinit Kernel<void(View x, int axis, View index, View y, Stream)> gather{"gather"};

// y[p with index[p] at `axis`] += source[p] for every position p of index: the gradient of gather.
//   y   index   source      as gather's x, index, y      f32, f64, halves, i32, i64
// Duplicates are added in the order of p along `axis`; see index_add.
inline constinit Kernel<void(View y, int axis, View index, View source, Stream)> scatter_add{"scatter_add"};

// range[0] = the least, range[1] = the greatest element of index.
//   index [...]   range i64 [2]
// An empty index gives {INT64_MAX, INT64_MIN}.
inline constinit Kernel<void(View index, View range, Stream)> index_range{"index_range"};

// The k largest (or least) elements of every line along the last axis, best first, and where they stood.
//   x [..., n]   values [..., k] of x's dtype   indices i64 [..., k]      0 <= k <= n; f32, f64, halves, i32, i64
// Equal elements: lowest index first. A NaN counts as larger than everything, as in torch.topk.
inline constinit Kernel<void(View x, View values, View indices, bool largest, Stream)> top_k{"top_k"};

}  // namespace heed::kernels
