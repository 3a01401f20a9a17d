// Losses on logits, fused with the softmax or sigmoid inside them: the loss of each example and its gradient.
//
// cross_entropy. PyTorch's definition (torch.nn.CrossEntropyLoss with class indices), before the reduction:
//   log_p_c = logits_c - log_sum_exp(logits)
//   loss    = -(1 - s) w_t log_p_t  -  s / classes * sum_c w_c log_p_c         t = target, s = label_smoothing, w =
//   weight dlogits_c = dloss * ((1 - s) w_t (p_c - [c = t])  +  s / classes * (p_c sum_k w_k - w_c))
// A row whose target is ignore_index has loss 0 and gradient 0. The mean over a batch, as PyTorch takes it, is
// sum(losses) / sum(w_t over the rows that count).
//
// Shapes: logits, dlogits [n, classes], classes >= 1; target [n], i64 or i32; weight [classes], View{} when all are 1;
// losses, dlosses, log_sum_exp [n]. Dtypes: f32, f64 or a half, one for all, except that log_sum_exp is f32 where the
// rest is halves. Any strides. The forward pass reads the logits once from memory, the backward pass reads and writes
// once; the probabilities are never stored. dlogits may be logits. A target that is neither ignore_index nor in [0,
// classes) makes the loss and the gradient of its row NaN: the caller checks where it can. A row with a NaN or +inf, or
// of -inf alone, has loss NaN; a target logit of -inf has loss inf.
//
// bce_with_logits (binary cross-entropy, torch.nn.BCEWithLogitsLoss), elementwise, in the form that cannot overflow:
//   k    = 1 + (pos_weight - 1) * target
//   loss = weight * ((1 - target) * x + k * (log1p(exp(-|x|)) + max(-x, 0)))
//   dx   = dloss * weight * (1 - target - k * sigmoid(-x))
// All views have x's shape and dtype (f32, f64, halves) and any strides; weight and pos_weight are View{} when all are 1.
// dx may be x or dlosses.
#pragma once

#include "kernels/registry.h"

namespace heed::kernels {

inline constinit Kernel<void(View logits, View target, View weight, View losses, View log_sum_exp,
                             double label_smoothing, std::int64_t ignore_index, Stream stream)>
    cross_entropy_forward{"cross_entropy_forward"};
inline constinit Kernel<void(View logits, View target, View weight, View log_sum_exp, View dlosses, View dlogits,
                             double label_smoothing, std::int64_t ignore_index, Stream stream)>
    cross_entropy_backward{"cross_entropy_backward"};

inline constinit Kernel<void(View x, View target, View weight, View pos_weight, View losses, Stream stream)>
    bce_with_logits_forward{"bce_with_logits_forward"};
inline constinit Kernel<void(View x, View target, View weight, View pos_weight, View dlosses, View dx, Stream stream)>
    bce_with_logits_backward{"bce_with_logits_backward"};

}  // namespace heed::kernels
