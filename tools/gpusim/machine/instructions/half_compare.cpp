// Comparisons of 16-bit numbers whose results are not one predicate: set to halves and words, setp on packed pairs.
#include "tools/gpusim/machine/instructions/half_formats.h"

namespace gpusim::GPUSIM_TARGET {

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;

// How two numbers relate, and a condition: the relations that satisfy it.
enum Relation : u32 { less = 1, equal = 2, greater = 4, unordered = 8 };

struct Condition {
  std::string_view name;
  u32 relations;
};
constexpr Condition conditions[] = {{"eq", equal},
                                    {"ne", less | greater},
                                    {"lt", less},
                                    {"le", less | equal},
                                    {"gt", greater},
                                    {"ge", greater | equal},
                                    {"equ", equal | unordered},
                                    {"neu", less | greater | unordered},
                                    {"ltu", less | unordered},
                                    {"leu", less | equal | unordered},
                                    {"gtu", greater | unordered},
                                    {"geu", greater | equal | unordered},
                                    {"num", less | equal | greater},
                                    {"nan", unordered}};

u32 relations_of(Binder& b, std::string_view name) {
  for (const Condition& condition : conditions) {
    if (condition.name == name) return condition.relations;
  }
  b.fail("the comparison is missing");
}

template <class H>
bool holds(u32 relations, u16 a, u16 b) {
  const float x = H::widen(a), y = H::widen(b);
  return (relations & (x < y ? less : x > y ? greater : x == y ? equal : unordered)) != 0;
}

// Op::variant: the relations; immediate: what a half is set to where one holds.
template <class H, class U>
const Op* set_halves(const Op* op, Warp& warp) {
  const auto f = [op](U a, U b) {
    U result = 0;
    for (unsigned shift = 0; shift < 8 * sizeof(U); shift += 16) {
      const bool yes = holds<H>(op->variant, static_cast<u16>(a >> shift), static_cast<u16>(b >> shift));
      result |= static_cast<U>(U{yes ? static_cast<u16>(op->immediate) : u16{0}} << shift);
    }
    return result;
  };
  map_lanes<U>(warp, op->slot[0], f, warp.in<U>(op->slot[1]), warp.in<U>(op->slot[2]));
  return op + 1;
}

// To a word: all ones, or the f32 1.
template <class H>
const Op* set_word(const Op* op, Warp& warp) {
  const auto yes = static_cast<u32>(op->immediate);
  map_lanes<u32>(
      warp, op->slot[0], [&](u16 a, u16 b) { return holds<H>(op->variant, a, b) ? yes : u32{0}; },
      warp.in<u16>(op->slot[1]), warp.in<u16>(op->slot[2]));
  return op + 1;
}

template <class H>
const Op* set_predicates_of_pair(const Op* op, Warp& warp) {
  const u32* a = warp.in<u32>(op->slot[2]);
  const u32* b = warp.in<u32>(op->slot[3]);
  u32 low = 0, high = 0;
  each_lane(warp.mask, [&](unsigned l) {
    low |= u32{holds<H>(op->variant, static_cast<u16>(a[l]), static_cast<u16>(b[l]))} << l;
    high |= u32{holds<H>(op->variant, static_cast<u16>(a[l] >> 16), static_cast<u16>(b[l] >> 16))} << l;
  });
  warp.set_predicate(op->slot[0], low);
  warp.set_predicate(op->slot[1], high);
  return op + 1;
}

}  // namespace

bool is_half(Type type);

// set, from f16 or bf16, single or packed
void bind_half_set(Binder& b, std::string_view condition, Type result, Type type) {
  const bool is_packed = ptx::bytes_of(type) == 4, is_bf16 = type == Type::bf16 || type == Type::bf16x2;
  b.op().variant = relations_of(b, condition);
  b.op().immediate = result == Type::f16 || result == Type::f16x2     ? F16::one
                     : result == Type::bf16 || result == Type::bf16x2 ? BF16::one
                     : result == Type::f32                            ? 0x3F800000
                                                                      : -1;
  b.output(result);
  b.input(type);
  b.input(type);
  const bool to_word = !is_packed && ptx::bytes_of(result) == 4;
  if (!to_word && ptx::bytes_of(result) != ptx::bytes_of(type)) return;
  b.run(to_word     ? is_bf16 ? set_word<BF16> : set_word<F16>
            : is_packed ? is_bf16 ? set_halves<BF16, u32> : set_halves<F16, u32>
            : is_bf16 ? set_halves<BF16, u16>
                    : set_halves<F16, u16>,
        InstructionClass::half);
}

// setp on a pair: p|q, the lower half's answer first
void bind_half_setp(Binder& b, std::string_view condition, Type type) {
  b.op().variant = relations_of(b, condition);
  b.output_with_predicate(Type::pred);
  b.input(type);
  b.input(type);
  b.run(type == Type::bf16x2 ? set_predicates_of_pair<BF16> : set_predicates_of_pair<F16>, InstructionClass::half);
}

}  // namespace gpusim::GPUSIM_TARGET
