// A conversion of one number, of any type to any other, by all the rules of cvt.
#pragma once

#include "tools/gpusim/machine/instructions/half_formats.h"

namespace gpusim::GPUSIM_TARGET::conversion {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i64 = std::int64_t;

enum class ToInteger : std::uint8_t { none, nearest, zero, down, up };

struct Conversion {
  Type to, from;
  unsigned to_bytes, from_bytes;  // of the registers
  Rounding rounding = Rounding::nearest;
  ToInteger integral = ToInteger::none;
  bool flushes = false, saturates = false, relu = false, finite = false;
};

GPUSIM_INLINE double round_integral(ToInteger mode, double x) {
  switch (mode) {
    case ToInteger::nearest:
      return __builtin_rint(x);  // the host rounds to nearest here
    case ToInteger::zero:
      return __builtin_trunc(x);
    case ToInteger::down:
      return __builtin_floor(x);
    case ToInteger::up:
      return __builtin_ceil(x);
    default:
      return x;
  }
}

struct Range {
  __int128 low, high;
};
GPUSIM_INLINE Range range_of(Type type) {
  const unsigned bits = 8 * ptx::bytes_of(type);
  const __int128 one = 1;
  return ptx::is_signed(type) ? Range{-(one << (bits - 1)), (one << (bits - 1)) - 1} : Range{0, (one << bits) - 1};
}

inline bool is_integer(Type type) {
  return type >= Type::u8 && type <= Type::s64;
}

// A 16-bit result in any direction: the nearest one, moved by a step where the direction wants another.
template <class H>
inline u16 narrow_directed(double x, Rounding rounding) {
  const u16 nearest = H::narrow(x);
  if (x != x) return H::nan;
  const double back = H::widen(nearest);
  if (rounding == Rounding::nearest || back == x) return nearest;
  if (rounding == Rounding::zero) return std::fabs(back) > std::fabs(x) ? static_cast<u16>(nearest - 1) : nearest;
  const bool want_less = rounding == Rounding::down;
  if (want_less ? back < x : back > x) return nearest;
  // One step towards -inf or +inf.
  const bool towards_zero = want_less == !(nearest & 0x8000);
  if ((nearest & 0x7FFF) == 0) return want_less ? 0x8001 : 0x0001;
  return static_cast<u16>(towards_zero ? nearest - 1 : nearest + 1);
}

inline double read_float(Type type, u64 bits, bool flushes) {
  switch (type) {
    case Type::f16:
      return F16::widen(static_cast<u16>(bits));
    case Type::bf16:
      return BF16::widen(static_cast<u16>(bits));
    case Type::f32: {
      const float x = from_bits<float>(static_cast<u32>(bits));
      return flushes ? flush(x) : x;
    }
    default:
      return from_bits<double>(bits);
  }
}

inline u64 write_float(const Conversion& c, double x) {
  if (c.saturates) x = saturate(x);
  if (c.relu && !(x > 0)) x = x != x ? x : 0;
  switch (c.to) {
    case Type::f16: {
      const u16 result = narrow_directed<F16>(x, c.rounding);
      return c.finite && (result & 0x7FFF) == 0x7C00 ? (result & 0x8000) | 0x7BFF : result;
    }
    case Type::bf16: {
      const u16 result = narrow_directed<BF16>(x, c.rounding);
      return c.finite && (result & 0x7FFF) == 0x7F80 ? (result & 0x8000) | 0x7F7F : result;
    }
    case Type::f32: {
      volatile double in = x;  // within the caller's direction of rounding
      const float result = canonical(static_cast<float>(in));
      return bits_of(c.flushes ? flush(result) : result);
    }
    default:
      return bits_of(canonical(x));
  }
}

inline u64 to_integer(const Conversion& c, double x) {
  const Range range = range_of(c.to);
  if (x != x) {
    const bool wide = c.from == Type::f64 || ptx::bytes_of(c.to) == 8;
    return wide ? u64{1} << (8 * ptx::bytes_of(c.to) - 1) : 0;
  }
  const double rounded = round_integral(c.integral == ToInteger::none ? ToInteger::zero : c.integral, x);
  if (rounded <= static_cast<double>(range.low)) return static_cast<u64>(range.low);
  if (rounded >= static_cast<double>(range.high)) return static_cast<u64>(range.high);
  return static_cast<u64>(static_cast<__int128>(rounded));
}

inline u64 from_integer(const Conversion& c, __int128 value) {
  if (!is_integer(c.to)) {
    if (c.to == Type::f64) {
      volatile i64 whole = static_cast<i64>(value);
      return bits_of(value > static_cast<__int128>(INT64_MAX) ? static_cast<double>(static_cast<u64>(value))
                                                              : static_cast<double>(whole));
    }
    if (c.to == Type::f32) {
      volatile u64 whole = static_cast<u64>(value < 0 ? -value : value);
      return bits_of(value < 0 ? static_cast<float>(static_cast<i64>(-static_cast<__int128>(whole)))
                               : static_cast<float>(whole));
    }
    return write_float(c, static_cast<double>(value));
  }
  if (c.saturates) {
    const Range range = range_of(c.to);
    value = value < range.low ? range.low : value > range.high ? range.high : value;
  }
  return static_cast<u64>(value);
}

inline __int128 read_integer(Type type, u64 bits) {
  switch (type) {
    case Type::s8:
      return static_cast<std::int8_t>(bits);
    case Type::s16:
      return static_cast<std::int16_t>(bits);
    case Type::s32:
      return static_cast<std::int32_t>(bits);
    case Type::s64:
      return static_cast<i64>(bits);
    default: {
      const unsigned width = 8 * ptx::bytes_of(type);
      return static_cast<__int128>(width == 64 ? bits : bits & ((u64{1} << width) - 1));
    }
  }
}

// A result narrower than its register fills it by its sign.
inline u64 extend(Type type, u64 bits) {
  return is_integer(type) ? static_cast<u64>(read_integer(type, bits)) : bits;
}

inline u64 convert_one(const Conversion& c, u64 bits) {
  u64 result = 0;
  if (is_integer(c.from)) {
    result = from_integer(c, read_integer(c.from, bits));
  } else {
    const double x = read_float(c.from, bits, c.flushes);
    result = is_integer(c.to) ? to_integer(c, x) : write_float(c, round_integral(c.integral, x));
  }
  return extend(c.to, result);
}

}  // namespace gpusim::GPUSIM_TARGET::conversion
