// Vector code for f32 by Highway. This file is compiled once per instruction set; which one runs is decided when
// called.
#include "kernels/elementwise/elementwise_simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/elementwise_simd.cpp"
#include "hwy/foreach_target.h"  // before highway.h

#include <algorithm>

#include "hwy/highway.h"
#include "kernels/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {
namespace {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr D d;

// ---- The loops. The last, partial vector goes through a padded buffer, so that every element is computed by the same
// instructions wherever it lies.

template <V (*op)(V)>
void unary_block(std::int64_t, std::int64_t n, float* y, const float* x) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(op(hn::LoadU(d, x + i)), d, y + i);
  if (i == n) return;
  HWY_ALIGN float last[hn::MaxLanes(d)] = {};
  std::copy(x + i, x + n, last);
  hn::Store(op(hn::Load(d, last)), d, last);
  std::copy(last, last + (n - i), y + i);
}

template <V (*op)(V, V)>
void binary_block(std::int64_t, std::int64_t n, float* y, const float* a, const float* b) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(op(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, y + i);
  if (i == n) return;
  HWY_ALIGN float last_a[hn::MaxLanes(d)] = {};
  HWY_ALIGN float last_b[hn::MaxLanes(d)] = {};
  std::copy(a + i, a + n, last_a);
  std::copy(b + i, b + n, last_b);
  hn::Store(op(hn::Load(d, last_a), hn::Load(d, last_b)), d, last_a);
  std::copy(last_a, last_a + (n - i), y + i);
}

HWY_INLINE V constant(float value) {
  return hn::Set(d, value);
}
HWY_INLINE V zero() {
  return hn::Zero(d);
}
HWY_INLINE V one() {
  return constant(1.0f);
}

// ---- Functions.

HWY_INLINE V neg(V x) {
  return hn::Neg(x);
}
HWY_INLINE V abs(V x) {
  return hn::Abs(x);
}
HWY_INLINE V relu(V x) {
  return hn::IfThenElse(hn::Lt(x, zero()), zero(), x);
}
HWY_INLINE V exp(V x) {
  return vector_exp(d, x);
}
HWY_INLINE V log(V x) {
  return vector_log(d, x);
}
HWY_INLINE V sqrt(V x) {
  return hn::Sqrt(x);
}
HWY_INLINE V rsqrt(V x) {
  return hn::Div(one(), hn::Sqrt(x));
}
HWY_INLINE V tanh(V x) {
  return vector_tanh(d, x);
}
HWY_INLINE V erf(V x) {
  return vector_erf(d, x);
}
HWY_INLINE V sigmoid(V x) {
  return vector_sigmoid(d, x);
}
HWY_INLINE V silu(V x) {
  return hn::Mul(x, sigmoid(x));
}

HWY_INLINE V exp_minus_half_square(V x) {
  return exp(hn::Mul(constant(-0.5f), hn::Mul(x, x)));
}
HWY_INLINE V gelu(V x) {
  return hn::Mul(x, vector_normal_cdf(d, x, exp_minus_half_square(x)));
}

// The tanh form is x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3), because (1 + tanh u) / 2 = sigmoid(2 u).
constexpr float two_sqrt_two_over_pi = 1.59576912f;
HWY_INLINE V gelu_tanh_gate(V x) {
  const V stretch = hn::MulAdd(constant(0.044715f), hn::Mul(x, x), one());
  return sigmoid(hn::Mul(hn::Mul(constant(two_sqrt_two_over_pi), x), stretch));
}
HWY_INLINE V gelu_tanh(V x) {
  return hn::Mul(x, gelu_tanh_gate(x));
}

// ---- Arithmetic.

HWY_INLINE V add(V a, V b) {
  return hn::Add(a, b);
}
HWY_INLINE V sub(V a, V b) {
  return hn::Sub(a, b);
}
HWY_INLINE V mul(V a, V b) {
  return hn::Mul(a, b);
}
HWY_INLINE V div(V a, V b) {
  return hn::Div(a, b);
}
// When b is NaN the comparison is false and b is taken.
HWY_INLINE V maximum(V a, V b) {
  return hn::IfThenElse(hn::Or(hn::Gt(a, b), hn::IsNaN(a)), a, b);
}
HWY_INLINE V minimum(V a, V b) {
  return hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::IsNaN(a)), a, b);
}

// ---- Backwards: (x or y, dy) to dx.

HWY_INLINE V relu_backward(V x, V dy) {
  return hn::IfThenElse(hn::Le(x, zero()), zero(), dy);
}
HWY_INLINE V abs_backward(V x, V dy) {
  const V sign = hn::IfThenElse(hn::Gt(x, zero()), one(), hn::IfThenElseZero(hn::Lt(x, zero()), constant(-1.0f)));
  return hn::Mul(dy, sign);
}
HWY_INLINE V tanh_backward(V y, V dy) {
  return hn::Mul(dy, hn::NegMulAdd(y, y, one()));
}
HWY_INLINE V sigmoid_backward(V y, V dy) {
  return hn::Mul(dy, hn::Mul(y, hn::Sub(one(), y)));
}
HWY_INLINE V silu_backward(V x, V dy) {
  const V s = sigmoid(x);
  return hn::Mul(dy, hn::Mul(s, hn::MulAdd(x, hn::Sub(one(), s), one())));
}
HWY_INLINE V gelu_backward(V x, V dy) {
  const V e = exp_minus_half_square(x);
  const V density = hn::Mul(e, constant(0.398942280f));
  return hn::Mul(dy, hn::MulAdd(x, density, vector_normal_cdf(d, x, e)));
}
HWY_INLINE V gelu_tanh_backward(V x, V dy) {
  const V s = gelu_tanh_gate(x);
  const V stretch = hn::MulAdd(constant(3 * 0.044715f), hn::Mul(x, x), one());
  const V steepness =
      hn::Mul(hn::Mul(x, hn::Mul(s, hn::Sub(one(), s))), hn::Mul(constant(two_sqrt_two_over_pi), stretch));
  return hn::Mul(dy, hn::Add(s, steepness));
}

const SimdBlocks* blocks() {
  static constexpr SimdBlocks table = {
      .neg = &unary_block<neg>,
      .abs = &unary_block<abs>,
      .relu = &unary_block<relu>,
      .exp = &unary_block<exp>,
      .log = &unary_block<log>,
      .sqrt = &unary_block<sqrt>,
      .rsqrt = &unary_block<rsqrt>,
      .tanh = &unary_block<tanh>,
      .erf = &unary_block<erf>,
      .sigmoid = &unary_block<sigmoid>,
      .silu = &unary_block<silu>,
      .gelu = &unary_block<gelu>,
      .gelu_tanh = &unary_block<gelu_tanh>,
      .add = &binary_block<add>,
      .sub = &binary_block<sub>,
      .mul = &binary_block<mul>,
      .div = &binary_block<div>,
      .maximum = &binary_block<maximum>,
      .minimum = &binary_block<minimum>,
      .relu_backward = &binary_block<relu_backward>,
      .abs_backward = &binary_block<abs_backward>,
      .tanh_backward = &binary_block<tanh_backward>,
      .sigmoid_backward = &binary_block<sigmoid_backward>,
      .silu_backward = &binary_block<silu_backward>,
      .gelu_backward = &binary_block<gelu_backward>,
      .gelu_tanh_backward = &binary_block<gelu_tanh_backward>,
  };
  return &table;
}

}  // namespace
}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {
HWY_EXPORT(blocks);
}
const SimdBlocks& simd_blocks() {
  return *HWY_DYNAMIC_DISPATCH(blocks)();
}
}  // namespace heed::kernels
#endif
