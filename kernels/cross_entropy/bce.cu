// Binary cross-entropy on logits, elementwise.
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/cuda/map.cuh"

namespace heed::kernels::cuda {
namespace {

struct Weights {
  bool weighted,
      positives_weighted;  // whether weight and pos_weight are there; else what is read for them does not count

  template <class S>
  __device__ S weight(S value) const {
    return weighted ? value : S(1);
  }
  template <class S>
  __device__ S factor(S target, S pos_weight) const {
    return positives_weighted ? 1 + (pos_weight - 1) * target : S(1);
  }
};

struct Loss {
  Weights weights;
  template <class S>
  __device__ S operator()(S x, S target, S weight, S pos_weight) const {
    const S softplus = log1p(exp(-fabs(x))) + (x < 0 ? -x : S(0));  // log(1 + exp(-x)); a NaN comes through log1p
    return weights.weight(weight) * ((1 - target) * x + weights.factor(target, pos_weight) * softplus);
  }
};

struct LossGradient {
  Weights weights;
  template <class S>
  __device__ S operator()(S x, S target, S weight, S pos_weight, S dloss) const {
    const S decay = exp(-fabs(x)), sigmoid_of_minus = (x >= 0 ? decay : S(1)) / (1 + decay);
    return dloss * weights.weight(weight) * (1 - target - weights.factor(target, pos_weight) * sigmoid_of_minus);
  }
};

// `weights`, or where there are none one element of x over and over, for the functions to overlook.
View or_any(const View& weights, const View& x) {
  if (weights.data != nullptr) return weights;
  View single = x;
  for (std::int64_t& stride : single.strides) stride = 0;
  return single;
}

void forward(View x, View target, View weight, View pos_weight, View losses, Stream stream) {
  const Weights weights{weight.data != nullptr, pos_weight.data != nullptr};
  with_floating_type(x.dtype, [&]<class T>(T) {
    map<T, T, T, T, T>(bce_with_logits_forward.name(), losses, {x, target, or_any(weight, x), or_any(pos_weight, x)},
                       Loss{weights}, stream);
  });
}

void backward(View x, View target, View weight, View pos_weight, View dlosses, View dx, Stream stream) {
  const Weights weights{weight.data != nullptr, pos_weight.data != nullptr};
  with_floating_type(x.dtype, [&]<class T>(T) {
    map<T, T, T, T, T, T>(bce_with_logits_backward.name(), dx,
                          {x, target, or_any(weight, x), or_any(pos_weight, x), dlosses}, LossGradient{weights},
                          stream);
  });
}

constexpr DeviceType gpu = DeviceType::cuda;
const Register register_forward{bce_with_logits_forward, gpu, "elements", &forward, is_default};
const Register register_backward{bce_with_logits_backward, gpu, "elements", &backward, is_default};

}  // namespace
}  // namespace heed::kernels::cuda
