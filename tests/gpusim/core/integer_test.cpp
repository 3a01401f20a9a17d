// Integer arithmetic and bits against the host.
#include "tests/gpusim/core/machine.h"

namespace gpusim::test {

namespace {

using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

template <class T>
void check_common(const std::string& type) {
  CAPTURE(type);
  using U = std::make_unsigned_t<T>;
  using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
  const auto [a, b] = pairs<T>();
  check_instruction<T>(
      "add." + type, "", [](T x, T y) { return static_cast<T>(u64(x) + u64(y)); }, a, b);
  check_instruction<T>(
      "sub." + type, "", [](T x, T y) { return static_cast<T>(u64(x) - u64(y)); }, a, b);
  check_instruction<T>(
      "mul.lo." + type, "", [](T x, T y) { return static_cast<T>(u64(x) * u64(y)); }, a, b);
  check_instruction<T>(
      "mul.hi." + type, "", [](T x, T y) { return static_cast<T>((Wide{x} * Wide{y}) >> (8 * sizeof(T))); }, a, b);
  check_instruction<T>(
      "min." + type, "", [](T x, T y) { return x < y ? x : y; }, a, b);
  check_instruction<T>(
      "max." + type, "", [](T x, T y) { return x > y ? x : y; }, a, b);
  check_instruction<T>(
      "mad.lo." + type, "", [](T x, T y, T z) { return static_cast<T>(u64(x) * u64(y) + u64(z)); }, a, b, b);
  check_instruction<T>(
      "sad." + type, "",
      [](T x, T y, T z) { return static_cast<T>(u64(z) + (x > y ? u64(x) - u64(y) : u64(y) - u64(x))); }, a, b, a);
  std::vector<T> dividends, divisors;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool overflows = std::is_signed_v<T> && b[i] == static_cast<T>(-1);
    if (b[i] == 0 || overflows) continue;
    dividends.push_back(a[i]);
    divisors.push_back(b[i]);
  }
  check_instruction<T>(
      "div." + type, "", [](T x, T y) { return static_cast<T>(x / y); }, dividends, divisors);
  check_instruction<T>(
      "rem." + type, "", [](T x, T y) { return static_cast<T>(x % y); }, dividends, divisors);
  std::vector<u32> shifts;
  for (std::size_t i = 0; i < a.size(); ++i) shifts.push_back(static_cast<u32>(i % 70));
  const std::string bits = "b" + type.substr(1);
  check_instruction<T>(
      "shl." + bits, "", [](T x, u32 n) { return n < 8 * sizeof(T) ? static_cast<T>(U(x) << n) : T{0}; }, a, shifts);
  check_instruction<T>(
      "shr." + type, "",
      [](T x, u32 n) {
        if (n < 8 * sizeof(T)) return static_cast<T>(x >> n);
        return static_cast<T>(std::is_signed_v<T> && x < 0 ? -1 : 0);
      },
      a, shifts);
  check_instruction<T>(
      "xor." + bits, "", [](T x, T y) { return x ^ y; }, a, b);
  check_instruction<T>(
      "not." + bits, "", [](T x) { return ~x; }, a);
}

}  // namespace

TEST_CASE("integers of every width") {
  check_common<i16>("s16");
  check_common<u16>("u16");
  check_common<i32>("s32");
  check_common<u32>("u32");
  check_common<i64>("s64");
  check_common<u64>("u64");
}

TEST_CASE("division by zero and the quotient that overflows") {
  CHECK(evaluate<i32>("div.s32", "", std::vector<i32>{7, std::numeric_limits<i32>::min()}, std::vector<i32>{0, -1}) ==
        std::vector<i32>{-1, std::numeric_limits<i32>::min()});
  CHECK(evaluate<i32>("rem.s32", "", std::vector<i32>{7, std::numeric_limits<i32>::min()}, std::vector<i32>{0, -1}) ==
        std::vector<i32>{7, 0});
}

TEST_CASE("wide products, saturated sums, absolute values") {
  const auto [a, b] = pairs<i32>();
  const auto [c, d] = pairs<u32>();
  check_instruction<i64>(
      "mul.wide.s32", "", [](i32 x, i32 y) { return i64{x} * y; }, a, b);
  check_instruction<u64>(
      "mul.wide.u32", "", [](u32 x, u32 y) { return u64{x} * y; }, c, d);
  check_instruction<i32>(
      "add.sat.s32", "",
      [](i32 x, i32 y) {
        return std::clamp<i64>(i64{x} + y, std::numeric_limits<i32>::min(), std::numeric_limits<i32>::max());
      },
      a, b);
  check_instruction<i32>(
      "abs.s32", "", [](i32 x) { return x < 0 ? static_cast<i32>(0 - u32(x)) : x; }, a);
  check_instruction<i32>(
      "neg.s32", "", [](i32 x) { return static_cast<i32>(0 - u32(x)); }, a);
  check_instruction<u32>(
      "mul24.lo.u32", "", [](u32 x, u32 y) { return static_cast<u32>(u64{x & 0xFFFFFF} * (y & 0xFFFFFF)); }, c, d);
}

TEST_CASE("bit fields and permutations") {
  const auto [a, b] = pairs<u32>();
  std::vector<u32> c;
  for (std::size_t i = 0; i < a.size(); ++i) c.push_back(static_cast<u32>(i * 2654435761u));
  check_instruction<u32>(
      "popc.b32", "", [](u32 x) { return std::popcount(x); }, a);
  check_instruction<u32>(
      "clz.b32", "", [](u32 x) { return std::countl_zero(x); }, a);
  check_instruction<u32>(
      "bfind.u32", "", [](u32 x) { return x == 0 ? ~0u : 31 - std::countl_zero(x); }, a);
  check_instruction<u32>(
      "brev.b32", "",
      [](u32 x) {
        u32 result = 0;
        for (int i = 0; i < 32; ++i) result = result << 1 | (x >> i & 1);
        return result;
      },
      a);
  for (int table : {0x00, 0x1B, 0x96, 0xE8, 0xFE, 0xCA}) {
    check_instruction<u32>(
        "lop3.b32", fmt::format(", {}", table),
        [table](u32 x, u32 y, u32 z) {
          u32 result = 0;
          for (int i = 0; i < 32; ++i)
            result |= u32(table >> ((x >> i & 1) * 4 + (y >> i & 1) * 2 + (z >> i & 1)) & 1) << i;
          return result;
        },
        a, b, c);
  }
  check_instruction<u32>(
      "shf.l.wrap.b32", "", [](u32 x, u32 y, u32 n) { return static_cast<u32>((u64{y} << 32 | x) << (n & 31) >> 32); },
      a, b, c);
  check_instruction<u32>(
      "shf.r.clamp.b32", "",
      [](u32 x, u32 y, u32 n) { return static_cast<u32>((u64{y} << 32 | x) >> std::min(n, 32u)); }, a, b, c);
  check_instruction<u32>(
      "prmt.b32", "",
      [](u32 x, u32 y, u32 selector) {
        u32 result = 0;
        for (int i = 0; i < 4; ++i) {
          const u32 s = selector >> (4 * i) & 15;
          const auto byte = static_cast<std::uint8_t>((u64{y} << 32 | x) >> (8 * (s & 7)));
          result |= u32{(s & 8) != 0 ? (byte >= 128 ? std::uint8_t{255} : std::uint8_t{0}) : byte} << (8 * i);
        }
        return result;
      },
      a, b, c);
  std::vector<u32> position, length;
  for (std::size_t i = 0; i < a.size(); ++i) {
    position.push_back(static_cast<u32>(i % 32));
    length.push_back(static_cast<u32>(i / 5 % (33 - position.back())));
  }
  check_instruction<u32>(
      "bfe.u32", "", [](u32 x, u32 p, u32 n) { return static_cast<u32>(u64{x} >> p & ((u64{1} << n) - 1)); }, a,
      position, length);
  check_instruction<i32>(
      "bfe.s32", "",
      [](u32 x, u32 p, u32 n) { return n == 0 ? 0 : static_cast<i32>(i64(u64{x} >> p << (64 - n)) >> (64 - n)); }, a,
      position, length);
  check_instruction<u32>(
      "bfi.b32", "",
      [](u32 x, u32 y, u32 p, u32 n) {
        const u64 mask = ((u64{1} << n) - 1) << p;
        return static_cast<u32>((y & ~mask) | (u64{x} << p & mask));
      },
      a, b, position, length);
  check_instruction<u32>(
      "dp4a.u32.s32", "",
      [](u32 x, u32 y, u32 z) {
        for (int i = 0; i < 4; ++i)
          z += static_cast<u32>(static_cast<int>(x >> (8 * i) & 255) * static_cast<std::int8_t>(y >> (8 * i)));
        return z;
      },
      a, b, c);
}

TEST_CASE("carries run through a chain") {
  Machine machine(R"(.visible .entry k(.param .u64 out) {
  .reg .b32 %r<8>; .reg .b64 %p;
  add.cc.u32 %r1, 0xFFFFFFFF, 1;
  addc.cc.u32 %r2, 0xFFFFFFFF, 0;
  addc.u32 %r3, 5, 0;
  sub.cc.u32 %r4, 0, 1;
  subc.u32 %r5, 7, 0;
  mad.lo.cc.u32 %r6, 0x10000, 0x10000, 0xFFFFFFFF;
  madc.hi.u32 %r7, 0x10000, 0x10000, 0;
  ld.param.u64 %p, [out];
  st.global.v4.u32 [%p], {%r1, %r2, %r3, %r4};
  st.global.u32 [%p+16], %r5; st.global.u32 [%p+20], %r6; st.global.u32 [%p+24], %r7;
  ret; })");
  u32* out = machine.allocate<u32>(7);
  CHECK(machine.run("k", {1}, {1}, out).fault == Fault::none);
  CHECK(std::vector<u32>(out, out + 7) == std::vector<u32>{0, 0, 6, 0xFFFFFFFF, 6, 0xFFFFFFFF, 1});
}

}  // namespace gpusim::test
