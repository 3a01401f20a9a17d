// The 16-bit floating-point formats: f16 (1 sign, 5 exponent, 10 fraction bits) and bf16 (1, 8, 7).
//
// Operations on them are computed in double, in which sums and products of either are exact or rounded to odd, and
// rounded once at the end.
#pragma once

#include "tools/gpusim/machine/instructions/float_rules.h"

namespace gpusim::GPUSIM_TARGET {

// Of |x|, whose exponent and fraction begin at bit `fraction_bits`, to a narrower format, without a branch.
GPUSIM_INLINE std::uint16_t float_to_f16(float x) {  // to the nearest, ties to even
  const std::uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
  const std::uint32_t normal = (magnitude - (112u << 23) + 0xFFF + (magnitude >> 13 & 1)) >> 13;
  // Adding 1/2 brings the fraction of a subnormal f16 to the lowest bits, rounded by the host's addition.
  const std::uint32_t subnormal = bits_of(from_bits<float>(magnitude) + 0.5f) - 0x3F000000;
  const std::uint32_t finite = magnitude < 0x38800000 ? subnormal : normal;
  const std::uint32_t large = magnitude > 0x7F800000 ? 0x7FFF : 0x7C00;
  const bool is_large = magnitude >= 0x477FF000;  // 65520 and up rounds to infinity
  return static_cast<std::uint16_t>((is_large ? large : finite) | (magnitude > 0x7F800000 ? 0 : sign));
}

GPUSIM_INLINE float f16_to_float(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half & 0x8000u} << 16, magnitude = half & 0x7FFFu;
  // As a float of 2^112 times less; the multiplication also brings subnormals right.
  const float scaled = from_bits<float>(magnitude << 13) * 0x1p112f;
  const std::uint32_t bits = magnitude >= 0x7C00 ? (magnitude << 13) | 0x7F800000 : bits_of(scaled);
  return from_bits<float>(bits | sign);
}

GPUSIM_INLINE std::uint16_t float_to_bf16(float x) {
  const std::uint32_t bits = bits_of(x);
  const std::uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  return static_cast<std::uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FFF : rounded);
}

GPUSIM_INLINE float bf16_to_float(std::uint16_t half) {
  return from_bits<float>(std::uint32_t{half} << 16);
}

// To f32 such that rounding further gives what rounding x at once would: ties and exact values cannot be faked.
GPUSIM_INLINE float round_to_odd(double x) {
  const float nearest = static_cast<float>(x);
  const auto back = static_cast<double>(nearest);
  if (back == x || x != x || (bits_of(nearest) & 1) != 0) return nearest;
  // The neighbour on the other side of x has an odd last bit.
  const bool away = back > x ? x > 0 : x < 0;  // nearest is larger in magnitude than x
  return from_bits<float>(away ? bits_of(nearest) - 1 : bits_of(nearest) + 1);
}

// a + b where the sum may need more than 53 bits.
GPUSIM_INLINE double sum_to_odd(double a, double b) {
  const double sum = a + b, part = sum - a;
  const double error = (a - (sum - part)) + (b - part);  // exact (Knuth)
  if (!(error > 0 || error < 0) || (bits_of(sum) & 1) != 0 || sum - sum != 0) return sum;
  const bool away = (error < 0) == (sum > 0);
  return from_bits<double>(away ? bits_of(sum) - 1 : bits_of(sum) + 1);
}

struct F16 {
  static constexpr std::uint16_t nan = 0x7FFF, sign = 0x8000, smallest_normal = 0x0400, one = 0x3C00;
  GPUSIM_INLINE static float widen(std::uint16_t x) { return f16_to_float(x); }
  GPUSIM_INLINE static std::uint16_t narrow(float x) { return float_to_f16(x); }
  GPUSIM_INLINE static std::uint16_t narrow(double x) { return float_to_f16(round_to_odd(x)); }
};

struct BF16 {
  static constexpr std::uint16_t nan = 0x7FFF, sign = 0x8000, smallest_normal = 0x0080, one = 0x3F80;
  GPUSIM_INLINE static float widen(std::uint16_t x) { return bf16_to_float(x); }
  GPUSIM_INLINE static std::uint16_t narrow(float x) { return float_to_bf16(x); }
  GPUSIM_INLINE static std::uint16_t narrow(double x) { return float_to_bf16(round_to_odd(x)); }
};

}  // namespace gpusim::GPUSIM_TARGET
