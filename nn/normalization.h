#pragma once

#include <limits>

#include "engine/ops.h"
#include "nn/init.h"
#include "nn/module.h"

namespace heed::nn {

// Ba, Kiros and Hinton 2016: each row of the last axis to mean 0 and variance 1, then scaled and shifted.
class LayerNorm : public Module {
 public:
  explicit LayerNorm(std::int64_t features, double eps = 1e-5, bool bias = true)
      : weight(ones({features})), bias(bias ? zeros({features}) : Tensor()), eps_(eps) {
    register_parameter("weight", weight);
    register_parameter("bias", this->bias);
  }

  Tensor operator()(const Tensor& x) const { return layer_norm(x, weight, bias, eps_); }

  Tensor weight, bias;  // [features]; bias may be undefined

 private:
  double eps_;
};

// Zhang and Sennrich 2019: each row of the last axis to a root mean square of 1, then scaled. Without eps it is the
// rounding unit of x's dtype, as in PyTorch.
class RMSNorm : public Module {
 public:
  explicit RMSNorm(std::int64_t features, std::optional<double> eps = {}) : weight(ones({features})), eps_(eps) {
    register_parameter("weight", weight);
  }

  Tensor operator()(const Tensor& x) const { return rms_norm(x, weight, eps_.value_or(rounding_unit(x.dtype()))); }

  Tensor weight;  // [features]

 private:
  static double rounding_unit(Dtype dtype) {
    if (dtype == Dtype::f64) return std::numeric_limits<double>::epsilon();
    if (dtype == Dtype::bf16) return 0x1p-7;
    return dtype == Dtype::f16 ? 0x1p-10 : std::numeric_limits<float>::epsilon();
  }
  std::optional<double> eps_;
};

}  // namespace heed::nn
