// The functions behind the variants on CUDA, each for the dtype in its name and all that attention.h describes.
#pragma once

#include "kernels/attention/attention.h"

namespace heed::kernels::attention {

using ForwardFunction = void(View query, View key, View value, const AttentionOptions&, View output, View log_sum_exp,
                             const AttentionWorkspace&, Stream);
using BackwardFunction = void(View query, View key, View value, const AttentionOptions&, View output, View log_sum_exp,
                              View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                              const AttentionWorkspace&, Stream);

ForwardFunction forward_fma;   // both dtypes
BackwardFunction backward_fma;  // both dtypes
ForwardFunction forward_mma_bf16;

}  // namespace heed::kernels::attention
