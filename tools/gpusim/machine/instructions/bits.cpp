// Bits: and or xor not cnot lop3 shl shr shf prmt bfe bfi bfind brev clz popc fns bmsk szext. On predicates too.
#include <type_traits>

#include "tools/gpusim/machine/instructions/lanes.h"

namespace gpusim::GPUSIM_TARGET {

namespace {

using u32 = std::uint32_t;

struct And {
  template <class T>
  GPUSIM_INLINE static T apply(T a, T b) {
    return a & b;
  }
};
struct Or {
  template <class T>
  GPUSIM_INLINE static T apply(T a, T b) {
    return a | b;
  }
};
struct Xor {
  template <class T>
  GPUSIM_INLINE static T apply(T a, T b) {
    return a ^ b;
  }
};
struct Not {
  template <class T>
  GPUSIM_INLINE static T apply(T a) {
    return static_cast<T>(~a);
  }
};
struct IsZero {
  template <class T>
  GPUSIM_INLINE static T apply(T a) {
    return a == 0;
  }
};

// Shifts by more than the width give zero, or the sign.
struct ShiftLeft {
  template <class T>
  GPUSIM_INLINE static T apply(T a, u32 n) {
    return n < 8 * sizeof(T) ? static_cast<T>(a << n) : T{0};
  }
};
struct ShiftRight {
  template <class T>
  GPUSIM_INLINE static T apply(T a, u32 n) {
    constexpr u32 last = 8 * sizeof(T) - 1;
    if constexpr (std::is_signed_v<T>) return static_cast<T>(a >> (n < last ? n : last));
    return n <= last ? static_cast<T>(a >> n) : T{0};
  }
};
// Of the 64 bits of b:a, the upper word shifted left or the lower one shifted right.
template <bool left, bool wraps>
struct FunnelShift {
  GPUSIM_INLINE static u32 apply(u32 a, u32 b, u32 c) {
    const u32 n = wraps ? c & 31 : c < 32 ? c : 32;
    const std::uint64_t both = std::uint64_t{b} << 32 | a;
    return static_cast<u32>(left ? (both << n) >> 32 : both >> n);
  }
};

struct PopulationCount {
  template <class T>
  GPUSIM_INLINE static u32 apply(T a) {
    return static_cast<u32>(std::popcount(a));
  }
};
struct LeadingZeros {
  template <class T>
  GPUSIM_INLINE static u32 apply(T a) {
    return static_cast<u32>(std::countl_zero(a));
  }
};
struct Reverse {
  template <class T>
  GPUSIM_INLINE static T apply(T a) {
    T result = 0;
    for (unsigned i = 0; i < 8 * sizeof(T); ++i) result |= (a >> i & 1) << (8 * sizeof(T) - 1 - i);
    return result;
  }
};

template <bool shift_amount>
struct FindHighest {  // the highest bit that differs from the sign; all ones if there is none
  template <class T>
  static u32 apply(T a) {
    const auto bits = static_cast<std::make_unsigned_t<T>>(std::is_signed_v<T> && a < 0 ? ~a : a);
    if (bits == 0) return ~u32{0};
    const u32 zeros = static_cast<u32>(std::countl_zero(bits));
    return shift_amount ? zeros : static_cast<u32>(8 * sizeof(T) - 1) - zeros;
  }
};

struct ExtractField {
  template <class T>
  static T apply(T a, u32 position, u32 length) {
    using U = std::make_unsigned_t<T>;
    constexpr u32 width = 8 * sizeof(T);
    position &= 0xFF;
    length &= 0xFF;
    if (length == 0) return 0;
    const bool negative =
        std::is_signed_v<T> && (a >> (position + length - 1 < width - 1 ? position + length - 1 : width - 1) & 1) != 0;
    U field = position < width ? static_cast<U>(static_cast<U>(a) >> position) : U{0};
    const u32 there = position < width ? (length < width - position ? length : width - position) : 0;
    if (there < width) {
      field &= static_cast<U>((U{1} << there) - 1);
      if (negative) field |= static_cast<U>(~U{0} << there);
    }
    return static_cast<T>(field);
  }
};
template <class T>
struct InsertField {  // a into b
  static T apply(T a, T b, u32 position, u32 length) {
    position &= 0xFF;
    length &= 0xFF;
    constexpr u32 width = 8 * sizeof(T);
    if (length == 0 || position >= width) return b;
    T mask = length < width ? static_cast<T>((T{1} << length) - 1) : static_cast<T>(~T{0});
    mask = static_cast<T>(mask << position);
    return (b & ~mask) | (static_cast<T>(a << position) & mask);
  }
};

// bfi and lop3 have more inputs than the common shapes.
template <class T>
const Op* insert_field(const Op* op, Warp& warp) {
  map_lanes<T>(
      warp, op->slot[0], [](T a, T b, u32 p, u32 n) { return InsertField<T>::apply(a, b, p, n); },
      warp.in<T>(op->slot[1]), warp.in<T>(op->slot[2]), warp.in<u32>(op->slot[3]), warp.in<u32>(op->slot[4]));
  return op + 1;
}

// The table's bit number 4a + 2b + c is the result for the bits a, b, c.
const Op* lop3(const Op* op, Warp& warp) {
  u32 term[8];
  for (u32 i = 0; i < 8; ++i) term[i] = (op->variant >> i & 1) != 0 ? all_lanes : 0;
  const auto f = [&term](u32 a, u32 b, u32 c) {
    // Three levels of choosing: by c, then b, then a.
    const u32 a0b0 = (term[0] & ~c) | (term[1] & c), a0b1 = (term[2] & ~c) | (term[3] & c);
    const u32 a1b0 = (term[4] & ~c) | (term[5] & c), a1b1 = (term[6] & ~c) | (term[7] & c);
    return (((a0b0 & ~b) | (a0b1 & b)) & ~a) | (((a1b0 & ~b) | (a1b1 & b)) & a);
  };
  map_lanes<u32>(warp, op->slot[0], f, warp.in<u32>(op->slot[1]), warp.in<u32>(op->slot[2]), warp.in<u32>(op->slot[3]));
  return op + 1;
}

enum Permute : u32 { by_index, forward_4, backward_4, replicate_8, edge_left, edge_right, replicate_16 };

GPUSIM_INLINE u32 permute(u32 mode, u32 a, u32 b, u32 c) {
  const std::uint64_t bytes = std::uint64_t{b} << 32 | a;
  u32 result = 0;
  for (u32 i = 0; i < 4; ++i) {
    const u32 n = c & 3;
    u32 from = 0;
    switch (mode) {
      case by_index:
        from = c >> (4 * i) & 0xF;
        break;
      case forward_4:
        from = (n + i) & 7;
        break;
      case backward_4:
        from = (n - i) & 7;
        break;
      case replicate_8:
        from = n;
        break;
      case edge_left:
        from = i > n ? i : n;
        break;
      case edge_right:
        from = i < n ? i : n;
        break;
      default:
        from = (n & 1) * 2 + (i & 1);
    }
    u32 byte = static_cast<u32>(bytes >> (8 * (from & 7))) & 0xFF;
    if (mode == by_index && (from & 8) != 0) byte = (byte & 0x80) != 0 ? 0xFF : 0;
    result |= byte << (8 * i);
  }
  return result;
}

template <u32 mode>
struct PermuteBytes {
  GPUSIM_INLINE static u32 apply(u32 a, u32 b, u32 c) { return permute(mode, a, b, c); }
};

struct FindNthSet {  // the nth set bit, counted from bit `base` upwards or downwards
  static u32 apply(u32 mask, u32 base, std::int32_t n) {
    if (n == 0) return (mask >> base & 1) != 0 ? base : ~u32{0};
    const std::int32_t step = n > 0 ? 1 : -1;
    std::int32_t left = n > 0 ? n : -n;
    for (std::int32_t i = static_cast<std::int32_t>(base); i >= 0 && i < 32; i += step) {
      if ((mask >> i & 1) != 0 && --left == 0) return static_cast<u32>(i);
    }
    return ~u32{0};
  }
};

template <bool wraps>
struct MakeMask {
  static u32 apply(u32 position, u32 length) {
    if (wraps) {
      position &= 31;
      length &= 31;
    }
    if (position >= 32 || length == 0) return 0;
    const u32 ones = length >= 32 ? ~u32{0} : (u32{1} << length) - 1;
    return ones << position;
  }
};
template <bool wraps>
struct SignExtend {
  template <class T>
  static T apply(T a, u32 n) {
    if (wraps) n &= 31;
    if (n >= 32) return a;
    if (n == 0) return 0;
    return static_cast<T>(static_cast<T>(static_cast<u32>(a) << (32 - n)) >> (32 - n));
  }
};

// Predicates are masks: one operation does all lanes.
template <class F, bool is_unary>
const Op* on_predicates(const Op* op, Warp& warp) {
  const u32 a = warp.predicate(op->slot[1]);
  if constexpr (is_unary) {
    warp.set_predicate(op->slot[0], F::apply(a));
  } else {
    warp.set_predicate(op->slot[0], F::apply(a, warp.predicate(op->slot[2])));
  }
  return op + 1;
}

template <class F>
void bind_logic(Binder& b) {
  const Type type = b.take_type();
  b.output(type);
  b.input(type);
  b.input(type);
  b.run(type == Type::pred ? on_predicates<F, false>
                           : for_bits(type, []<class T>(T) -> Handler { return binary<F, T, T>; }),
        type == Type::pred ? InstructionClass::move : InstructionClass::integer);
}

void bind_not(Binder& b) {
  const Type type = b.take_type();
  b.output(type);
  b.input(type);
  b.run(type == Type::pred ? on_predicates<Not, true>
                           : for_bits(type, []<class T>(T) -> Handler { return unary<Not, T, T>; }),
        InstructionClass::integer);
}

template <class F>
void bind_shift(Binder& b) {
  const Type type = b.take_type();
  b.output(type);
  b.input(type);
  b.input(Type::b32);
  b.run(for_integer(type, []<class T>(T) -> Handler { return binary<F, T, T, u32>; }), InstructionClass::integer);
}

template <class F>
void bind_count(Binder& b) {
  const Type type = b.take_type();
  b.output(Type::b32);
  b.input(type);
  b.run(ptx::bytes_of(type) == 8 ? unary<F, u32, std::uint64_t> : unary<F, u32, u32>, InstructionClass::integer);
}

void bind_prmt(Binder& b) {
  b.take("b32");
  const std::string_view mode = b.take_one_of({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"});
  b.output(Type::b32);
  for (int i = 0; i < 3; ++i) b.input(Type::b32);
  b.run(mode == "f4e"    ? ternary<PermuteBytes<forward_4>, u32, u32>
        : mode == "b4e"  ? ternary<PermuteBytes<backward_4>, u32, u32>
        : mode == "rc8"  ? ternary<PermuteBytes<replicate_8>, u32, u32>
        : mode == "ecl"  ? ternary<PermuteBytes<edge_left>, u32, u32>
        : mode == "ecr"  ? ternary<PermuteBytes<edge_right>, u32, u32>
        : mode == "rc16" ? ternary<PermuteBytes<replicate_16>, u32, u32>
                         : ternary<PermuteBytes<by_index>, u32, u32>,
        InstructionClass::integer);
}

}  // namespace

void add_bits(InstructionSet& set) {
  set.add("and", bind_logic<And>);
  set.add("or", bind_logic<Or>);
  set.add("xor", bind_logic<Xor>);
  set.add("not", bind_not);
  set.add("cnot", [](Binder& b) {
    const Type type = b.take_type();
    b.output(type);
    b.input(type);
    b.run(for_bits(type, []<class T>(T) -> Handler { return unary<IsZero, T, T>; }), InstructionClass::integer);
  });
  set.add("lop3", [](Binder& b) {
    b.take("b32");
    b.output(Type::b32);
    for (int i = 0; i < 3; ++i) b.input(Type::b32);
    b.op().variant = static_cast<u32>(b.literal()) & 0xFF;
    b.run(lop3, InstructionClass::integer);
  });
  set.add("shl", bind_shift<ShiftLeft>);
  set.add("shr", bind_shift<ShiftRight>);
  set.add("shf", [](Binder& b) {
    const bool left = b.take_one_of({"l", "r"}) == "l", wraps = b.take_one_of({"wrap", "clamp"}) == "wrap";
    b.take("b32");
    b.output(Type::b32);
    for (int i = 0; i < 3; ++i) b.input(Type::b32);
    b.run(left    ? wraps ? ternary<FunnelShift<true, true>, u32, u32> : ternary<FunnelShift<true, false>, u32, u32>
             : wraps ? ternary<FunnelShift<false, true>, u32, u32>
                  : ternary<FunnelShift<false, false>, u32, u32>,
          InstructionClass::integer);
  });
  set.add("popc", bind_count<PopulationCount>);
  set.add("clz", bind_count<LeadingZeros>);
  set.add("brev", [](Binder& b) {
    const Type type = b.take_type();
    b.output(type);
    b.input(type);
    b.run(ptx::bytes_of(type) == 8 ? unary<Reverse, std::uint64_t, std::uint64_t> : unary<Reverse, u32, u32>,
          InstructionClass::integer);
  });
  set.add("bfind", [](Binder& b) {
    const bool shift_amount = b.take("shiftamt");
    const Type type = b.take_type();
    b.output(Type::b32);
    b.input(type);
    b.run(for_integer(type,
                      [&]<class T>(T) -> Handler {
                        return shift_amount ? unary<FindHighest<true>, u32, T> : unary<FindHighest<false>, u32, T>;
                      }),
          InstructionClass::integer);
  });
  set.add("bfe", [](Binder& b) {
    const Type type = b.take_type();
    b.output(type);
    b.input(type);
    b.input(Type::b32);
    b.input(Type::b32);
    b.run(for_integer(type, []<class T>(T) -> Handler { return ternary<ExtractField, T, T, u32, u32>; }),
          InstructionClass::integer);
  });
  set.add("bfi", [](Binder& b) {
    const Type type = b.take_type();
    b.output(type);
    b.input(type);
    b.input(type);
    b.input(Type::b32);
    b.input(Type::b32);
    b.run(ptx::bytes_of(type) == 8 ? insert_field<std::uint64_t> : insert_field<u32>, InstructionClass::integer);
  });
  set.add("prmt", bind_prmt);
  set.add("fns", [](Binder& b) {
    b.take("b32");
    b.output(Type::b32);
    for (int i = 0; i < 3; ++i) b.input(Type::b32);
    b.run(ternary<FindNthSet, u32, u32, u32, std::int32_t>, InstructionClass::integer);
  });
  set.add("bmsk", [](Binder& b) {
    const bool wraps = b.take_one_of({"clamp", "wrap"}) == "wrap";
    b.take("b32");
    b.output(Type::b32);
    b.input(Type::b32);
    b.input(Type::b32);
    b.run(wraps ? binary<MakeMask<true>, u32, u32> : binary<MakeMask<false>, u32, u32>, InstructionClass::integer);
  });
  set.add("szext", [](Binder& b) {
    const bool wraps = b.take_one_of({"clamp", "wrap"}) == "wrap";
    const Type type = b.take_type();
    b.output(type);
    b.input(type);
    b.input(Type::b32);
    b.run(for_integer(type,
                      [&]<class T>(T) -> Handler {
                        return wraps ? binary<SignExtend<true>, T, T, u32> : binary<SignExtend<false>, T, T, u32>;
                      }),
          InstructionClass::integer);
  });
}

}  // namespace gpusim::GPUSIM_TARGET
