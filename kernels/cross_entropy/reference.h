// The plain implementations, for the others to fall back on. Not part of the contract.
#pragma once

#include <limits>

#include "kernels/cross_entropy/cross_entropy.h"

namespace heed::kernels {

void cross_entropy_forward_reference(View logits, View target, View weight, View losses, View log_sum_exp,
                                     double label_smoothing, std::int64_t ignore_index, Stream);
void cross_entropy_backward_reference(View logits, View target, View weight, View log_sum_exp, View dlosses,
                                      View dlogits, double label_smoothing, std::int64_t ignore_index, Stream);

inline std::int64_t target_of(const View& target, std::int64_t row) {
  const std::int64_t at = row * target.strides[0];
  return target.dtype == Dtype::i64 ? target.as<std::int64_t>()[at] : target.as<std::int32_t>()[at];
}

}  // namespace heed::kernels
