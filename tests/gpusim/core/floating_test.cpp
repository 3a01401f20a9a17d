// Floating-point arithmetic against the host: rounding, NaN, infinities, subnormals, .ftz, .sat; and the 16-bit formats.
#include <cfenv>
#include <cmath>

#include "tests/gpusim/core/machine.h"

namespace gpusim::test {

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;

float flush(float x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}

template <class T>
T canonical(T x) {
  if (!std::isnan(x)) return x;
  return sizeof(T) == 4
             ? std::bit_cast<T>(static_cast<std::conditional_t<sizeof(T) == 4, u32, std::uint64_t>>(0x7FFFFFFF))
             : std::bit_cast<T>(
                   static_cast<std::conditional_t<sizeof(T) == 4, u32, std::uint64_t>>(0x7FF8000000000000));
}

// f(x...) with the host rounding in another direction.
template <class F, class... T>
auto rounded(int mode, F f, T... x) {
  std::fesetround(mode);
  volatile auto result = f(static_cast<volatile T>(x)...);
  std::fesetround(FE_TONEAREST);
  return result;
}

struct Mode {
  const char* name;
  int host;
};
constexpr Mode modes[] = {{"rn", FE_TONEAREST}, {"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}};

template <class T>
void check_rounded(const std::string& type) {
  const auto [a, b] = pairs<T>();
  std::vector<T> c(a.rbegin(), a.rend());
  for (const Mode& mode : modes) {
    CAPTURE(mode.name);
    const std::string suffix = std::string(".") + mode.name + "." + type;
    const auto run = [&](auto f) { return [&mode, f](auto... x) { return canonical(rounded(mode.host, f, x...)); }; };
    check_instruction<T>("add" + suffix, "", run([](T x, T y) { return x + y; }), a, b);
    check_instruction<T>("sub" + suffix, "", run([](T x, T y) { return x - y; }), a, b);
    check_instruction<T>("mul" + suffix, "", run([](T x, T y) { return x * y; }), a, b);
    check_instruction<T>("div" + suffix, "", run([](T x, T y) { return x / y; }), a, b);
    check_instruction<T>("fma" + suffix, "", run([](T x, T y, T z) { return std::fma(x, y, z); }), a, b, c);
    check_instruction<T>("sqrt" + suffix, "", run([](T x) { return std::sqrt(x); }), a);
    check_instruction<T>("rcp" + suffix, "", run([](T x) { return T{1} / x; }), a);
  }
  const auto order = [](T x) { return std::signbit(x) ? -1 : 1; };
  check_instruction<T>(
      "min." + type, "", [&](T x, T y) { return canonical(x == y ? (order(x) < order(y) ? x : y) : std::fmin(x, y)); },
      a, b);
  check_instruction<T>(
      "max." + type, "", [&](T x, T y) { return canonical(x == y ? (order(x) > order(y) ? x : y) : std::fmax(x, y)); },
      a, b);
  check_instruction<T>(
      "copysign." + type, "", [](T x, T y) { return std::copysign(y, x); }, a, b);
  check_instruction<T>(
      "abs." + type, "", [](T x) { return std::copysign(x, T{1}); }, a);
  check_instruction<T>(
      "neg." + type, "", [](T x) { return std::copysign(x, std::signbit(x) ? T{1} : T{-1}); }, a);
}

// Within so many units in the last place of the host's f64 function.
template <class F>
void check_close(const std::string& instruction, F f, const std::vector<float>& in) {
  const std::vector<float> results = evaluate<float>(instruction, "", in);
  int shown = 0;
  for (std::size_t i = 0; i < in.size() && shown < 5; ++i) {
    const double want = f(static_cast<double>(in[i]));
    const auto nearest = static_cast<float>(want);
    const bool same = std::isnan(nearest)
                          ? std::isnan(results[i])
                          : results[i] == nearest || std::fabs(results[i] - want) <=
                                                         1.01 * std::fabs(std::nextafter(nearest, INFINITY) - nearest);
    if (same) continue;
    FAIL_CHECK(fmt::format("{} of {}: {}, expected {}", instruction, in[i], results[i], want));
    ++shown;
  }
}

// ---- 16-bit formats, by definition: the nearest of all representable numbers, found by search in the sorted table

struct Format {
  int exponent_bits, fraction_bits;
  double value(u16 h) const {
    const int exponent = h >> fraction_bits & ((1 << exponent_bits) - 1), fraction = h & ((1 << fraction_bits) - 1);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const double magnitude = exponent == (1 << exponent_bits) - 1 ? (fraction == 0 ? INFINITY : NAN)
                             : exponent == 0
                                 ? std::ldexp(fraction, 1 - bias - fraction_bits)
                                 : std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
    return (h & 0x8000) != 0 ? -magnitude : magnitude;
  }
  // x = high + low exactly, low much smaller.
  u16 nearest(long double x) const {
    if (std::isnan(x)) return 0x7FFF;
    const u16 infinity = static_cast<u16>(((1 << exponent_bits) - 1) << fraction_bits),
              sign = std::signbit(x) ? 0x8000 : 0;
    const long double magnitude = std::fabs(x);
    u16 low = 0, high = infinity;  // value(low) <= magnitude < value(high)
    if (std::isinf(x)) return infinity | sign;
    while (high - low > 1) {
      const u16 middle = static_cast<u16>((low + high) / 2);
      (value(middle) <= magnitude ? low : high) = middle;
    }
    const long double above = high == infinity ? std::ldexp(2.0L, (1 << (exponent_bits - 1)) - 1) : value(high);
    const long double to_low = magnitude - value(low), to_high = above - magnitude;
    return static_cast<u16>((to_low < to_high || (to_low == to_high && low % 2 == 0) ? low : high) | sign);
  }
};
constexpr Format f16{5, 10}, bf16{8, 7};

std::vector<u16> halves(int step) {
  std::vector<u16> result;
  for (int i = 0; i < 0x10000; i += step) result.push_back(static_cast<u16>(i));
  return result;
}

void check_half(const Format& format, const std::string& type) {
  CAPTURE(type);
  const std::vector<u16> a = halves(37);
  std::vector<u16> b, c;
  std::mt19937 random(3);
  for (const u16 x : a) {
    b.push_back(static_cast<u16>(random() % 3 == 0 ? random() : x + random() % 512));
    c.push_back(static_cast<u16>(random() % 2 == 0 ? random() : x));
  }
  const auto value = [&](u16 x) -> long double { return format.value(x); };
  check_instruction<u16>(
      "add." + type, "", [&](u16 x, u16 y) { return format.nearest(value(x) + value(y)); }, a, b);
  check_instruction<u16>(
      "sub." + type, "", [&](u16 x, u16 y) { return format.nearest(value(x) - value(y)); }, a, b);
  check_instruction<u16>(
      "mul." + type, "", [&](u16 x, u16 y) { return format.nearest(value(x) * value(y)); }, a, b);
  // The long double's 64 bits hold the sum where the exponents are not far apart.
  std::vector<u16> near_c;
  for (std::size_t i = 0; i < a.size(); ++i)
    near_c.push_back(format.nearest(value(a[i]) * value(b[i]) * (1 + static_cast<int>(i % 7) - 3)));
  check_instruction<u16>(
      "fma.rn." + type, "", [&](u16 x, u16 y, u16 z) { return format.nearest(value(x) * value(y) + value(z)); }, a, b,
      near_c);
  check_instruction<u16>(
      "min." + type, "",
      [&](u16 x, u16 y) -> u16 {
        if (std::isnan(format.value(x))) return std::isnan(format.value(y)) ? u16{0x7FFF} : y;
        if (std::isnan(format.value(y)) || value(x) < value(y) || (value(x) == value(y) && (x & 0x8000) != 0)) return x;
        return y;
      },
      a, b);
  std::vector<u32> pair_a, pair_b;
  for (std::size_t i = 0; i + 1 < a.size(); ++i) {
    pair_a.push_back(a[i] | u32{b[i + 1]} << 16);
    pair_b.push_back(c[i] | u32{a[i + 1]} << 16);
  }
  check_instruction<u32>(
      "mul." + type + "x2", "",
      [&](u32 x, u32 y) {
        return u32{format.nearest(value(static_cast<u16>(x)) * value(static_cast<u16>(y)))} |
               u32{format.nearest(value(x >> 16) * value(y >> 16))} << 16;
      },
      pair_a, pair_b);
  check_instruction<u32>(
      "fma.rn.relu." + type + "x2", "",
      [&](u32 x, u32 y, u32 z) {
        const auto one = [&](u16 p, u16 q, u16 r) {
          const u16 result = format.nearest(value(p) * value(q) + value(r));
          return result == 0x7FFF || (result & 0x8000) == 0 ? result : u16{0};
        };
        return u32{one(static_cast<u16>(x), static_cast<u16>(y), static_cast<u16>(z))} |
               u32{one(x >> 16, y >> 16, z >> 16)} << 16;
      },
      pair_a, pair_b, std::vector<u32>(pair_a.size(), 0));
}

}  // namespace

TEST_CASE("f32 and f64 round in every direction") {
  check_rounded<float>("f32");
  check_rounded<double>("f64");
}

TEST_CASE(".ftz flushes operands and results, .sat clamps") {
  const auto [a, b] = pairs<float>();
  check_instruction<float>(
      "add.ftz.f32", "", [](float x, float y) { return flush(canonical(flush(x) + flush(y))); }, a, b);
  check_instruction<float>(
      "mul.ftz.f32", "", [](float x, float y) { return flush(canonical(flush(x) * flush(y))); }, a, b);
  check_instruction<float>(
      "fma.rn.ftz.sat.f32", "",
      [](float x, float y, float z) {
        const float result = std::fma(flush(x), flush(y), flush(z));
        return std::isnan(result) || result <= 0 ? 0.0f : result >= 1 ? 1.0f : flush(result);
      },
      a, b, a);
  check_instruction<float>(
      "add.sat.f32", "",
      [](float x, float y) {
        const float result = x + y;
        return std::isnan(result) || result <= 0 ? 0.0f : std::min(result, 1.0f);
      },
      a, b);
  check_instruction<float>(
      "min.NaN.f32", "",
      [](float x, float y) {
        if (std::isnan(x) || std::isnan(y)) return canonical(NAN);
        return x == y ? (std::signbit(x) ? x : y) : std::fmin(x, y);
      },
      a, b);
}

TEST_CASE("special functions are accurate and have their special values") {
  std::vector<float> in = edges<float>();
  for (float x = -160; x < 160; x += 0.37f) in.push_back(x);
  for (float x = 1e-30f; x < 1e30f; x *= 3.7f) in.push_back(x);
  check_close(
      "ex2.approx.f32", [](double x) { return std::exp2(x); }, in);
  check_close(
      "lg2.approx.f32", [](double x) { return std::log2(x); }, in);
  check_close(
      "rsqrt.approx.f32", [](double x) { return 1 / std::sqrt(x); }, in);
  check_close(
      "tanh.approx.f32", [](double x) { return std::tanh(x); }, in);
  check_close(
      "sin.approx.f32", [](double x) { return std::sin(x); }, in);
  check_close(
      "cos.approx.f32", [](double x) { return std::cos(x); }, in);
  check_close(
      "rcp.approx.f32", [](double x) { return 1 / x; }, in);
  CHECK(evaluate<float>("ex2.approx.ftz.f32", "", std::vector<float>{-127.0f, 1e-40f}) ==
        std::vector<float>{0.0f, 1.0f});
  // A divisor beyond 2^126 makes the approximate quotient zero.
  CHECK(evaluate<float>("div.approx.f32", "", std::vector<float>{1.0f, 6.0f}, std::vector<float>{0x1.8p126f, 3.0f}) ==
        std::vector<float>{0.0f, 2.0f});
}

TEST_CASE("f16 and bf16, single and packed") {
  check_half(f16, "f16");
  check_half(bf16, "bf16");
}

TEST_CASE("conversions to and from the 16-bit formats") {
  const std::vector<u16> all = halves(1);
  std::vector<float> floats = singles<float>();
  for (int i = 0; i < 0x10000; i += 7) {  // around every rounding boundary
    const float x = std::bit_cast<float>(static_cast<u32>(i) << 16 | 0x7FFF);
    floats.insert(floats.end(),
                  {x, std::nextafter(x, INFINITY), std::nextafter(std::nextafter(x, INFINITY), INFINITY)});
    const auto y = static_cast<float>(f16.value(static_cast<u16>(i)) * (1 + 0x1p-11));
    floats.insert(floats.end(), {y, std::nextafter(y, 0.0f), std::nextafter(y, INFINITY)});
  }
  check_instruction<float>(
      "cvt.f32.f16", "", [](u16 h) { return canonical(static_cast<float>(f16.value(h))); }, all);
  check_instruction<float>(
      "cvt.f32.bf16", "", [](u16 h) { return canonical(static_cast<float>(bf16.value(h))); }, all);
  check_instruction<u16>(
      "cvt.rn.f16.f32", "", [](float x) { return f16.nearest(x); }, floats);
  check_instruction<u16>(
      "cvt.rn.bf16.f32", "", [](float x) { return bf16.nearest(x); }, floats);
  std::vector<float> shifted(floats.begin() + 1, floats.end());
  shifted.push_back(0);
  check_instruction<u32>(
      "cvt.rn.bf16x2.f32", "", [](float x, float y) { return u32{bf16.nearest(x)} << 16 | bf16.nearest(y); }, floats,
      shifted);
  check_instruction<u16>(
      "cvt.rz.f16.f32", "",
      [](float x) -> u16 {
        const u16 nearest = f16.nearest(x);
        return std::fabs(f16.value(nearest)) > std::fabs(x) ? static_cast<u16>(nearest - 1) : nearest;
      },
      floats);
}

}  // namespace gpusim::test
