// The special-function unit: ex2 lg2 sin cos tanh rsqrt and the .approx forms of rcp, sqrt and div.
//
// The hardware's results are not documented bit by bit, only their largest error. These are accurate: computed in double
// and rounded once, with the special values that the PTX ISA lists.
#include "tools/gpusim/machine/instructions/half_formats.h"

namespace gpusim::GPUSIM_TARGET {

namespace {

// 2^x, |error| < 2^-40 relative: 2^k times the Taylor series of 2^r, |r| <= 1/2.
GPUSIM_INLINE double exp2_of(double x) {
  const double clamped = x < -1000 ? -1000 : x > 1000 ? 1000 : x;
  constexpr double shift = 0x1.8p52;  // adding it leaves an integer in the lowest bits
  const double shifted = clamped + shift;
  const double r = (clamped - (shifted - shift)) * 0.693147180559945309417;
  double sum = 1.0 / 3628800;
  sum = sum * r + 1.0 / 362880;
  sum = sum * r + 1.0 / 40320;
  sum = sum * r + 1.0 / 5040;
  sum = sum * r + 1.0 / 720;
  sum = sum * r + 1.0 / 120;
  sum = sum * r + 1.0 / 24;
  sum = sum * r + 1.0 / 6;
  sum = sum * r + 1.0 / 2;
  sum = sum * r + 1.0;
  sum = sum * r + 1.0;
  const double power = from_bits<double>((bits_of(shifted) + 1023) << 52);
  return x != x ? x : sum * power;
}

// log2 of a positive normal number: exponent + 2 / ln 2 * artanh((m - 1) / (m + 1)), m in [sqrt(1/2), sqrt(2)].
GPUSIM_INLINE double log2_of_positive(double x) {
  constexpr std::uint64_t sqrt_half = 0x3FE6A09E667F3BCD;
  const std::uint64_t bits = bits_of(x) - sqrt_half;
  const auto exponent = static_cast<double>(static_cast<std::int32_t>(static_cast<std::int64_t>(bits) >> 52));
  const double m = from_bits<double>((bits & 0x000FFFFFFFFFFFFF) + sqrt_half);
  const double s = (m - 1) / (m + 1), square = s * s;
  double sum = 1.0 / 17;
  sum = sum * square + 1.0 / 15;
  sum = sum * square + 1.0 / 13;
  sum = sum * square + 1.0 / 11;
  sum = sum * square + 1.0 / 9;
  sum = sum * square + 1.0 / 7;
  sum = sum * square + 1.0 / 5;
  sum = sum * square + 1.0 / 3;
  sum = sum * square + 1.0;
  return exponent + 2.88539008177792681472 * s * sum;
}

struct Exp2 {
  GPUSIM_INLINE static double of(double x) { return exp2_of(x); }
};
struct Log2 {
  GPUSIM_INLINE static double of(double x) {
    const double positive = log2_of_positive(x > 0 ? x : 1);
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const double special = x == 0 ? -infinity : x > 0 ? infinity : std::numeric_limits<double>::quiet_NaN();
    return x > 0 && x < infinity ? positive : special;
  }
};
struct Sine {
  static double of(double x) { return __builtin_sin(x); }
};
struct Cosine {
  static double of(double x) { return __builtin_cos(x); }
};
struct HyperbolicTangent {
  GPUSIM_INLINE static double of(double x) {
    const double magnitude = x < 0 ? -x : x;
    const double power = exp2_of((magnitude > 30 ? 30 : magnitude) * 2.88539008177792681472);
    const double large = 1 - 2 / (power + 1);
    const double small = magnitude * (1 - magnitude * magnitude / 3);  // where `large` loses digits
    const double result = magnitude < 0x1p-12 ? small : large;
    return x != x ? x : from_bits<double>(bits_of(result) | (bits_of(x) & FloatBits<double>::sign));
  }
};
struct ReciprocalRoot {
  GPUSIM_INLINE static double of(double x) { return 1 / __builtin_sqrt(x); }
};
struct ApproximateReciprocal {
  GPUSIM_INLINE static double of(double x) { return 1 / x; }
};
struct ApproximateRoot {
  GPUSIM_INLINE static double of(double x) { return __builtin_sqrt(x); }
};

template <class F>
struct InDouble {
  GPUSIM_INLINE static float apply(float x) { return static_cast<float>(F::of(static_cast<double>(x))); }
};
template <class F, class H>
struct InHalf {
  GPUSIM_INLINE static std::uint16_t apply(std::uint16_t x) {
    const double result = F::of(static_cast<double>(H::widen(x)));
    return result != result ? H::nan : H::narrow(result);
  }
};
template <class F>
struct BothHalves {
  GPUSIM_INLINE static std::uint32_t apply(std::uint32_t x) {
    return F::apply(static_cast<std::uint16_t>(x)) | std::uint32_t{F::apply(static_cast<std::uint16_t>(x >> 16))} << 16;
  }
};
// The f64 forms are seeds for Newton's iteration: the low word of the result is zero.
template <class F>
struct UpperWord {
  GPUSIM_INLINE static double apply(double x) {
    return from_bits<double>(bits_of(canonical(F::of(flush(x)))) & 0xFFFFFFFF00000000);
  }
};

struct FullDivide {
  GPUSIM_INLINE static float apply(float a, float b) { return a / b; }
};
struct ApproximateDivide {  // a * (1 / b), where 1 / b underflows for a huge b
  GPUSIM_INLINE static float apply(float a, float b) {
    const float magnitude = b < 0 ? -b : b;
    const bool huge = magnitude > 0x1p126f && magnitude < std::numeric_limits<float>::infinity();
    const float zero = from_bits<float>((bits_of(a) ^ bits_of(b)) & FloatBits<float>::sign);
    return huge ? zero * a : a / b;
  }
};

template <class F>
Handler pick(Type type, bool flushes) {
  using u16 = std::uint16_t;
  using u32 = std::uint32_t;
  switch (type) {
    case Type::f32:
      return flushes ? unary<Ruled<InDouble<F>, true, false>, float, float>
                     : unary<Ruled<InDouble<F>, false, false>, float, float>;
    case Type::f16:
      return unary<InHalf<F, F16>, u16, u16>;
    case Type::bf16:
      return unary<InHalf<F, BF16>, u16, u16>;
    case Type::f16x2:
      return unary<BothHalves<InHalf<F, F16>>, u32, u32>;
    case Type::bf16x2:
      return unary<BothHalves<InHalf<F, BF16>>, u32, u32>;
    case Type::f64:
      return unary<UpperWord<F>, double, double>;
    default:
      return nullptr;
  }
}

template <class F>
void bind(Binder& b) {
  b.take("approx");
  const bool flushes = b.take("ftz");
  const Type type = b.take_type();
  b.output(type);
  b.input(type);
  b.run(pick<F>(type, flushes), InstructionClass::special, 1);
}

}  // namespace

// div, rcp, sqrt with .approx or .full; floating.cpp has the precise ones.
void bind_approximate(Binder& b) {
  const std::string_view name = b.instruction().name;
  if (name == "rcp") return bind<ApproximateReciprocal>(b);
  if (name == "sqrt") return bind<ApproximateRoot>(b);
  const bool full = b.take_one_of({"approx", "full"}) == "full", flushes = b.take("ftz");
  const Type type = b.take_type();
  b.output(type);
  b.input(type);
  b.input(type);
  if (type != Type::f32) return;
  b.run(full ? Forms<FullDivide>::pick<Binary<float>::Make>(flushes, false, Rounding::nearest)
             : Forms<ApproximateDivide>::pick<Binary<float>::Make>(flushes, false, Rounding::nearest),
        InstructionClass::special, 1);
}

void add_special(InstructionSet& set) {
  set.add("ex2", bind<Exp2>);
  set.add("lg2", bind<Log2>);
  set.add("sin", bind<Sine>);
  set.add("cos", bind<Cosine>);
  set.add("tanh", bind<HyperbolicTangent>);
  set.add("rsqrt", bind<ReciprocalRoot>);
}

}  // namespace gpusim::GPUSIM_TARGET
