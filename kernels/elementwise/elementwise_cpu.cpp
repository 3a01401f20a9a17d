// Arithmetic, functions and their fused backwards, each in two variants:
//   reference  a line of scalar C++, below; every dtype of the contract
//   simd       the default: f32 and the halves through elementwise_simd.cpp, other dtypes as the reference
#include <cmath>
#include <numbers>

#include "kernels/cpu/loops.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/elementwise_simd.h"

namespace heed::kernels {
namespace {

constexpr auto cpu = DeviceType::cpu;

// ---- The loops. ivdep: an input may be the output's own memory, and even then no iteration depends on another.

template <auto op, class C>
void unary_block(std::int64_t, std::int64_t n, C* y, const C* x) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<C>(op(x[i]));
}

template <auto op, class C>
void binary_block(std::int64_t, std::int64_t n, C* y, const C* a, const C* b) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<C>(op(a[i], b[i]));
}

template <auto op, class ComputeTypes>
void unary(View x, View y, Stream) {
  with_compute_type(ComputeTypes{}, x.dtype,
                    [&]<class C>(C) { map_blocks<C, C>(LoopOrder::any, y, {x}, &unary_block<op, C>); });
}

template <auto op, class ComputeTypes>
void binary(View a, View b, View y, Stream) {
  with_compute_type(ComputeTypes{}, a.dtype, [&]<class C>(C) {
    map_blocks<C, C, C>(LoopOrder::any, y, {a, b}, &binary_block<op, C>);
  });
}

bool computes_in_f32(const View& x) {
  return x.dtype == Dtype::f32 || is_half(x.dtype);
}

template <auto op, UnaryBlock SimdBlocks::*block, class ComputeTypes>
void unary_simd(View x, View y, Stream stream) {
  if (!computes_in_f32(x)) return unary<op, ComputeTypes>(x, y, stream);
  map_blocks<float, float>(LoopOrder::any, y, {x}, simd_blocks().*block);
}

template <auto op, BinaryBlock SimdBlocks::*block, class ComputeTypes>
void binary_simd(View a, View b, View y, Stream stream) {
  if (!computes_in_f32(a)) return binary<op, ComputeTypes>(a, b, y, stream);
  map_blocks<float, float, float>(LoopOrder::any, y, {a, b}, simd_blocks().*block);
}

// ---- Formulas used more than once.

// The type in which T is added and multiplied: unsigned for integers, where wrapping around is defined.
template <class T>
auto wrapping(T x) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<std::make_unsigned_t<T>>(x);
  else
    return x;
}

template <class T>
T negated(T x) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(0 - wrapping(x));
  else
    return -x;
}

template <class T>
T magnitude(T x) {
  if constexpr (std::is_integral_v<T>)
    return x < 0 ? negated(x) : x;
  else
    return std::abs(x);
}

template <class T>
T sign_of(T x) {
  return T(x > 0) - T(x < 0);
}

// With e = exp(-|x|) <= 1 nothing overflows.
template <class T>
T sigmoid_of(T x) {
  const T e = std::exp(-std::abs(x));
  return (x < 0 ? e : T(1)) / (T(1) + e);
}

template <class T>
T normal_cdf(T x) {
  return std::erfc(-x * (std::numbers::sqrt2_v<T> / 2)) / 2;
}

template <class T>
T normal_density(T x) {
  return std::exp(-x * x / 2) * (std::numbers::inv_sqrtpi_v<T> * std::numbers::sqrt2_v<T> / 2);
}

// The tanh form of gelu is x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3), because (1 + tanh u) / 2 =
// sigmoid(2 u).
template <class T>
inline constexpr T two_sqrt_two_over_pi = 2 * std::numbers::sqrt2_v<T>* std::numbers::inv_sqrtpi_v<T>;

template <class T>
T gelu_tanh_gate(T x) {
  return sigmoid_of(two_sqrt_two_over_pi<T> * x * (1 + T(0.044715) * x * x));
}

template <class T>
T gelu_tanh_slope(T x) {
  const T s = gelu_tanh_gate(x);
  return s + x * s * (1 - s) * two_sqrt_two_over_pi<T> * (1 + T(3 * 0.044715) * x * x);
}

template <class T>
T silu_slope(T x) {
  const T s = sigmoid_of(x);
  return s * (1 + x * (1 - s));
}

// ---- The operations.

template <auto op, auto simd, class ComputeTypes = FloatingComputeTypes>
struct RegisterUnary {
  explicit RegisterUnary(Kernel<Unary>& slot) {
    Register(slot, cpu, "reference", &unary<op, ComputeTypes>);
    Register(slot, cpu, "simd", &unary_simd<op, simd, ComputeTypes>, is_default);
  }
};

template <auto op, auto simd, class ComputeTypes = FloatingComputeTypes>
struct RegisterBinary {
  explicit RegisterBinary(Kernel<Binary>& slot) {
    Register(slot, cpu, "reference", &binary<op, ComputeTypes>);
    Register(slot, cpu, "simd", &binary_simd<op, simd, ComputeTypes>, is_default);
  }
};

const RegisterUnary<[](auto x) { return negated(x); }, &SimdBlocks::neg, SignedComputeTypes> register_neg{neg};
const RegisterUnary<[](auto x) { return magnitude(x); }, &SimdBlocks::abs, SignedComputeTypes> register_abs{abs};
const RegisterUnary<[](auto x) { return x < 0 ? decltype(x)(0) : x; }, &SimdBlocks::relu, SignedComputeTypes>
    register_relu{relu};
const RegisterUnary<[](auto x) { return std::exp(x); }, &SimdBlocks::exp> register_exp{exp};
const RegisterUnary<[](auto x) { return std::log(x); }, &SimdBlocks::log> register_log{log};
const RegisterUnary<[](auto x) { return std::sqrt(x); }, &SimdBlocks::sqrt> register_sqrt{sqrt};
const RegisterUnary<[](auto x) { return std::tanh(x); }, &SimdBlocks::tanh> register_tanh{tanh};
const RegisterUnary<[](auto x) { return std::erf(x); }, &SimdBlocks::erf> register_erf{erf};
const RegisterUnary<[](auto x) { return 1 / std::sqrt(x); }, &SimdBlocks::rsqrt> register_rsqrt{rsqrt};
const RegisterUnary<[](auto x) { return sigmoid_of(x); }, &SimdBlocks::sigmoid> register_sigmoid{sigmoid};
const RegisterUnary<[](auto x) { return x * sigmoid_of(x); }, &SimdBlocks::silu> register_silu{silu};
const RegisterUnary<[](auto x) { return x * normal_cdf(x); }, &SimdBlocks::gelu> register_gelu{gelu};
const RegisterUnary<[](auto x) { return x * gelu_tanh_gate(x); }, &SimdBlocks::gelu_tanh> register_gelu_tanh{gelu_tanh};

const RegisterBinary<[](auto a, auto b) { return wrapping(a) + wrapping(b); }, &SimdBlocks::add, NumericComputeTypes>
    register_add{add};
const RegisterBinary<[](auto a, auto b) { return wrapping(a) - wrapping(b); }, &SimdBlocks::sub, NumericComputeTypes>
    register_sub{sub};
const RegisterBinary<[](auto a, auto b) { return wrapping(a) * wrapping(b); }, &SimdBlocks::mul, NumericComputeTypes>
    register_mul{mul};
const RegisterBinary<[](auto a, auto b) { return a / b; }, &SimdBlocks::div> register_div{div};
// No vector code: the library's powf is as fast as exp(b log a) in f64 vectors turned out to be.
const Register register_pow{pow, cpu, "reference",
                            &binary<[](auto a, auto b) { return std::pow(a, b); }, FloatingComputeTypes>, is_default};
// a != a says that a is NaN; when b is, no comparison holds and b is taken.
const RegisterBinary<[](auto a, auto b) { return (a > b || a != a ? a : b); }, &SimdBlocks::maximum,
                     NumericComputeTypes>
    register_maximum{maximum};
const RegisterBinary<[](auto a, auto b) { return a < b || a != a ? a : b; }, &SimdBlocks::minimum, NumericComputeTypes>
    register_minimum{minimum};

const RegisterBinary<[](auto x, auto dy) { return x <= 0 ? decltype(dy)(0) : dy; }, &SimdBlocks::relu_backward>
    register_relu_backward{relu_backward};
const RegisterBinary<[](auto x, auto dy) { return dy * sign_of(x); }, &SimdBlocks::abs_backward> register_abs_backward{
    abs_backward};
const RegisterBinary<[](auto y, auto dy) { return dy * (1 - y * y); }, &SimdBlocks::tanh_backward>
    register_tanh_backward{tanh_backward};
const RegisterBinary<[](auto y, auto dy) { return dy * (y * (1 - y)); }, &SimdBlocks::sigmoid_backward>
    register_sigmoid_backward{sigmoid_backward};
const RegisterBinary<[](auto x, auto dy) { return dy * silu_slope(x); }, &SimdBlocks::silu_backward>
    register_silu_backward{silu_backward};
const RegisterBinary<[](auto x, auto dy) { return dy * (normal_cdf(x) + x * normal_density(x)); },
                     &SimdBlocks::gelu_backward>
    register_gelu_backward{gelu_backward};
const RegisterBinary<[](auto x, auto dy) { return dy * gelu_tanh_slope(x); }, &SimdBlocks::gelu_tanh_backward>
    register_gelu_tanh_backward{gelu_tanh_backward};

}  // namespace
}  // namespace heed::kernels
