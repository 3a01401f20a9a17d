// What integer instructions compute in each lane: structs with `apply`, for the handlers of lanes.h.
#pragma once

#include <limits>
#include <type_traits>

#include "tools/gpusim/machine/instructions/lanes.h"

namespace gpusim::GPUSIM_TARGET::integer_operations {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

// Twice as wide, with the same sign.
template <class T>
struct WiderType;
template <>
struct WiderType<std::uint16_t> {
  using type = std::uint32_t;
};
template <>
struct WiderType<std::int16_t> {
  using type = std::int32_t;
};
template <>
struct WiderType<std::uint32_t> {
  using type = std::uint64_t;
};
template <>
struct WiderType<std::int32_t> {
  using type = std::int64_t;
};
template <>
struct WiderType<std::uint64_t> {
  using type = unsigned __int128;
};
template <>
struct WiderType<std::int64_t> {
  using type = __int128;
};
template <class T>
using Wider = typename WiderType<T>::type;

// Sums and products wrap around: they are computed without sign. 32 bits at least, or C++ would promote to a signed int.
template <class T>
using Modular = std::conditional_t<sizeof(T) < 4, std::uint32_t, Unsigned<T>>;

struct Add {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(Modular<T>(a) + Modular<T>(b));
  }
};
struct Subtract {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(Modular<T>(a) - Modular<T>(b));
  }
};
struct AddSaturated {
  static std::int32_t apply(std::int32_t a, std::int32_t b) { return clamp(std::int64_t{a} + b); }
  static std::int32_t clamp(std::int64_t sum) {
    constexpr std::int64_t low = std::numeric_limits<std::int32_t>::min(),
                           high = std::numeric_limits<std::int32_t>::max();
    return static_cast<std::int32_t>(sum < low ? low : sum > high ? high : sum);
  }
};
struct SubtractSaturated {
  static std::int32_t apply(std::int32_t a, std::int32_t b) { return AddSaturated::clamp(std::int64_t{a} - b); }
};
struct MultiplyLow {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(Modular<T>(a) * Modular<T>(b));
  }
};
struct MultiplyHigh {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>((Wider<T>(a) * Wider<T>(b)) >> (8 * sizeof(T)));
  }
};
struct MultiplyWide {
  template <class T>
  static Wider<T> apply(T a, T b) {
    return static_cast<Wider<T>>(Wider<T>(a) * Wider<T>(b));
  }
};
// Division by zero gives all ones, as on the hardware (PTX leaves it open).
struct Divide {
  template <class T>
  static T apply(T a, T b) {
    if (b == 0) return static_cast<T>(~T{0});
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) return static_cast<T>(0 - Modular<T>(a));
    }
    return static_cast<T>(a / b);
  }
};
struct Remainder {
  template <class T>
  static T apply(T a, T b) {
    if (b == 0) return a;
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) return 0;
    }
    return static_cast<T>(a % b);
  }
};
struct Minimum {
  template <class T>
  static T apply(T a, T b) {
    return a < b ? a : b;
  }
};
struct Maximum {
  template <class T>
  static T apply(T a, T b) {
    return a > b ? a : b;
  }
};
struct MinimumRelu {
  static std::int32_t apply(std::int32_t a, std::int32_t b) { return Maximum::apply(Minimum::apply(a, b), 0); }
};
struct MaximumRelu {
  static std::int32_t apply(std::int32_t a, std::int32_t b) { return Maximum::apply(Maximum::apply(a, b), 0); }
};
template <class F, class T>  // two of 16 bits in a word
struct Packed {
  static std::uint32_t apply(std::uint32_t a, std::uint32_t b) {
    const auto low = static_cast<std::uint16_t>(F::apply(static_cast<T>(a), static_cast<T>(b)));
    const auto high = static_cast<std::uint16_t>(F::apply(static_cast<T>(a >> 16), static_cast<T>(b >> 16)));
    return low | std::uint32_t{high} << 16;
  }
};
struct Absolute {
  template <class T>
  static T apply(T a) {
    return static_cast<T>(a < 0 ? 0 - Modular<T>(a) : Modular<T>(a));
  }
};
struct Negate {
  template <class T>
  static T apply(T a) {
    return static_cast<T>(0 - Modular<T>(a));
  }
};
template <class Product>
struct MultiplyAdd {
  template <class T, class C>
  static C apply(T a, T b, C c) {
    return Add::apply(static_cast<C>(Product::apply(a, b)), c);
  }
};
struct MultiplyAddHighSaturated {
  static std::int32_t apply(std::int32_t a, std::int32_t b, std::int32_t c) {
    return AddSaturated::apply(MultiplyHigh::apply(a, b), c);
  }
};
struct SumOfDifferences {
  template <class T>
  static T apply(T a, T b, T c) {
    return Add::apply(c, a < b ? Subtract::apply(b, a) : Subtract::apply(a, b));
  }
};

template <class T>
T low_24(T a) {
  if constexpr (std::is_signed_v<T>) return static_cast<T>(static_cast<std::uint32_t>(a) << 8) >> 8;
  return a & 0xFFFFFF;
}
struct Multiply24Low {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(std::int64_t{low_24(a)} * low_24(b));
  }
};
struct Multiply24High {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>((std::int64_t{low_24(a)} * low_24(b)) >> 16);
  }
};

// Dot products of bytes: of four with four, or of two 16-bit numbers with the low or the high two bytes.
template <class A, class B>
struct Dot4 {
  static std::uint32_t apply(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
    for (int i = 0; i < 32; i += 8)
      c += static_cast<std::uint32_t>(int{static_cast<A>(a >> i)} * int{static_cast<B>(b >> i)});
    return c;
  }
};
template <class A, class B, int first>
struct Dot2 {
  static std::uint32_t apply(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
    for (int i = 0; i < 2; ++i) {
      c += static_cast<std::uint32_t>(int{static_cast<A>(a >> (16 * i))} * int{static_cast<B>(b >> (8 * (i + first)))});
    }
    return c;
  }
};

}  // namespace gpusim::GPUSIM_TARGET::integer_operations
