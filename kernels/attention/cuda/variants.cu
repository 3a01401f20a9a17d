// What runs by default: for bf16 the tensor cores, for f32 plain multiply-adds. The backward passes that repeat to the bit.
#include "kernels/attention/cuda/paths.h"

namespace heed::kernels::attention {
namespace {

const Register forward_plain{attention_forward, DeviceType::cuda, "fma", &forward_fma};
const Register forward_default{attention_forward, DeviceType::cuda, "mma", &forward_mma, is_default};
const Register backward_plain{attention_backward, DeviceType::cuda, "fma", &backward_fma};
const Register backward_default{attention_backward, DeviceType::cuda, "mma", &backward_mma, is_default};
const Register backward_pipelined{attention_backward, DeviceType::cuda, "mma_pipelined", &backward_mma_pipelined};
const Register backward_atomic{attention_backward, DeviceType::cuda, "mma_atomic", &backward_mma_atomic};
// f32 on tensor cores. To be chosen together: another backward computes scores of other bits, and with scores of hundreds
// its weights are not those of this forward.
const Register forward_split{attention_forward, DeviceType::cuda, "tf32x3", &forward_tf32};
const Register backward_split{attention_backward, DeviceType::cuda, "tf32x3", &backward_tf32};
const Register mask_plain{attention_mask_gradient, DeviceType::cuda, "fma", &mask_gradient_fma};
const Register mask_default{attention_mask_gradient, DeviceType::cuda, "mma", &mask_gradient_mma, is_default};

}  // namespace
}  // namespace heed::kernels::attention
