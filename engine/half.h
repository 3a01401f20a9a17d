// IEEE half precision, which heed reads from files and does not compute in.
#pragma once

#include <bit>
#include <cstdint>

namespace heed {

// Exact: every half is a float. The exponents' biases differ by 127 - 15 = 112, hence the factor, which also turns the
// subnormals of the one format into normal numbers of the other.
inline float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t magnitude = (half & 0x7fffu) << 13;
  const bool is_finite = (half & 0x7c00u) != 0x7c00u;
  const std::uint32_t bits =
      is_finite ? std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f) : magnitude | 0x7f800000u;
  return std::bit_cast<float>(sign | bits);
}

}  // namespace heed
