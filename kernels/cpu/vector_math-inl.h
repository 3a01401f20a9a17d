// exp, log, tanh, erf and their kin on f32 vectors, for use inside HWY_NAMESPACE.
//
// Against the exactly rounded value: exp, log, erfc below 2 ulp; tanh, erf, sigmoid below 4. Infinities, NaN, signed
// zeros and subnormals come out as from the C++ library. Highway's own contrib/math is not used: in the version at hand
// its Exp turns NaN into 0 and overflow into garbage, and Log knows neither 0 nor infinity. Polynomials of exp, log,
// tanh, sin, cos: S. Moshier, Cephes (netlib.org/cephes, single/*.c). Those of erf: fit_erf.py.

#if defined(HEED_VECTOR_MATH_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEED_VECTOR_MATH_INL_H
#undef HEED_VECTOR_MATH_INL_H
#else
#define HEED_VECTOR_MATH_INL_H
#endif

#include <cstdint>
#include <limits>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// c[0] x^n + ... + c[n], by Horner's rule.
template <class D, class V, class... C>
HWY_INLINE V polynomial(D d, V x, float first, C... rest) {
  V sum = hn::Set(d, first);
  ((sum = hn::MulAdd(sum, x, hn::Set(d, rest))), ...);
  return sum;
}

// exp(x - k ln 2), which lies within [sqrt(1/2), sqrt(2)] for the whole k nearest to x / ln 2.
template <class D, class V>
HWY_INLINE V exp_of_rest(D d, V x, V k) {
  V r = hn::NegMulAdd(k, hn::Set(d, 0.693359375f), x);  // ln 2 in two parts; the first is exact in 9 bits
  r = hn::NegMulAdd(k, hn::Set(d, -2.12194440e-4f), r);
  const V tail = polynomial(d, r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f,
                            1.6666665459e-1f, 5.0000001201e-1f);
  return hn::Add(hn::MulAdd(tail, hn::Mul(r, r), r), hn::Set(d, 1.0f));
}

template <class D, class V>
HWY_INLINE V vector_exp(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V inside = hn::Min(hn::Max(x, hn::Set(d, -105.0f)), hn::Set(d, 89.0f));  // beyond lie 0 and infinity
  const auto k = hn::NearestInt(hn::Mul(inside, hn::Set(d, 1.44269504f)));
  const V rest = exp_of_rest(d, inside, hn::ConvertTo(d, k));
  // 2^k in two factors, neither of which leaves the range of normal numbers.
  const auto half = hn::ShiftRight<1>(k);
  const auto bias = hn::Set(di, 127);
  const V scale1 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const V scale2 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(k, half), bias)));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Mul(hn::Mul(rest, scale1), scale2));
}

// The same for x <= 0 (and a little above), as softmax needs it, without a care for overflow and subnormals: below the
// logarithm of the smallest normal float it is 0. NaN stays NaN. 2^k goes straight into the exponent bits.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_of_nonpositive(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V magic = hn::Set(d, 12582912.0f);  // 1.5 * 2^23: adding it leaves the rounded k in the low bits
  const V shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), magic);
  const V rest = exp_of_rest(d, x, hn::Sub(shifted, magic));
  const V power = hn::BitCast(d, hn::Add(hn::ShiftLeft<23>(hn::BitCast(di, shifted)), hn::Set(di, 127 << 23)));
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, -87.33f)), hn::Zero(d), hn::Mul(rest, power));
}

// log(x) = e ln 2 + log(1 + f), 1 + f in [sqrt(1/2), sqrt(2)).
template <class D, class V>
HWY_INLINE V vector_log(D d, V x) {
  const hn::RebindToSigned<D> di;
  const auto is_small = hn::Lt(x, hn::Set(d, std::numeric_limits<float>::min()));
  const V normal = hn::IfThenElse(is_small, hn::Mul(x, hn::Set(d, 8388608.0f)), x);
  const auto bits = hn::BitCast(di, normal);
  const auto e_bits = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(di, 0x3f3504f3)));  // sqrt(1/2)
  const V e = hn::Sub(hn::ConvertTo(d, e_bits), hn::IfThenElseZero(is_small, hn::Set(d, 23.0f)));
  const V f = hn::Sub(hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(e_bits))), hn::Set(d, 1.0f));
  const V square = hn::Mul(f, f);
  const V cubic =
      polynomial(d, f, 7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                 -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f);
  V tail = hn::Mul(hn::Mul(cubic, f), square);
  tail = hn::MulAdd(e, hn::Set(d, -2.12194440e-4f), tail);
  tail = hn::NegMulAdd(square, hn::Set(d, 0.5f), tail);
  const V finite = hn::MulAdd(e, hn::Set(d, 0.693359375f), hn::Add(f, tail));
  const V infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  const V zero = hn::Zero(d);
  const V nan = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
  const V at_most_zero = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), nan);
  const V upper = hn::IfThenElse(hn::Lt(x, infinity), finite, x);  // infinity and NaN stay
  return hn::IfThenElse(hn::Le(x, zero), at_most_zero, upper);
}

template <class D, class V>
HWY_INLINE V vector_tanh(D d, V x) {
  const V magnitude = hn::Abs(x);
  const V one = hn::Set(d, 1.0f);
  const V square = hn::Mul(x, x);
  const V tail = polynomial(d, square, -5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                            -3.33332819422e-1f);
  const V near_zero = hn::MulAdd(hn::Mul(tail, square), x, x);
  const V power = vector_exp(d, hn::Add(magnitude, magnitude));
  const V outer = hn::Sub(one, hn::Div(hn::Set(d, 2.0f), hn::Add(power, one)));
  return hn::CopySign(hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0.625f)), near_zero, outer), x);
}

// With e = exp(-|x|) <= 1: 1 / (1 + e), or e / (1 + e) on the negative side. Nothing overflows, both tails keep
// precision.
template <class D, class V>
HWY_INLINE V vector_sigmoid(D d, V x) {
  const V e = vector_exp(d, hn::Neg(hn::Abs(x)));
  const V upper = hn::Div(hn::Set(d, 1.0f), hn::Add(hn::Set(d, 1.0f), e));
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(e, upper), upper);
}

// erfc(x) for x >= 0, given exp(-x^2).
template <class D, class V>
HWY_INLINE V vector_erfc(D d, V x, V exp_minus_square) {
  const V one = hn::Set(d, 1.0f);
  const V t = hn::Div(one, hn::MulAdd(x, hn::Set(d, 0.4f), one));
  const V scaled = polynomial(d, t, 0.041785527f, -0.142925993f, 0.0894116908f, 0.081714347f, 0.0841052458f,
                              0.191527516f, 0.20236817f, 0.226375327f, 0.225638226f);
  return hn::Mul(exp_minus_square, hn::Mul(t, scaled));
}

template <class D, class V>
HWY_INLINE V vector_erf(D d, V x) {
  const V magnitude = hn::Abs(x);
  const V square = hn::Mul(x, x);
  const V tail = polynomial(d, square, 7.85386146e-05f, -0.000801019371f, 0.00518832775f, -0.0268538129f, 0.112835854f,
                            -0.37612626f, 0.128379166f);
  const V one = hn::Set(d, 1.0f);
  const V outer = hn::Sub(one, vector_erfc(d, magnitude, vector_exp(d, hn::Neg(square))));
  return hn::IfThenElse(hn::Lt(magnitude, one), hn::MulAdd(tail, x, x), hn::CopySign(outer, x));
}

// The normal distribution function Phi(x) = erfc(-x / sqrt 2) / 2, given exp(-x^2 / 2). Precise in the lower tail too.
template <class D, class V>
HWY_INLINE V vector_normal_cdf(D d, V x, V exp_minus_half_square) {
  const V half = hn::Set(d, 0.5f);
  const V tail = hn::Mul(half, vector_erfc(d, hn::Mul(hn::Abs(x), hn::Set(d, 0.707106781f)), exp_minus_half_square));
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(hn::Set(d, 1.0f), tail));
}

// sin(2 pi v) and cos(2 pi v) for v in [0, 1), a multiple of 2^-24: the distance to the nearest quarter turn is exact.
template <class D, class V>
HWY_INLINE void vector_sin_cos_turns(D d, V v, V& sine, V& cosine) {
  const hn::RebindToSigned<D> di;
  const auto quarter = hn::NearestInt(hn::Mul(v, hn::Set(d, 4.0f)));
  const V turn = hn::NegMulAdd(hn::ConvertTo(d, quarter), hn::Set(d, 0.25f), v);
  const V angle = hn::Mul(turn, hn::Set(d, 6.28318531f));  // in [-pi / 4, pi / 4]
  const V square = hn::Mul(angle, angle);
  const V s = hn::MulAdd(hn::Mul(polynomial(d, square, -1.9515295891e-4f, 8.3321608736e-3f, -1.6666654611e-1f), square),
                         angle, angle);
  const V c_tail = polynomial(d, square, 2.443315711809948e-5f, -1.388731625493765e-3f, 4.166664568298827e-2f);
  const V c = hn::MulAdd(hn::Mul(c_tail, square), square, hn::NegMulAdd(hn::Set(d, 0.5f), square, hn::Set(d, 1.0f)));
  const auto one = hn::Set(di, 1);
  const auto is_odd = hn::MaskFromVec(hn::BitCast(d, hn::Neg(hn::And(quarter, one))));
  const V sine_sign = hn::BitCast(d, hn::ShiftLeft<30>(hn::And(quarter, hn::Set(di, 2))));
  const V cosine_sign = hn::BitCast(d, hn::ShiftLeft<30>(hn::And(hn::Add(quarter, one), hn::Set(di, 2))));
  sine = hn::Xor(hn::IfThenElse(is_odd, c, s), sine_sign);
  cosine = hn::Xor(hn::IfThenElse(is_odd, s, c), cosine_sign);
}

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
