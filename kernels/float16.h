// IEEE half precision: 5 bits of exponent, 10 of mantissa. Storage only; convert to float to compute.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace heed {

struct Float16 {
  std::uint16_t bits = 0;

  Float16() = default;

  // Rounds to nearest, ties to even: 65,520 and above become infinite. A NaN stays a NaN.
  constexpr explicit Float16(float value) {
#ifdef __CUDA_ARCH__  // an instruction, where the lines below take registers that kernels do not have
    if (!std::is_constant_evaluated()) {
      asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
      return;
    }
#endif
    const auto word = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = word & 0x7fffffffu;
    bits = static_cast<std::uint16_t>((word >> 16 & 0x8000u) | rounded(magnitude));
  }

  // Exact: every half is a float. The exponents' biases differ by 127 - 15 = 112, hence the factor, which also turns the
  // subnormals of the one format into normal numbers of the other.
  constexpr explicit operator float() const {
#ifdef __CUDA_ARCH__
    if (!std::is_constant_evaluated()) {
      float value;
      asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
      return value;
    }
#endif
    const std::uint32_t sign = (bits & 0x8000u) << 16, magnitude = (bits & 0x7fffu) << 13;
    const bool is_finite = (bits & 0x7c00u) != 0x7c00u;
    return std::bit_cast<float>(sign |
                                (is_finite ? std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f)
                                           : magnitude | 0x7f800000u));
  }

 private:
  // Of a float without its sign, as bits.
  static constexpr std::uint32_t rounded(std::uint32_t magnitude) {
    if (magnitude > 0x7f800000u) return 0x7e00u | (magnitude >> 13 & 0x3ffu);
    if (magnitude >= std::bit_cast<std::uint32_t>(65520.0f)) return 0x7c00u;
    // Subnormal: between 0.5 and 1, floats lie as far apart as subnormal halves do.
    if (magnitude < std::bit_cast<std::uint32_t>(0x1p-14f))
      return std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - std::bit_cast<std::uint32_t>(0.5f);
    return (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  }
};

}  // namespace heed
