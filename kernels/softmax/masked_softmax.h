// The softmax of attention's scores: scaled and masked on the way, without a pass of its own over memory.
//
//   y[b, h, i, j] = softmax over j of (scale x[b, h, i, j] + mask[b, h, i, j]), over the keys j that query i may look at;
//                   0 at all others, and throughout where there are none; NaN throughout if a key looked at is NaN or inf
//   dx            = scale y (dy - sum over j of y dy)
//
// Shapes: x, y, dy, dx [batch, heads, queries, keys]. Dtypes: f32, f64, halves, one for all. Any strides. y may be x, and dx
// may be y or dy (same data and strides). No axis needs to have elements. x is not read where a query may not look.
#pragma once

#include <algorithm>

#include "kernels/registry.h"

namespace heed::kernels {

struct MaskedSoftmaxOptions {
  double scale = 1;
  // Causal: query i may look at the keys 0 ... i + shift.
  bool causal = false;
  std::int64_t shift = 0;
  // As x in shape (an expanded axis has stride 0), or without data. bool (true: may look), or added to the scores: of x's
  // dtype, f32 where that is a half; -inf there is a key that may not be looked at.
  View mask = {};
};

// How many keys, from the first, query i may look at as far as causality decides.
constexpr std::int64_t visible_keys(const MaskedSoftmaxOptions& options, std::int64_t i, std::int64_t keys) {
  return options.causal ? std::clamp<std::int64_t>(i + options.shift + 1, 0, keys) : keys;
}

inline constinit Kernel<void(View x, const MaskedSoftmaxOptions&, View y, Stream stream)> masked_softmax_forward{
    "masked_softmax_forward"};
inline constinit Kernel<void(View y, View dy, const MaskedSoftmaxOptions&, View dx, Stream stream)>
    masked_softmax_backward{"masked_softmax_backward"};

}  // namespace heed::kernels
