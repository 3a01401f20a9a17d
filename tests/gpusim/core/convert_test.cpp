// cvt against the host, comparisons, and choices.
#include <cfenv>
#include <cmath>

#include "tests/gpusim/core/machine.h"

namespace gpusim::test {

namespace {

using i32 = std::int32_t;
using i64 = std::int64_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// What PTX says of a floating-point number made an integer: rounded, clamped to the range, NaN special.
template <class To, class From>
To integer_of(From x, double (*round)(double)) {
  if (std::isnan(x))
    return sizeof(To) == 8 || sizeof(From) == 8 ? static_cast<To>(u64{1} << (8 * sizeof(To) - 1)) : To{0};
  const double rounded = round(x), low = static_cast<double>(std::numeric_limits<To>::min()),
               high = std::ldexp(1.0, 8 * sizeof(To) - std::is_signed_v<To>);
  if (rounded < low) return std::numeric_limits<To>::min();
  if (rounded >= high) return std::numeric_limits<To>::max();
  return static_cast<To>(rounded);
}

template <class To, class From>
void check_to_integer(const std::string& to, const std::string& from) {
  const std::vector<From> in = singles<From>();
  const std::string types = "." + to + "." + from;
  check_instruction<To>(
      "cvt.rni" + types, "", [](From x) { return integer_of<To>(x, [](double v) { return std::nearbyint(v); }); }, in);
  check_instruction<To>(
      "cvt.rzi" + types, "", [](From x) { return integer_of<To>(x, [](double v) { return std::trunc(v); }); }, in);
  check_instruction<To>(
      "cvt.rmi" + types, "", [](From x) { return integer_of<To>(x, [](double v) { return std::floor(v); }); }, in);
  check_instruction<To>(
      "cvt.rpi" + types, "", [](From x) { return integer_of<To>(x, [](double v) { return std::ceil(v); }); }, in);
}

template <class To, class From>
void check_from_integer(const std::string& to, const std::string& from) {
  for (const auto& [name, mode] :
       {std::pair{"rn", FE_TONEAREST}, {"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}}) {
    check_instruction<To>(
        fmt::format("cvt.{}.{}.{}", name, to, from), "",
        [mode = mode](From x) {
          std::fesetround(mode);
          volatile From in = x;
          volatile To out = static_cast<To>(in);
          std::fesetround(FE_TONEAREST);
          return out;
        },
        singles<From>());
  }
}

}  // namespace

TEST_CASE("floating point to integers") {
  check_to_integer<i32, float>("s32", "f32");
  check_to_integer<u32, float>("u32", "f32");
  check_to_integer<i64, float>("s64", "f32");
  check_to_integer<u64, float>("u64", "f32");
  check_to_integer<i32, double>("s32", "f64");
  check_to_integer<u32, double>("u32", "f64");
  check_to_integer<i64, double>("s64", "f64");
  check_to_integer<u16, float>("u16", "f32");
}

TEST_CASE("integers to floating point, rounded in every direction") {
  check_from_integer<float, i32>("f32", "s32");
  check_from_integer<float, u32>("f32", "u32");
  check_from_integer<float, i64>("f32", "s64");
  check_from_integer<float, u64>("f32", "u64");
  check_from_integer<double, i64>("f64", "s64");
  check_from_integer<double, u64>("f64", "u64");
}

TEST_CASE("between widths") {
  const std::vector<i64> in = singles<i64>();
  check_instruction<i32>(
      "cvt.s32.s64", "", [](i64 x) { return static_cast<i32>(x); }, in);
  check_instruction<i32>(
      "cvt.sat.s32.s64", "",
      [](i64 x) { return std::clamp<i64>(x, std::numeric_limits<i32>::min(), std::numeric_limits<i32>::max()); }, in);
  check_instruction<i64>(
      "cvt.s64.s32", "", [](i32 x) { return i64{x}; }, singles<i32>());
  check_instruction<u64>(
      "cvt.u64.u32", "", [](u32 x) { return u64{x}; }, singles<u32>());
  check_instruction<i32>(
      "cvt.s32.s8", "", [](u32 x) { return static_cast<std::int8_t>(x); }, singles<u32>());
  check_instruction<u32>(
      "cvt.u32.u8", "", [](u16 x) { return x & 0xFFu; }, singles<u16>());
  check_instruction<i32>(
      "cvt.s8.s32", "", [](i32 x) { return static_cast<std::int8_t>(x); }, singles<i32>());
  check_instruction<float>(
      "cvt.rn.f32.f64", "",
      [](double x) { return std::isnan(x) ? std::bit_cast<float>(0x7FFFFFFF) : static_cast<float>(x); },
      singles<double>());
  check_instruction<float>(
      "cvt.rmi.f32.f32", "", [](float x) { return std::isnan(x) ? std::bit_cast<float>(0x7FFFFFFF) : std::floor(x); },
      edges<float>());
  check_instruction<float>(
      "cvt.sat.f32.f32", "", [](float x) { return std::isnan(x) || x <= 0 ? 0.0f : std::min(x, 1.0f); },
      singles<float>());
  check_instruction<u32>(
      "cvt.rna.tf32.f32", "",
      [](float x) {
        if (std::isnan(x)) return 0x7FFFFFFFu;
        if (std::isinf(x)) return std::bit_cast<u32>(x);
        return (std::bit_cast<u32>(x) + 0x1000) & ~0x1FFFu;
      },
      singles<float>());
}

TEST_CASE("comparisons") {
  const auto [a, b] = pairs<float>();
  const auto [c, d] = pairs<i32>();
  const auto check = [&](const std::string& name, auto holds) {
    check_instruction<u32>(
        "set." + name + ".u32.f32", "", [&](float x, float y) { return holds(x, y) ? ~0u : 0u; }, a, b);
  };
  const auto unordered = [](float x, float y) { return std::isnan(x) || std::isnan(y); };
  check("eq", [](float x, float y) { return x == y; });
  check("ne", [&](float x, float y) { return x != y && !unordered(x, y); });
  check("lt", [](float x, float y) { return x < y; });
  check("ge", [](float x, float y) { return x >= y; });
  check("neu", [](float x, float y) { return x != y; });
  check("equ", [&](float x, float y) { return x == y || unordered(x, y); });
  check("ltu", [&](float x, float y) { return x < y || unordered(x, y); });
  check("gtu", [&](float x, float y) { return x > y || unordered(x, y); });
  check("num", [&](float x, float y) { return !unordered(x, y); });
  check("nan", unordered);
  check_instruction<float>(
      "set.lt.f32.s32", "", [](i32 x, i32 y) { return x < y ? 1.0f : 0.0f; }, c, d);
  check_instruction<u32>(
      "set.hi.u32.u32", "", [](i32 x, i32 y) { return u32(x) > u32(y) ? ~0u : 0u; }, c, d);
  check_instruction<i32>(
      "slct.s32.s32", "", [](i32 x, i32 y, i32 z) { return z >= 0 ? x : y; }, c, d, c);
}

TEST_CASE("setp joins another predicate and has a second result") {
  Machine machine(R"(.visible .entry k(.param .u64 out) {
  .reg .b32 %r<4>; .reg .b64 %p; .reg .pred %q<5>;
  mov.u32 %r1, %tid.x;
  setp.lt.u32 %q1, %r1, 16;
  setp.ge.and.u32 %q2|%q3, %r1, 8, %q1;
  setp.eq.xor.u32 %q4, %r1, 8, !%q1;
  selp.u32 %r2, 1, 0, %q2;
  @%q3 add.u32 %r2, %r2, 2;
  @!%q4 add.u32 %r2, %r2, 4;
  ld.param.u64 %p, [out]; mad.wide.u32 %p, %r1, 4, %p;
  st.global.u32 [%p], %r2; ret; })");
  u32* out = machine.allocate<u32>(32);
  CHECK(machine.run("k", {1}, {32}, out).fault == Fault::none);
  for (u32 i = 0; i < 32; ++i) {
    const u32 want = (i >= 8 && i < 16 ? 1 : 0) + (i < 8 ? 2 : 0) + ((i == 8) != (i >= 16) ? 0 : 4);
    CHECK(out[i] == want);
  }
}

}  // namespace gpusim::test
