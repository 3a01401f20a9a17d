// From a sequence [batch, length, dim] to one vector [batch, dim]. A key_padding_mask (bool [batch, length], true:
// padding) takes positions out; a sequence of padding alone gives zeros.
#pragma once

#include "engine/ops.h"
#include "nn/attention.h"
#include "nn/linear.h"
#include "nn/module.h"

namespace heed::nn {

Tensor mean_pool(const Tensor& x, const Tensor& key_padding_mask = {});
Tensor max_pool(const Tensor& x, const Tensor& key_padding_mask = {});

// Yang et al. 2016: a learned query says how much each position counts.
//   weights = softmax(tanh(x W^T + b) query) over the length, output = the weighted sum of x
class AttentionPooling : public Module {
 public:
  AttentionPooling(std::int64_t dim, std::int64_t hidden_dim);
  // The result's weights are [batch, length].
  Attended operator()(const Tensor& x, const Tensor& key_padding_mask = {}) const;

  Linear proj;
  Tensor query;  // [hidden_dim]
};

}  // namespace heed::nn
