// The two ways to compute attention, behind scaled_dot_product_attention, which has checked the arguments and turned
// packed tensors into [1, heads, tokens, dim].
#pragma once

#include "engine/ops.h"

namespace heed {

// Of smaller operations (attention_composed.cpp).
Attention composed_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                             const AttentionOptions& options, double scale);

}  // namespace heed
