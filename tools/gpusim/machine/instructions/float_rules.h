// The rules of PTX's floating-point arithmetic: flushing of subnormals, saturation, NaNs, directions of rounding.
#pragma once

#include <cmath>
#include <limits>

#include "tools/gpusim/machine/instructions/lanes.h"

#if !defined(__SSE2__)
#include <cfenv>
#endif

namespace gpusim::GPUSIM_TARGET {

template <class T>
struct FloatBits;
template <>
struct FloatBits<float> {
  using type = std::uint32_t;
  static constexpr type nan = 0x7FFFFFFF, sign = 0x80000000, magnitude = 0x7FFFFFFF, smallest_normal = 0x00800000;
};
template <>
struct FloatBits<double> {
  using type = std::uint64_t;
  static constexpr type nan = 0x7FF8000000000000, sign = type{1} << 63, magnitude = ~sign,
                        smallest_normal = type{1} << 52;
};

template <class T>
GPUSIM_INLINE typename FloatBits<T>::type bits_of(T x) {
  return std::bit_cast<typename FloatBits<T>::type>(x);
}
template <class T>
GPUSIM_INLINE T from_bits(typename FloatBits<T>::type bits) {
  return std::bit_cast<T>(bits);
}
GPUSIM_INLINE float canonical_nan() {
  return from_bits<float>(FloatBits<float>::nan);
}

// A subnormal number becomes a zero of its sign.
template <class T>
GPUSIM_INLINE T flush(T x) {
  const auto bits = bits_of(x);
  return from_bits<T>((bits & FloatBits<T>::magnitude) < FloatBits<T>::smallest_normal ? bits & FloatBits<T>::sign
                                                                                       : bits);
}

// Every NaN that arithmetic makes is the same one. (f64 keeps payloads on the hardware; x86 makes negative ones.)
template <class T>
GPUSIM_INLINE T canonical(T x) {
  return x != x ? from_bits<T>(FloatBits<T>::nan) : x;
}

template <class T>
GPUSIM_INLINE T saturate(T x) {  // to [0, 1]; NaN gives 0
  return x > 0 ? (x < 1 ? x : T{1}) : T{0};
}

// F's result under .ftz and .sat.
template <class F, bool flushes, bool saturates>
struct Ruled {
  template <class T, class... Rest>
  GPUSIM_INLINE static T apply(T a, Rest... rest) {
    T result = flushes ? F::apply(flush(a), flush(rest)...) : F::apply(a, rest...);
    result = canonical(result);
    if (flushes) result = flush(result);
    if (saturates) result = saturate(result);
    return result;
  }
};

// Numbered as in the processor's control register.
enum class Rounding : std::uint32_t { nearest, down, up, zero };

inline Rounding take_rounding(Binder& b) {
  const std::string_view name = b.take_one_of({"rn", "rm", "rp", "rz"});
  return name == "rm"   ? Rounding::down
         : name == "rp" ? Rounding::up
         : name == "rz" ? Rounding::zero
                        : Rounding::nearest;
}

// While it lives the host rounds in this direction. The barriers keep arithmetic on memory from moving out of it.
class RoundingScope {
 public:
#if defined(__SSE2__)
  GPUSIM_INLINE explicit RoundingScope(Rounding rounding) : before_(_mm_getcsr()) {
    _mm_setcsr((before_ & ~0x6000u) | static_cast<std::uint32_t>(rounding) << 13);
    asm volatile("" ::: "memory");
  }
  GPUSIM_INLINE ~RoundingScope() {
    asm volatile("" ::: "memory");
    _mm_setcsr(before_);
  }

 private:
  std::uint32_t before_;
#else
  explicit RoundingScope(Rounding rounding) {
    constexpr int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
    std::fesetround(modes[static_cast<int>(rounding)]);
    asm volatile("" ::: "memory");
  }
  ~RoundingScope() {
    asm volatile("" ::: "memory");
    std::fesetround(FE_TONEAREST);
  }
#endif
};

// The handler, under the direction of rounding in Op::variant.
template <Handler plain>
const Op* rounded(const Op* op, Warp& warp) {
  const RoundingScope scope(static_cast<Rounding>(op->variant));
  return plain(op, warp);
}

template <class F>
struct Forms {
  // handler<F under the rules>, chosen at decoding.
  template <template <class> class Make>
  static Handler pick(bool flushes, bool saturates, Rounding rounding) {
    const auto choose = [&]<class G>(G) -> Handler {
      return rounding == Rounding::nearest ? Make<G>::handler : rounded<Make<G>::handler>;
    };
    if (flushes) return saturates ? choose(Ruled<F, true, true>{}) : choose(Ruled<F, true, false>{});
    return saturates ? choose(Ruled<F, false, true>{}) : choose(Ruled<F, false, false>{});
  }
};

template <class T>
struct Unary {
  template <class F>
  struct Make {
    static constexpr Handler handler = unary<F, T, T>;
  };
};
template <class T>
struct Binary {
  template <class F>
  struct Make {
    static constexpr Handler handler = binary<F, T, T>;
  };
};
template <class T>
struct Ternary {
  template <class F>
  struct Make {
    static constexpr Handler handler = ternary<F, T, T>;
  };
};

}  // namespace gpusim::GPUSIM_TARGET
