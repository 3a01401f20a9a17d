#pragma once

#include <cmath>

#include "engine/ops.h"
#include "nn/init.h"
#include "nn/module.h"

namespace heed::nn {

// y = x weight^T + bias: [..., in_features] to [..., out_features].
class Linear : public Module {
 public:
  Linear(std::int64_t in_features, std::int64_t out_features, bool bias = true)
      : weight(empty({out_features, in_features})), bias(bias ? empty({out_features}) : Tensor()) {
    register_parameter("weight", weight);
    register_parameter("bias", this->bias);
    const double bound = in_features > 0 ? 1 / std::sqrt(static_cast<double>(in_features)) : 0;  // PyTorch's choice
    init::uniform(weight, -bound, bound);
    if (bias) init::uniform(this->bias, -bound, bound);
  }

  Tensor operator()(const Tensor& x) const { return linear(x, weight, bias); }

  Tensor weight;  // [out_features, in_features]
  Tensor bias;    // [out_features], or undefined
};

}  // namespace heed::nn
