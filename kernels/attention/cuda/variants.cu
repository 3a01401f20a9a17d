// What runs by default: for bf16 and f16 the tensor cores, for f32 plain multiply-adds. The backward passes that repeat to the bit.
#include "kernels/attention/cuda/paths.h"

namespace heed::kernels::attention {
namespace {

// The weights must be those of the forward, to the last bit of a score: with scores of hundreds nothing else is exact enough.
// So whoever chooses the forward on tensor cores for f32 gets its backward, too.
void backward_of_forward(View query, View key, View value, const AttentionOptions& options, View output,
                         View log_sum_exp, View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                         const AttentionWorkspace& workspace, Stream stream) {
  const bool split = attention_forward.selected(DeviceType::cuda) == "tf32x3";
  (split ? backward_tf32 : backward_mma)(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery,
                                         dkey, dvalue, workspace, stream);
}

const Register forward_plain{attention_forward, DeviceType::cuda, "fma", &forward_fma};
const Register forward_default{attention_forward, DeviceType::cuda, "mma", &forward_mma, is_default};
const Register backward_plain{attention_backward, DeviceType::cuda, "fma", &backward_fma};
const Register backward_default{attention_backward, DeviceType::cuda, "mma", &backward_of_forward, is_default};
const Register backward_pipelined{attention_backward, DeviceType::cuda, "mma_pipelined", &backward_mma_pipelined};
const Register backward_atomic{attention_backward, DeviceType::cuda, "mma_atomic", &backward_mma_atomic};
const Register forward_split{attention_forward, DeviceType::cuda, "tf32x3", &forward_tf32};
const Register backward_split{attention_backward, DeviceType::cuda, "tf32x3", &backward_tf32};
const Register mask_plain{attention_mask_gradient, DeviceType::cuda, "fma", &mask_gradient_fma};
const Register mask_default{attention_mask_gradient, DeviceType::cuda, "mma", &mask_gradient_mma, is_default};

}  // namespace
}  // namespace heed::kernels::attention
