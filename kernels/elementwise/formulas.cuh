// The formulas of the elementwise kernels for one element, f32 or f64. They follow elementwise_cpu.cpp; CUDA's expf, logf,
// erff... stay within 2 ulp (CUDA C++ programming guide, "Mathematical functions"), and no fast-math variant is used.
#pragma once

#include <cstdint>
#include <type_traits>

namespace heed::kernels::formulas {

inline constexpr double sqrt_half = 0.70710678118654752440;             // 1 / sqrt(2)
inline constexpr double inverse_sqrt_two_pi = 0.39894228040143267794;   // 1 / sqrt(2 pi)
inline constexpr double two_sqrt_two_over_pi = 1.59576912160573071176;  // 2 sqrt(2 / pi)
inline constexpr double gelu_cubic = 0.044715;

// The type in which T is added and multiplied: unsigned for integers, where wrapping around is defined.
template <class T>
__device__ auto wrapping(T x) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<std::make_unsigned_t<T>>(x);
  else
    return x;
}

template <class T>
__device__ T sign_of(T x) {
  return T(x > 0) - T(x < 0);
}

// With e = exp(-|x|) <= 1 nothing overflows.
template <class T>
__device__ T sigmoid_of(T x) {
  const T e = ::exp(-::fabs(x));
  return (x < 0 ? e : T(1)) / (T(1) + e);
}

template <class T>
__device__ T normal_cdf(T x) {
  return ::erfc(-x * T(sqrt_half)) / 2;
}

template <class T>
__device__ T normal_density(T x) {
  return ::exp(-x * x / 2) * T(inverse_sqrt_two_pi);
}

// The tanh form of gelu is x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
template <class T>
__device__ T gelu_tanh_gate(T x) {
  return sigmoid_of(T(two_sqrt_two_over_pi) * x * (1 + T(gelu_cubic) * x * x));
}

template <class T>
__device__ T gelu_tanh_slope(T x) {
  const T s = gelu_tanh_gate(x);
  return s + x * s * (1 - s) * T(two_sqrt_two_over_pi) * (1 + T(3 * gelu_cubic) * x * x);
}

template <class T>
__device__ T silu_slope(T x) {
  const T s = sigmoid_of(x);
  return s * (1 + x * (1 - s));
}

}  // namespace heed::kernels::formulas
