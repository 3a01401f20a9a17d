// f32 and f64 arithmetic, correctly rounded: add sub mul fma div rcp sqrt min max abs neg copysign testp.
#include "tools/gpusim/machine/instructions/float_rules.h"

namespace gpusim::GPUSIM_TARGET {

// In half.cpp.
bool is_half(Type type);
void bind_half_arithmetic(Binder& b, Type type);
// In special.cpp: approximate forms of div, rcp and sqrt.
void bind_approximate(Binder& b);

namespace {

struct Add {
  template <class T>
  GPUSIM_INLINE static T apply(T a, T b) {
    return a + b;
  }
};
struct Subtract {
  template <class T>
  GPUSIM_INLINE static T apply(T a, T b) {
    return a - b;
  }
};
struct Multiply {
  template <class T>
  GPUSIM_INLINE static T apply(T a, T b) {
    return a * b;
  }
};
struct FusedMultiplyAdd {
  GPUSIM_INLINE static float apply(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  GPUSIM_INLINE static double apply(double a, double b, double c) { return __builtin_fma(a, b, c); }
};
struct Divide {
  template <class T>
  GPUSIM_INLINE static T apply(T a, T b) {
    return a / b;
  }
};
struct Reciprocal {
  template <class T>
  GPUSIM_INLINE static T apply(T a) {
    return T{1} / a;
  }
};
struct SquareRoot {
  GPUSIM_INLINE static float apply(float a) { return __builtin_sqrtf(a); }
  GPUSIM_INLINE static double apply(double a) { return __builtin_sqrt(a); }
};

// A NaN loses against a number; -0 is less than +0.
struct Minimum {
  template <class T>
  GPUSIM_INLINE static T apply(T a, T b) {
    const bool first = a < b || b != b || (a == b && bits_of(a) > bits_of(b));
    return first ? a : b;
  }
};
struct Maximum {
  template <class T>
  GPUSIM_INLINE static T apply(T a, T b) {
    const bool first = a > b || b != b || (a == b && bits_of(a) < bits_of(b));
    return first ? a : b;
  }
};
template <class F>
struct OrNan {  // .NaN: a NaN wins
  template <class T>
  GPUSIM_INLINE static T apply(T a, T b) {
    return a != a || b != b ? from_bits<T>(FloatBits<T>::nan) : F::apply(a, b);
  }
};
template <class F>
struct XorSignAbsolute {  // of the absolute values, with the product's sign
  GPUSIM_INLINE static float apply(float a, float b) {
    constexpr auto sign = FloatBits<float>::sign;
    const float result = F::apply(from_bits<float>(bits_of(a) & ~sign), from_bits<float>(bits_of(b) & ~sign));
    return from_bits<float>((bits_of(result) & ~sign) | ((bits_of(a) ^ bits_of(b)) & sign));
  }
};

// Signs change without a look at the number, NaN included; .ftz flushes all the same.
template <bool flushes>
struct Absolute {
  template <class T>
  GPUSIM_INLINE static T apply(T a) {
    return from_bits<T>(bits_of(flushes ? flush(a) : a) & FloatBits<T>::magnitude);
  }
};
template <bool flushes>
struct Negate {
  template <class T>
  GPUSIM_INLINE static T apply(T a) {
    return from_bits<T>(bits_of(flushes ? flush(a) : a) ^ FloatBits<T>::sign);
  }
};
struct CopySign {  // of the first operand to the second
  template <class T>
  GPUSIM_INLINE static T apply(T a, T b) {
    return from_bits<T>((bits_of(a) & FloatBits<T>::sign) | (bits_of(b) & FloatBits<T>::magnitude));
  }
};

InstructionClass class_of(Type type) {
  return type == Type::f64 ? InstructionClass::float64 : InstructionClass::float32;
}

template <template <class> class Arity, class F>
Handler pick(Type type, bool flushes, bool saturates, Rounding rounding) {
  if (type == Type::f32) return Forms<F>::template pick<Arity<float>::template Make>(flushes, saturates, rounding);
  if (flushes || saturates) return nullptr;
  return Forms<F>::template pick<Arity<double>::template Make>(false, false, rounding);
}

// opcode{.rnd}{.ftz}{.sat}.type, with as many inputs as the Arity
template <template <class> class Arity, class F, int inputs>
void bind_rounded(Binder& b, Type type, unsigned operations, InstructionClass what) {
  const Rounding rounding = take_rounding(b);
  const bool flushes = b.take("ftz"), saturates = b.take("sat");
  b.op().variant = static_cast<std::uint32_t>(rounding);
  b.output(type);
  for (int i = 0; i < inputs; ++i) b.input(type);
  b.run(pick<Arity, F>(type, flushes, saturates, rounding), what, operations);
}

template <class F>
void bind_extreme(Binder& b, Type type) {
  const bool flushes = b.take("ftz"), nan = b.take("NaN"), xorsign = b.take("xorsign");
  if (xorsign) b.take("abs");
  b.output(type);
  b.input(type);
  b.input(type);
  Handler handler = nan ? pick<Binary, OrNan<F>>(type, flushes, false, Rounding::nearest)
                        : pick<Binary, F>(type, flushes, false, Rounding::nearest);
  if (xorsign) {
    handler = nan ? binary<Ruled<XorSignAbsolute<OrNan<F>>, false, false>, float, float>
                  : binary<Ruled<XorSignAbsolute<F>, false, false>, float, float>;
  }
  b.run(handler, class_of(type), 1);
}

template <template <bool> class F>
void bind_sign(Binder& b, Type type) {
  const bool flushes = b.take("ftz");
  b.output(type);
  b.input(type);
  b.run(type == Type::f64 ? unary<F<false>, double, double>
        : flushes         ? unary<F<true>, float, float>
                          : unary<F<false>, float, float>,
        class_of(type));
}

void bind_fma(Binder& b) {
  const Type type = b.take_type();
  if (is_half(type)) return bind_half_arithmetic(b, type);
  bind_rounded<Ternary, FusedMultiplyAdd, 3>(b, type, 2, class_of(type));
}

template <class F>
void bind_precise(Binder& b, bool has_two) {  // div, rcp, sqrt
  const bool approximate = b.instruction().text.find(".approx") != std::string_view::npos ||
                           b.instruction().text.find(".full") != std::string_view::npos;
  if (approximate) return bind_approximate(b);
  const Type type = b.take_type();
  const InstructionClass what = type == Type::f64 ? InstructionClass::float64 : InstructionClass::special;
  if constexpr (std::is_same_v<F, Divide>) {
    if (has_two) return bind_rounded<Binary, F, 2>(b, type, 1, what);
  } else {
    return bind_rounded<Unary, F, 1>(b, type, 1, what);
  }
}

template <class T>
const Op* test_property(const Op* op, Warp& warp) {
  alignas(64) std::uint8_t yes[warp_size];
  const T* a = warp.in<T>(op->slot[1]);
  for (unsigned l = 0; l < warp_size; ++l) {
    const auto magnitude = bits_of(a[l]) & FloatBits<T>::magnitude;
    const bool nan = a[l] != a[l], finite = std::isfinite(a[l]);
    const bool normal = finite && magnitude >= FloatBits<T>::smallest_normal;
    const bool subnormal = magnitude != 0 && magnitude < FloatBits<T>::smallest_normal;
    const bool answers[] = {finite, !finite && !nan, !nan, nan, normal, subnormal};
    yes[l] = answers[op->variant] ? 255 : 0;
  }
  warp.set_predicate(op->slot[0], pack(yes));
  return op + 1;
}

void bind_testp(Binder& b) {
  constexpr std::string_view names[] = {"finite", "infinite", "number", "notanumber", "normal", "subnormal"};
  for (std::uint32_t i = 0; i < 6; ++i) {
    if (b.take(names[i])) b.op().variant = i;
  }
  const Type type = b.take_type();
  b.output(Type::pred);
  b.input(type);
  b.run(type == Type::f64 ? test_property<double> : test_property<float>, class_of(type));
}

}  // namespace

// The names shared with integers (integer.cpp calls this when the type is a floating-point one).
void bind_float_arithmetic(Binder& b, Type type) {
  const std::string_view name = b.instruction().name;
  if (is_half(type)) return bind_half_arithmetic(b, type);
  if (type != Type::f32 && type != Type::f64) return;
  if (name == "add") return bind_rounded<Binary, Add, 2>(b, type, 1, class_of(type));
  if (name == "sub") return bind_rounded<Binary, Subtract, 2>(b, type, 1, class_of(type));
  if (name == "mul") return bind_rounded<Binary, Multiply, 2>(b, type, 1, class_of(type));
  if (name == "mad") return bind_rounded<Ternary, FusedMultiplyAdd, 3>(b, type, 2, class_of(type));
  if (name == "min") return bind_extreme<Minimum>(b, type);
  if (name == "max") return bind_extreme<Maximum>(b, type);
  if (name == "abs") return bind_sign<Absolute>(b, type);
  if (name == "neg") return bind_sign<Negate>(b, type);
}

void bind_division(Binder& b) {
  bind_precise<Divide>(b, true);
}

void add_floating(InstructionSet& set) {
  set.add("fma", bind_fma);
  set.add("rcp", [](Binder& b) { bind_precise<Reciprocal>(b, false); });
  set.add("sqrt", [](Binder& b) { bind_precise<SquareRoot>(b, false); });
  set.add("testp", bind_testp);
  set.add("copysign", [](Binder& b) {
    const Type type = b.take_type();
    b.output(type);
    b.input(type);
    b.input(type);
    b.run(type == Type::f64 ? binary<CopySign, double, double> : binary<CopySign, float, float>, class_of(type));
  });
}

}  // namespace gpusim::GPUSIM_TARGET
