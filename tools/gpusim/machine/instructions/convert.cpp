// cvt between all scalar types, and to the packed 16-bit formats and tf32.
//
// What kernels do often has a vector loop of its own; everything else goes through `convert_any`, one lane after the
// other, which knows all types and rules.
#include "tools/gpusim/machine/instructions/conversion.h"

namespace gpusim::GPUSIM_TARGET {

namespace {

using namespace conversion;

const Op* convert_any(const Op* op, Warp& warp) {
  const auto& c = *static_cast<const Conversion*>(op->extra);
  const std::byte* in = warp.in<std::byte>(op->slot[1]);
  std::byte* out = warp.out<std::byte>(op->slot[0]);
  // Only the host's own conversions to f32 and f64 follow its direction of rounding; all else expects the usual one.
  const bool by_host = c.integral == ToInteger::none && (c.to == Type::f32 || c.to == Type::f64);
  const RoundingScope scope(by_host ? c.rounding : Rounding::nearest);
  each_lane(warp.mask, [&](unsigned l) {
    u64 bits = 0;
    std::memcpy(&bits, in + l * c.from_bytes, c.from_bytes);
    bits = convert_one(c, bits);
    std::memcpy(out + l * c.to_bytes, &bits, c.to_bytes);
  });
  return op + 1;
}

// ---- the frequent ones

struct Cast {  // between integers, and from integers to floating point
  template <class D>
  struct To {
    template <class S>
    GPUSIM_INLINE static D apply(S x) {
      return static_cast<D>(x);
    }
  };
};
template <class S, class D>
struct CastFrom {  // the low bits of the register hold a narrower S
  template <class R>
  GPUSIM_INLINE static D apply(R x) {
    return static_cast<D>(static_cast<S>(x));
  }
};

template <ToInteger mode, bool flushes>
struct FloatToInt32 {
  GPUSIM_INLINE static std::int32_t apply(float x) {
    const double rounded = round_integral(mode, static_cast<double>(flushes ? flush(x) : x));
    const double clamped = rounded < -2147483648.0 ? -2147483648.0 : rounded > 2147483647.0 ? 2147483647.0 : rounded;
    return rounded != rounded ? 0 : static_cast<std::int32_t>(clamped);
  }
};
template <ToInteger mode, bool flushes>
struct RoundFloat {
  GPUSIM_INLINE static float apply(float x) {
    const float in = canonical(flushes ? flush(x) : x);
    switch (mode) {
      case ToInteger::nearest:
        return __builtin_rintf(in);
      case ToInteger::zero:
        return __builtin_truncf(in);
      case ToInteger::down:
        return __builtin_floorf(in);
      case ToInteger::up:
        return __builtin_ceilf(in);
      default:
        return in;
    }
  }
};
struct Widen {
  GPUSIM_INLINE static double apply(float x) { return x; }
};
struct Narrow {
  GPUSIM_INLINE static float apply(double x) { return canonical(static_cast<float>(x)); }
};
template <class H>
struct HalfToFloat {
  GPUSIM_INLINE static float apply(u16 x) { return canonical(H::widen(x)); }
};
template <class H>
struct FloatToHalf {
  GPUSIM_INLINE static u16 apply(float x) { return H::narrow(x); }
};

template <template <ToInteger, bool> class F, class D>
Handler by_mode(ToInteger mode, bool flushes) {
  const auto choose = [&]<ToInteger m>() -> Handler {
    return flushes ? unary<F<m, true>, D, float> : unary<F<m, false>, D, float>;
  };
  switch (mode) {
    case ToInteger::nearest:
      return choose.template operator()<ToInteger::nearest>();
    case ToInteger::down:
      return choose.template operator()<ToInteger::down>();
    case ToInteger::up:
      return choose.template operator()<ToInteger::up>();
    case ToInteger::zero:
      return choose.template operator()<ToInteger::zero>();
    default:
      return choose.template operator()<ToInteger::none>();
  }
}

Handler fast_conversion(const Conversion& c) {
  if (c.rounding != Rounding::nearest || c.relu || c.finite) return nullptr;
  const bool exact_registers = c.to_bytes == ptx::bytes_of(c.to) && c.from_bytes == ptx::bytes_of(c.from);
  if (is_integer(c.from) && is_integer(c.to) && !c.saturates && c.to_bytes == ptx::bytes_of(c.to)) {
    return for_integer(c.to, [&]<class D>(D) -> Handler {
      if (exact_registers) return for_integer(c.from, []<class S>(S) -> Handler { return unary<Cast::To<D>, D, S>; });
      if (c.from_bytes == 2)
        return c.from == Type::s8   ? unary<CastFrom<std::int8_t, D>, D, u16>
               : c.from == Type::u8 ? unary<CastFrom<std::uint8_t, D>, D, u16>
                                    : nullptr;
      if (c.from_bytes == 4)
        return c.from == Type::s8   ? unary<CastFrom<std::int8_t, D>, D, u32>
               : c.from == Type::u8 ? unary<CastFrom<std::uint8_t, D>, D, u32>
                                    : nullptr;
      return nullptr;
    });
  }
  if (!exact_registers) return nullptr;
  if (is_integer(c.from) && !c.saturates) {
    if (c.to == Type::f32)
      return for_integer(c.from, []<class S>(S) -> Handler { return unary<Cast::To<float>, float, S>; });
    if (c.to == Type::f64)
      return for_integer(c.from, []<class S>(S) -> Handler { return unary<Cast::To<double>, double, S>; });
    return nullptr;
  }
  if (c.from == Type::f32 && c.to == Type::s32)
    return by_mode<FloatToInt32, std::int32_t>(c.integral == ToInteger::none ? ToInteger::zero : c.integral, c.flushes);
  if (c.from == Type::f32 && c.to == Type::f32) {
    if (!c.saturates) return by_mode<RoundFloat, float>(c.integral, c.flushes);
    if (c.integral == ToInteger::none) {
      using Plain = RoundFloat<ToInteger::none, false>;
      return c.flushes ? unary<Ruled<Plain, true, true>, float, float> : unary<Ruled<Plain, false, true>, float, float>;
    }
  }
  if (c.saturates || c.flushes || c.integral != ToInteger::none) return nullptr;
  if (c.from == Type::f32 && c.to == Type::f64) return unary<Widen, double, float>;
  if (c.from == Type::f64 && c.to == Type::f32) return unary<Narrow, float, double>;
  if (c.from == Type::f16 && c.to == Type::f32) return unary<HalfToFloat<F16>, float, u16>;
  if (c.from == Type::bf16 && c.to == Type::f32) return unary<HalfToFloat<BF16>, float, u16>;
  if (c.from == Type::f32 && c.to == Type::f16) return unary<FloatToHalf<F16>, u16, float>;
  if (c.from == Type::f32 && c.to == Type::bf16) return unary<FloatToHalf<BF16>, u16, float>;
  return nullptr;
}

// ---- two f32 to a packed pair, and tf32

template <class H>
struct PairOf {  // the first goes to the upper half
  GPUSIM_INLINE static u32 apply(float a, float b) { return u32{H::narrow(a)} << 16 | H::narrow(b); }
};

const Op* pair_of_any(const Op* op, Warp& warp) {
  const auto& c = *static_cast<const Conversion*>(op->extra);
  map_lanes<u32>(
      warp, op->slot[0],
      [&c](float a, float b) {
        return static_cast<u32>(write_float(c, a)) << 16 | static_cast<u32>(write_float(c, b));
      },
      warp.in<float>(op->slot[1]), warp.in<float>(op->slot[2]));
  return op + 1;
}

// tf32 keeps 10 bits of the fraction.
template <bool ties_to_even, bool relu>
struct ToTf32 {
  GPUSIM_INLINE static u32 apply(u32 bits) {
    const u32 magnitude = bits & 0x7FFFFFFF;
    const u32 half = ties_to_even ? 0xFFF + (bits >> 13 & 1) : 0x1000;
    u32 result = magnitude > 0x7F800000 ? 0x7FFFFFFF : magnitude == 0x7F800000 ? bits : (bits + half) & ~u32{0x1FFF};
    if (relu && (result & 0x80000000) != 0) result = 0;
    return result;
  }
};

void bind_packed(Binder& b, Conversion c) {
  const bool is_bf16 = c.to == Type::bf16x2;
  c.to = is_bf16 ? Type::bf16 : Type::f16;
  b.output(Type::b32);
  b.input(Type::f32);
  b.input(Type::f32);
  const bool plain = c.rounding == Rounding::nearest && !c.relu && !c.finite;
  if (!plain) b.attach(c);
  b.run(!plain    ? pair_of_any
        : is_bf16 ? binary<PairOf<BF16>, u32, float>
                  : binary<PairOf<F16>, u32, float>,
        InstructionClass::conversion);
}

void bind_cvt(Binder& b) {
  Conversion c{};
  const std::string_view integral = b.take_one_of({"rni", "rzi", "rmi", "rpi"});
  c.integral = integral == "rni"   ? ToInteger::nearest
               : integral == "rzi" ? ToInteger::zero
               : integral == "rmi" ? ToInteger::down
               : integral == "rpi" ? ToInteger::up
                                   : ToInteger::none;
  const bool away = b.take("rna");
  c.rounding = take_rounding(b);
  c.flushes = b.take("ftz");
  c.saturates = b.take("sat");
  c.relu = b.take("relu");
  c.finite = b.take("satfinite");
  c.to = b.take_type();
  c.from = b.take_type();
  if (c.to == Type::tf32) {
    b.output(Type::b32);
    b.input(Type::b32);
    return b.run(away ? c.relu ? unary<ToTf32<false, true>, u32, u32> : unary<ToTf32<false, false>, u32, u32>
                 : c.rounding != Rounding::nearest ? nullptr
                 : c.relu                          ? unary<ToTf32<true, true>, u32, u32>
                                                   : unary<ToTf32<true, false>, u32, u32>,
                 InstructionClass::conversion);
  }
  if (c.to == Type::f16x2 || c.to == Type::bf16x2) return c.from == Type::f32 ? bind_packed(b, c) : void();
  const auto known = [](Type type) {
    return is_integer(type) || type == Type::f16 || type == Type::bf16 || type == Type::f32 || type == Type::f64;
  };
  if (!known(c.to) || !known(c.from)) return;
  // Registers may be wider than the types.
  const auto container = [&](const Operand& operand, Type type) {
    const unsigned width = b.width(operand);
    return width > ptx::bytes_of(type) ? width == 2 ? Type::b16 : width == 4 ? Type::b32 : Type::b64 : type;
  };
  const Operand& to = b.next();
  const Operand& from = b.next();
  const Type to_container = container(to, c.to), from_container = container(from, c.from);
  c.to_bytes = std::max(2u, ptx::bytes_of(to_container));
  c.from_bytes = std::max(2u, ptx::bytes_of(from_container));
  b.output(to, to_container);
  b.input(from, from_container);
  Handler handler = fast_conversion(c);
  if (handler == nullptr) {
    b.attach(c);
    handler = convert_any;
  }
  b.run(handler, InstructionClass::conversion);
}

}  // namespace

void add_convert(InstructionSet& set) {
  set.add("cvt", bind_cvt);
}

}  // namespace gpusim::GPUSIM_TARGET
