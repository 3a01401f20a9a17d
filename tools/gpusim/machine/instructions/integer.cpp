// Integer arithmetic: add sub mul mad div rem abs neg min max sad mul24 mad24 dp4a dp2a, and add.cc with its kin.
#include "tools/gpusim/machine/instructions/integer_operations.h"

namespace gpusim::GPUSIM_TARGET {

// Floating-point forms of the same names live in floating.cpp and half.cpp.
void bind_float_arithmetic(Binder& b, Type type);
void bind_division(Binder& b);

namespace {

using namespace integer_operations;

template <class F>
Handler binary_of(Type type) {
  return for_integer(type, []<class T>(T) -> Handler { return binary<F, T, T>; });
}
template <class F>
Handler unary_of(Type type) {
  return for_integer(type, []<class T>(T) -> Handler { return unary<F, T, T>; });
}

// The carry is one bit a lane; subtraction borrows. The last Op of a chain reads it without .cc.
template <class T, bool carries_in, bool subtracts>
const Op* add_with_carry(const Op* op, Warp& warp) {
  const T* a = warp.in<T>(op->slot[1]);
  const T* b = warp.in<T>(op->slot[2]);
  T* d = warp.out<T>(op->slot[0]);
  std::uint32_t carry = 0;
  each_lane(warp.mask, [&](unsigned l) {
    const Wider<T> in = carries_in && bit(warp.carry, l) ? 1 : 0;
    const Wider<T> sum = subtracts ? Wider<T>{a[l]} - b[l] - in : Wider<T>{a[l]} + b[l] + in;
    d[l] = static_cast<T>(sum);
    carry |= static_cast<std::uint32_t>(sum >> (8 * sizeof(T)) & 1) << l;
  });
  if (op->variant != 0) warp.carry = (warp.carry & ~warp.mask) | carry;
  return op + 1;
}

template <class T, bool carries_in, bool high>
const Op* mad_with_carry(const Op* op, Warp& warp) {
  const T* a = warp.in<T>(op->slot[1]);
  const T* b = warp.in<T>(op->slot[2]);
  const T* c = warp.in<T>(op->slot[3]);
  T* d = warp.out<T>(op->slot[0]);
  using U = Unsigned<T>;
  std::uint32_t carry = 0;
  each_lane(warp.mask, [&](unsigned l) {
    const U product = static_cast<U>(high ? MultiplyHigh::apply(a[l], b[l]) : MultiplyLow::apply(a[l], b[l]));
    const Wider<U> sum = Wider<U>{product} + static_cast<U>(c[l]) + (carries_in && bit(warp.carry, l) ? 1 : 0);
    d[l] = static_cast<T>(sum);
    carry |= static_cast<std::uint32_t>(sum >> (8 * sizeof(T)) & 1) << l;
  });
  if (op->variant != 0) warp.carry = (warp.carry & ~warp.mask) | carry;
  return op + 1;
}

template <bool carries_in, bool subtracts>
void bind_add_with_carry(Binder& b) {
  b.op().variant = b.take("cc") ? 1 : 0;
  const Type type = b.take_type();
  b.output(type);
  b.input(type);
  b.input(type);
  b.run(ptx::bytes_of(type) == 8 ? add_with_carry<std::uint64_t, carries_in, subtracts>
                                 : add_with_carry<std::uint32_t, carries_in, subtracts>,
        InstructionClass::integer);
}

template <bool carries_in>
void bind_mad_with_carry(Binder& b) {
  b.op().variant = b.take("cc") ? 1 : 0;
  const bool high = b.take_one_of({"lo", "hi"}) == "hi";
  const Type type = b.take_type();
  b.output(type);
  for (int i = 0; i < 3; ++i) b.input(type);
  b.run(for_integer(type,
                    [&]<class T>(T) -> Handler {
                      return high ? mad_with_carry<T, carries_in, true> : mad_with_carry<T, carries_in, false>;
                    }),
        InstructionClass::integer);
}

// The names that integers share with floating-point numbers: the type decides.
template <class Integer>
void bind_arithmetic(Binder& b, Integer integer) {
  const Type type = b.take_type();
  if (ptx::is_float(type)) return bind_float_arithmetic(b, type);
  integer(type);
}

void bind_two(Binder& b, Type type, Handler handler) {
  b.output(type);
  b.input(type);
  b.input(type);
  b.run(handler, InstructionClass::integer);
}

template <class F, class Saturated>
void bind_sum(Binder& b) {
  if (b.take("cc")) {
    b.op().variant = 1;
    const Type type = b.take_type();
    constexpr bool subtracts = std::is_same_v<F, Subtract>;
    return bind_two(b, type,
                    ptx::bytes_of(type) == 8 ? add_with_carry<std::uint64_t, false, subtracts>
                                             : add_with_carry<std::uint32_t, false, subtracts>);
  }
  bind_arithmetic(b, [&](Type type) {
    if (type == Type::u16x2 || type == Type::s16x2)
      return bind_two(b, Type::b32, binary<Packed<F, std::uint16_t>, std::uint32_t, std::uint32_t>);
    if (b.take("sat"))
      return bind_two(b, type, type == Type::s32 ? binary<Saturated, std::int32_t, std::int32_t> : nullptr);
    bind_two(b, type, binary_of<F>(type));
  });
}

void bind_mul(Binder& b) {
  bind_arithmetic(b, [&](Type type) {
    const std::string_view part = b.take_one_of({"lo", "hi", "wide"});
    if (part != "wide")
      return bind_two(b, type, part == "lo" ? binary_of<MultiplyLow>(type) : binary_of<MultiplyHigh>(type));
    const bool narrow = ptx::bytes_of(type) == 2;
    b.output(narrow ? Type::b32 : Type::b64);
    b.input(type);
    b.input(type);
    b.run(narrow              ? type == Type::s16 ? binary<MultiplyWide, std::int32_t, std::int16_t>
                                                  : binary<MultiplyWide, std::uint32_t, std::uint16_t>
                       : type == Type::s32 ? binary<MultiplyWide, std::int64_t, std::int32_t>
                              : binary<MultiplyWide, std::uint64_t, std::uint32_t>,
          InstructionClass::integer);
  });
}

template <class F>
Handler ternary_of(Type type) {
  return for_integer(type, []<class T>(T) -> Handler { return ternary<F, T, T>; });
}

void bind_mad(Binder& b) {
  if (b.take("cc")) {
    b.op().variant = 1;
    const bool high = b.take_one_of({"lo", "hi"}) == "hi";
    const Type type = b.take_type();
    b.output(type);
    for (int i = 0; i < 3; ++i) b.input(type);
    return b.run(for_integer(type,
                             [&]<class T>(T) -> Handler {
                               return high ? mad_with_carry<T, false, true> : mad_with_carry<T, false, false>;
                             }),
                 InstructionClass::integer);
  }
  bind_arithmetic(b, [&](Type type) {
    const std::string_view part = b.take_one_of({"lo", "hi", "wide"});
    const bool wide = part == "wide", narrow = ptx::bytes_of(type) == 2;
    const Type sum = !wide ? type : narrow ? Type::b32 : Type::b64;
    b.output(sum);
    b.input(type);
    b.input(type);
    b.input(sum);
    Handler handler =
        part == "hi" ? ternary_of<MultiplyAdd<MultiplyHigh>>(type) : ternary_of<MultiplyAdd<MultiplyLow>>(type);
    if (part == "hi" && b.take("sat")) handler = ternary<MultiplyAddHighSaturated, std::int32_t, std::int32_t>;
    if (wide) {
      using F = MultiplyAdd<MultiplyWide>;
      handler = narrow ? type == Type::s16 ? ternary<F, std::int32_t, std::int16_t, std::int16_t, std::int32_t>
                                           : ternary<F, std::uint32_t, std::uint16_t, std::uint16_t, std::uint32_t>
                : type == Type::s32 ? ternary<F, std::int64_t, std::int32_t, std::int32_t, std::int64_t>
                                    : ternary<F, std::uint64_t, std::uint32_t, std::uint32_t, std::uint64_t>;
    }
    b.run(handler, InstructionClass::integer);
  });
}

template <class F, class Relu>
void bind_extreme(Binder& b) {
  bind_arithmetic(b, [&](Type type) {
    if (type == Type::u16x2)
      return bind_two(b, Type::b32, binary<Packed<F, std::uint16_t>, std::uint32_t, std::uint32_t>);
    if (type == Type::s16x2) {
      using ReluOf16 = Packed<Relu, std::int16_t>;
      return bind_two(b, Type::b32,
                      b.take("relu") ? binary<ReluOf16, std::uint32_t, std::uint32_t>
                                     : binary<Packed<F, std::int16_t>, std::uint32_t, std::uint32_t>);
    }
    if (b.take("relu"))
      return bind_two(b, type, type == Type::s32 ? binary<Relu, std::int32_t, std::int32_t> : nullptr);
    bind_two(b, type, binary_of<F>(type));
  });
}

template <class F>
void bind_unary(Binder& b) {
  bind_arithmetic(b, [&](Type type) {
    b.output(type);
    b.input(type);
    b.run(ptx::is_signed(type) ? unary_of<F>(type) : nullptr, InstructionClass::integer);
  });
}

template <class Low, class High>
void bind_24(Binder& b, bool adds) {
  const bool high = b.take_one_of({"lo", "hi"}) == "hi";
  const Type type = b.take_type();
  b.output(type);
  b.input(type);
  b.input(type);
  if (adds) b.input(type);
  const auto pick = [&]<class T>(T) -> Handler {
    if constexpr (sizeof(T) == 4) {
      if (adds) return high ? ternary<MultiplyAdd<High>, T, T> : ternary<MultiplyAdd<Low>, T, T>;
      return high ? binary<High, T, T> : binary<Low, T, T>;
    }
    return nullptr;
  };
  b.run(for_integer(type, pick), InstructionClass::integer);
}

template <template <class, class> class Dot, class SignedA, class UnsignedA>
void bind_dot(Binder& b) {
  const bool signed_a = b.take_type() == Type::s32;
  const bool signed_b = b.take_type_or(Type::u32) == Type::s32;
  b.output(Type::b32);
  for (int i = 0; i < 3; ++i) b.input(Type::b32);
  using U = std::uint32_t;
  b.run(signed_a   ? signed_b ? ternary<Dot<SignedA, std::int8_t>, U, U> : ternary<Dot<SignedA, std::uint8_t>, U, U>
          : signed_b ? ternary<Dot<UnsignedA, std::int8_t>, U, U>
                   : ternary<Dot<UnsignedA, std::uint8_t>, U, U>,
        InstructionClass::integer);
}
template <class A, class B>
using Dot2Low = Dot2<A, B, 0>;
template <class A, class B>
using Dot2High = Dot2<A, B, 2>;

}  // namespace

void add_integer(InstructionSet& set) {
  set.add("add", bind_sum<Add, AddSaturated>);
  set.add("sub", bind_sum<Subtract, SubtractSaturated>);
  set.add("addc", bind_add_with_carry<true, false>);
  set.add("subc", bind_add_with_carry<true, true>);
  set.add("mul", bind_mul);
  set.add("mad", bind_mad);
  set.add("madc", bind_mad_with_carry<true>);
  set.add("div", [](Binder& b) {
    if (b.instruction().modifiers.back().front() == 'f') return bind_division(b);
    const Type type = b.take_type();
    bind_two(b, type, binary_of<Divide>(type));
  });
  set.add("rem",
          [](Binder& b) { bind_arithmetic(b, [&](Type type) { bind_two(b, type, binary_of<Remainder>(type)); }); });
  set.add("min", bind_extreme<Minimum, MinimumRelu>);
  set.add("max", bind_extreme<Maximum, MaximumRelu>);
  set.add("abs", bind_unary<Absolute>);
  set.add("neg", bind_unary<Negate>);
  set.add("sad", [](Binder& b) {
    const Type type = b.take_type();
    b.output(type);
    for (int i = 0; i < 3; ++i) b.input(type);
    b.run(ternary_of<SumOfDifferences>(type), InstructionClass::integer);
  });
  set.add("mul24", [](Binder& b) { bind_24<Multiply24Low, Multiply24High>(b, false); });
  set.add("mad24", [](Binder& b) { bind_24<Multiply24Low, Multiply24High>(b, true); });
  set.add("dp4a", bind_dot<Dot4, std::int8_t, std::uint8_t>);
  set.add("dp2a", [](Binder& b) {
    if (b.take_one_of({"lo", "hi"}) == "hi") return bind_dot<Dot2High, std::int16_t, std::uint16_t>(b);
    bind_dot<Dot2Low, std::int16_t, std::uint16_t>(b);
  });
}

}  // namespace gpusim::GPUSIM_TARGET
