#pragma once

#include "engine/ops.h"
#include "nn/module.h"

namespace heed::nn {

// While training: each element 0 with probability p, else divided by 1 - p. In evaluation: x itself.
class Dropout : public Module {
 public:
  explicit Dropout(double p = 0.5) : p_(p) { check(0 <= p && p <= 1, "Dropout: probability {} outside [0, 1]", p); }

  Tensor operator()(const Tensor& x) const { return training() && p_ > 0 ? dropout(x, p_) : x; }

 private:
  double p_;
};

}  // namespace heed::nn
