// Binary cross-entropy on logits. Both variants are one loop over contiguous blocks, which map_blocks makes of any strides.
#include <cmath>

#include "kernels/cpu/loops.h"
#include "kernels/cross_entropy/cross_entropy.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy/bce_cpu.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

// log(1 + e) for e in [0, 1]. Adding 1 loses digits of e, and the last factor returns them (Kahan).
template <class D, class V>
HWY_INLINE V log_of_one_plus(D d, V e) {
  const V one = hn::Set(d, 1), sum = hn::Add(one, e), kept = hn::Sub(sum, one);
  return hn::IfThenElse(hn::Eq(kept, hn::Zero(d)), e, hn::Mul(vector_log(d, sum), hn::Div(e, kept)));
}

void bce_forward_block(std::int64_t, std::int64_t n, float* loss, const float* x, const float* target,
                       const float* weight, const float* pos_weight) {
  for_vectors(0, n, [=](auto d, std::int64_t i) HWY_ATTR {
    const auto one = hn::Set(d, 1);
    const auto logit = hn::LoadU(d, x + i), t = hn::LoadU(d, target + i);
    const auto k = hn::MulAdd(hn::Sub(hn::LoadU(d, pos_weight + i), one), t, one);
    const auto decay = exp_of_nonpositive(d, hn::Neg(hn::Abs(logit)));
    const auto softplus = hn::Add(log_of_one_plus(d, decay), hn::Max(hn::Neg(logit), hn::Zero(d)));  // log(1 + e^-x)
    const auto sum = hn::MulAdd(hn::Sub(one, t), logit, hn::Mul(k, softplus));
    hn::StoreU(hn::Mul(hn::LoadU(d, weight + i), sum), d, loss + i);
  });
}

void bce_backward_block(std::int64_t, std::int64_t n, float* dx, const float* x, const float* target,
                        const float* weight, const float* pos_weight, const float* dloss) {
  for_vectors(0, n, [=](auto d, std::int64_t i) HWY_ATTR {
    const auto one = hn::Set(d, 1);
    const auto logit = hn::LoadU(d, x + i), t = hn::LoadU(d, target + i);
    const auto k = hn::MulAdd(hn::Sub(hn::LoadU(d, pos_weight + i), one), t, one);
    const auto decay = exp_of_nonpositive(d, hn::Neg(hn::Abs(logit)));
    const auto above = hn::IfThenElse(hn::Ge(logit, hn::Zero(d)), decay, one);
    const auto sigmoid_of_minus = hn::Div(above, hn::Add(one, decay));
    const auto slope = hn::NegMulAdd(k, sigmoid_of_minus, hn::Sub(one, t));
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, dloss + i), hn::LoadU(d, weight + i)), slope), d, dx + i);
  });
}

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {

HWY_EXPORT(bce_forward_block);
HWY_EXPORT(bce_backward_block);

// The definition.
template <class C>
void bce_forward_reference(std::int64_t, std::int64_t n, C* loss, const C* x, const C* t, const C* weight,
                           const C* pos_weight) {
  for (std::int64_t i = 0; i < n; ++i) {
    const C k = C(1) + (pos_weight[i] - C(1)) * t[i];
    const C softplus = std::log1p(std::exp(-std::abs(x[i]))) + std::max(-x[i], C(0));  // log(1 + exp(-x))
    loss[i] = weight[i] * ((C(1) - t[i]) * x[i] + k * softplus);
  }
}

template <class C>
void bce_backward_reference(std::int64_t, std::int64_t n, C* dx, const C* x, const C* t, const C* weight,
                            const C* pos_weight, const C* dloss) {
  for (std::int64_t i = 0; i < n; ++i) {
    const C k = C(1) + (pos_weight[i] - C(1)) * t[i];
    const C e = std::exp(-std::abs(x[i]));
    const C sigmoid_of_minus = (x[i] >= C(0) ? e : C(1)) / (C(1) + e);
    dx[i] = dloss[i] * weight[i] * (C(1) - t[i] - k * sigmoid_of_minus);
  }
}

// `weights`, or where there are none a view of ones in x's shape.
template <class C>
View or_ones(const View& weights, const View& x, C& one) {
  if (weights.data != nullptr) return weights;
  View ones = x;
  ones.data = &one;
  ones.dtype = dtype_of<C>();
  for (std::int64_t& stride : ones.strides) stride = 0;
  return ones;
}

// float, or a half computed as float, goes to the vector code where there is any; double to the definition.
template <bool simd>
void forward(View x, View target, View weight, View pos_weight, View losses, Stream) {
  with_compute_type(FloatingComputeTypes{}, x.dtype, [&]<class C>(C) {
    auto block = &bce_forward_reference<C>;
    if constexpr (simd && std::is_same_v<C, float>) block = HWY_DYNAMIC_DISPATCH(bce_forward_block);
    C one = 1;
    map_blocks<C, C, C, C, C>(LoopOrder::any, losses, {x, target, or_ones(weight, x, one), or_ones(pos_weight, x, one)},
                              block);
  });
}

template <bool simd>
void backward(View x, View target, View weight, View pos_weight, View dlosses, View dx, Stream) {
  with_compute_type(FloatingComputeTypes{}, x.dtype, [&]<class C>(C) {
    auto block = &bce_backward_reference<C>;
    if constexpr (simd && std::is_same_v<C, float>) block = HWY_DYNAMIC_DISPATCH(bce_backward_block);
    C one = 1;
    map_blocks<C, C, C, C, C, C>(LoopOrder::any, dx,
                                 {x, target, or_ones(weight, x, one), or_ones(pos_weight, x, one), dlosses}, block);
  });
}

constexpr DeviceType cpu = DeviceType::cpu;
const Register forward_reference{bce_with_logits_forward, cpu, "reference", &forward<false>};
const Register backward_reference{bce_with_logits_backward, cpu, "reference", &backward<false>};
const Register forward_simd{bce_with_logits_forward, cpu, "simd", &forward<true>, is_default};
const Register backward_simd{bce_with_logits_backward, cpu, "simd", &backward<true>, is_default};

}  // namespace
}  // namespace heed::kernels
#endif
