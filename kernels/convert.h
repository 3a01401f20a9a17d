// Conversion between compute types (kernels/dtypes.h), with every case defined: see the contract of copy.
#pragma once

#include <limits>
#include <type_traits>

namespace heed::kernels {

template <class To, class From>
constexpr To convert(From value) {
  if constexpr (std::is_same_v<To, bool>) {
    return value != From(0);
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    constexpr To lowest = std::numeric_limits<To>::min(), highest = std::numeric_limits<To>::max();
    if (value != value) return 0;
    if (value <= static_cast<From>(lowest)) return lowest;
    if (value >= static_cast<From>(highest)) return highest;  // the bound may round up to the first value outside
    return static_cast<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace heed::kernels
