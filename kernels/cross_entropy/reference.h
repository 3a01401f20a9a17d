// The plain implementations, for the others to fall back on. Not part of the contract.
#pragma once

#include <limits>

#include "kernels/cross_entropy/cross_entropy.h"

namespace heed::kernels {

void cross_entropy_forward_reference(View logits, View target, View weight, View losses, View log_sum_exp,
                                     double label_smoothing, std::int64_t ignore_index, Stream);
void cross_entropy_backward_reference(View logits, View target, View weight, View log_sum_exp, View dlosses,
                                      View dlogits, double label_smoothing, std::int64_t ignore_index, Stream);
void bce_with_logits_forward_reference(View x, View target, View weight, View pos_weight, View losses, Stream);
void bce_with_logits_backward_reference(View x, View target, View weight, View pos_weight, View dlosses, View dx,
                                        Stream);

inline std::int64_t target_of(const View& target, std::int64_t row) {
  const std::int64_t at = row * target.strides[0];
  return target.dtype == Dtype::i64 ? target.as<std::int64_t>()[at] : target.as<std::int32_t>()[at];
}

// `weights`, or where there are none a view of ones in x's shape.
template <class T>
View or_ones(const View& weights, const View& x, T& one) {
  if (weights.data != nullptr) return weights;
  View ones = x;
  ones.data = &one;
  for (std::int64_t& stride : ones.strides) stride = 0;
  return ones;
}

}  // namespace heed::kernels
