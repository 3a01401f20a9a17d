// Arithmetic on f16 and bf16, single and packed: add sub mul fma min max abs neg.
#include "tools/gpusim/machine/instructions/half_formats.h"

namespace gpusim::GPUSIM_TARGET {

bool is_half(Type type) {
  return type == Type::f16 || type == Type::bf16 || type == Type::f16x2 || type == Type::bf16x2;
}

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;

// Each is computed from the widened operands; the result is rounded once.
struct Add {
  GPUSIM_INLINE static double of(double a, double b) { return sum_to_odd(a, b); }
};
struct Subtract {
  GPUSIM_INLINE static double of(double a, double b) { return sum_to_odd(a, -b); }
};
struct Multiply {
  GPUSIM_INLINE static double of(double a, double b) { return a * b; }
};
struct FusedMultiplyAdd {
  GPUSIM_INLINE static double of(double a, double b, double c) { return sum_to_odd(a * b, c); }
};

template <class H>
GPUSIM_INLINE u16 flush_half(u16 x) {
  return (x & 0x7FFF) < H::smallest_normal ? x & H::sign : x;
}

// Op::variant of the rarer forms.
struct Form {
  static constexpr u32 flushes = 1, saturates = 2, relu = 4;
};

template <class F, class H>
struct Plain {
  template <class... T>
  GPUSIM_INLINE static u16 apply(T... in) {
    const double wide = F::of(double{H::widen(in)}...);
    return wide != wide ? H::nan : H::narrow(wide);
  }
};

template <class F, class H>
struct Formed {
  u32 form;
  template <class... T>
  u16 operator()(T... in) const {
    const bool flushes = (form & Form::flushes) != 0;
    const double wide = F::of(double{H::widen(flushes ? flush_half<H>(in) : in)}...);
    u16 result = wide != wide ? H::nan : H::narrow(wide);
    if (flushes) result = flush_half<H>(result);
    if ((form & Form::relu) != 0 && (result & 0x8000) != 0) result = 0;
    if ((form & Form::saturates) != 0) result = wide > 0 ? (wide < 1 ? result : H::one) : 0;
    return result;
  }
};

// Any form, one lane after the other.
template <class F, class H, int inputs, bool is_packed>
const Op* formed(const Op* op, Warp& warp) {
  const Formed<F, H> f{op->variant};
  using U = std::conditional_t<is_packed, u32, u16>;
  U* d = warp.out<U>(op->slot[0]);
  const U* a = warp.in<U>(op->slot[1]);
  const U* b = warp.in<U>(op->slot[2]);
  const U* c = inputs == 3 ? warp.in<U>(op->slot[3]) : b;
  each_lane(warp.mask, [&](unsigned l) {
    U result = 0;
    for (unsigned shift = 0; shift < 8 * sizeof(U); shift += 16) {
      const auto x = static_cast<u16>(a[l] >> shift), y = static_cast<u16>(b[l] >> shift),
                 z = static_cast<u16>(c[l] >> shift);
      if constexpr (inputs == 3) result |= static_cast<U>(U{f(x, y, z)} << shift);
      if constexpr (inputs == 2) result |= static_cast<U>(U{f(x, y)} << shift);
    }
    d[l] = result;
  });
  return op + 1;
}

// NaN loses, unless .NaN; -0 is less than +0. `larger` picks the maximum.
template <class H, bool larger, bool nan_wins, bool relu>
struct Extreme {
  GPUSIM_INLINE static u16 apply(u16 a, u16 b) {
    const bool a_is_nan = H::widen(a) != H::widen(a), b_is_nan = H::widen(b) != H::widen(b);
    const auto order = [](u16 x) { return (x & 0x8000) != 0 ? static_cast<int>(0x7FFF - (x & 0x7FFF)) : 0x8000 + x; };
    const bool first = larger ? order(a) > order(b) : order(a) < order(b);
    u16 result = b_is_nan ? a : a_is_nan ? b : first ? a : b;
    if ((a_is_nan && b_is_nan) || (nan_wins && (a_is_nan || b_is_nan))) return H::nan;
    if (relu && (result & 0x8000) != 0) result = 0;
    return result;
  }
};

struct Absolute {
  GPUSIM_INLINE static u16 apply(u16 a) { return a & 0x7FFF; }
};
struct Negate {
  GPUSIM_INLINE static u16 apply(u16 a) { return a ^ 0x8000; }
};

template <class F>
struct Pair {
  template <class... T>
  GPUSIM_INLINE static u32 apply(T... in) {
    return F::apply(static_cast<u16>(in)...) | u32{F::apply(static_cast<u16>(in >> 16)...)} << 16;
  }
};

template <class F, int inputs>
Handler shaped(bool is_packed) {
  if constexpr (inputs == 1) return is_packed ? unary<Pair<F>, u32, u32> : unary<F, u16, u16>;
  if constexpr (inputs == 2) return is_packed ? binary<Pair<F>, u32, u32> : binary<F, u16, u16>;
  if constexpr (inputs == 3) return is_packed ? ternary<Pair<F>, u32, u32> : ternary<F, u16, u16>;
  return nullptr;
}

template <class F, class H, int inputs>
Handler pick(bool is_packed, u32 form) {
  if (form == 0) return shaped<Plain<F, H>, inputs>(is_packed);
  return is_packed ? formed<F, H, inputs, true> : formed<F, H, inputs, false>;
}

template <class H>
Handler pick_extreme(bool is_packed, bool larger, bool nan_wins, bool relu) {
  const auto choose = [&]<bool l, bool n>() {
    return relu ? shaped<Extreme<H, l, n, true>, 2>(is_packed) : shaped<Extreme<H, l, n, false>, 2>(is_packed);
  };
  if (larger) return nan_wins ? choose.template operator()<true, true>() : choose.template operator()<true, false>();
  return nan_wins ? choose.template operator()<false, true>() : choose.template operator()<false, false>();
}

template <class H>
Handler find(std::string_view name, bool is_packed, u32 form, bool nan_wins) {
  if (name == "add") return pick<Add, H, 2>(is_packed, form);
  if (name == "sub") return pick<Subtract, H, 2>(is_packed, form);
  if (name == "mul") return pick<Multiply, H, 2>(is_packed, form);
  if (name == "fma") return pick<FusedMultiplyAdd, H, 3>(is_packed, form);
  if (name == "min" || name == "max")
    return pick_extreme<H>(is_packed, name == "max", nan_wins, (form & Form::relu) != 0);
  if (name == "abs") return shaped<Absolute, 1>(is_packed);
  if (name == "neg") return shaped<Negate, 1>(is_packed);
  return nullptr;
}

}  // namespace

void bind_half_arithmetic(Binder& b, Type type) {
  const std::string_view name = b.instruction().name;
  const bool is_packed = type == Type::f16x2 || type == Type::bf16x2,
             is_bf16 = type == Type::bf16 || type == Type::bf16x2;
  b.take("rn");
  const bool nan_wins = b.take("NaN");
  const u32 form =
      (b.take("ftz") ? Form::flushes : 0) | (b.take("sat") ? Form::saturates : 0) | (b.take("relu") ? Form::relu : 0);
  b.op().variant = form;
  const int inputs = name == "fma" ? 3 : name == "abs" || name == "neg" ? 1 : 2;
  b.output(type);
  for (int i = 0; i < inputs; ++i) b.input(type);
  b.run(is_bf16 ? find<BF16>(name, is_packed, form, nan_wins) : find<F16>(name, is_packed, form, nan_wins),
        InstructionClass::half, static_cast<unsigned>((inputs - 1) * (is_packed ? 2 : 1)));
}

}  // namespace gpusim::GPUSIM_TARGET
