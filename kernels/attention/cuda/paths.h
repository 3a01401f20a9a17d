// The functions behind the variants on CUDA. Each does all that attention.h describes: what its own kernels leave out, more
// general ones do.
#pragma once

#include "kernels/attention/attention.h"

namespace heed::kernels::attention {

using ForwardFunction = void(View query, View key, View value, const AttentionOptions&, View output, View log_sum_exp,
                             const AttentionWorkspace&, Stream);
using BackwardFunction = void(View query, View key, View value, const AttentionOptions&, View output, View log_sum_exp,
                              View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                              const AttentionWorkspace&, Stream);

using MaskGradientFunction = void(View query, View key, View value, const AttentionOptions&, View output,
                                  View log_sum_exp, View doutput, View dlog_sum_exp, View dmask,
                                  const AttentionWorkspace&, Stream);

ForwardFunction forward_fma, forward_mma, forward_tf32;
BackwardFunction backward_fma, backward_mma, backward_mma_pipelined, backward_mma_atomic, backward_tf32;
MaskGradientFunction mask_gradient_fma, mask_gradient_mma;

// What the tf32x3 variants do by themselves, forward and backward alike. Not added masks: their gradient has a kernel of
// its own, whose scores are those of fma.
inline constexpr int tf32_max_dim = 128;
inline bool tf32_fits(const View& query, const View& value, const AttentionOptions& options) {
  return query.dtype == Dtype::f32 && query.shape[3] <= tf32_max_dim && value.shape[3] <= tf32_max_dim &&
         (options.mask.data == nullptr || options.mask.dtype == Dtype::boolean);
}

}  // namespace heed::kernels::attention
