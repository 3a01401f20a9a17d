// Comparisons and choices: setp set selp slct.
#include "tools/gpusim/machine/instructions/half_formats.h"

namespace gpusim::GPUSIM_TARGET {

// In half.cpp and half_compare.cpp.
bool is_half(Type type);
void bind_half_set(Binder& b, std::string_view condition, Type result, Type type);
void bind_half_setp(Binder& b, std::string_view condition, Type type);

namespace {

using u32 = std::uint32_t;

// The conditions. For floating-point numbers a plain one is false when an operand is NaN; one with a `u` is then true.
struct Equal {
  template <class T>
  GPUSIM_INLINE static bool apply(T a, T b) {
    return a == b;
  }
};
struct NotEqual {
  template <class T>
  GPUSIM_INLINE static bool apply(T a, T b) {
    return a < b || a > b;
  }
};
struct Less {
  template <class T>
  GPUSIM_INLINE static bool apply(T a, T b) {
    return a < b;
  }
};
struct LessEqual {
  template <class T>
  GPUSIM_INLINE static bool apply(T a, T b) {
    return a <= b;
  }
};
struct Greater {
  template <class T>
  GPUSIM_INLINE static bool apply(T a, T b) {
    return a > b;
  }
};
struct GreaterEqual {
  template <class T>
  GPUSIM_INLINE static bool apply(T a, T b) {
    return a >= b;
  }
};
struct Number {
  template <class T>
  GPUSIM_INLINE static bool apply(T a, T b) {
    return a == a && b == b;
  }
};
template <class F>
struct NoneOf {  // the negation: of a condition on numbers, the unordered form of its opposite
  template <class T>
  GPUSIM_INLINE static bool apply(T a, T b) {
    return !F::apply(a, b);
  }
};

template <class T>
struct Plain {
  using type = T;
  GPUSIM_INLINE static T read(T x) { return x; }
};
struct Flushed {
  using type = float;
  GPUSIM_INLINE static float read(float x) { return flush(x); }
};
template <class H>
struct Widened {
  using type = std::uint16_t;
  GPUSIM_INLINE static float read(std::uint16_t x) { return H::widen(x); }
};

template <class F, class Reader>
GPUSIM_INLINE u32 compare(Warp& warp, Slot a, Slot b) {
  using T = typename Reader::type;
  return lanes_where([](T x, T y) { return F::apply(Reader::read(x), Reader::read(y)); }, warp.in<T>(a), warp.in<T>(b));
}

// setp d, a, b
template <class F, class Reader>
const Op* set_predicate(const Op* op, Warp& warp) {
  warp.set_predicate(op->slot[0], compare<F, Reader>(warp, op->slot[1], op->slot[2]));
  return op + 1;
}

// The other forms. Variant: see Form.
struct Form {
  static constexpr u32 is_and = 2, is_or = 4, is_xor = 8, joins = 14, gives_float = 16;
};
GPUSIM_INLINE u32 joined(u32 variant, u32 result, u32 other) {
  return (variant & Form::is_and) != 0   ? result & other
         : (variant & Form::is_or) != 0  ? result | other
         : (variant & Form::is_xor) != 0 ? result ^ other
                                         : result;
}

// Slots: the result, a, b (as setp has them; the plain handler, in `extra`, does them first), a second result, the
// predicate that joins in.
const Op* set_predicates(const Op* op, Warp& warp) {
  reinterpret_cast<Handler>(const_cast<void*>(op->extra))(op, warp);
  const u32 result = warp.predicate(op->slot[0]);
  const u32 other = (op->variant & Form::joins) != 0 ? warp.predicate(op->slot[4]) : 0;
  warp.set_predicate(op->slot[3], joined(op->variant, ~result, other));
  warp.set_predicate(op->slot[0], joined(op->variant, result, other));
  return op + 1;
}

// set: all ones or 1.0 where it holds, else 0. Slot 3 takes them.
const Op* set_value(const Op* op, Warp& warp) {
  reinterpret_cast<Handler>(const_cast<void*>(op->extra))(op, warp);
  const u32 result = warp.predicate(op->slot[0]);
  const u32 other = (op->variant & Form::joins) != 0 ? warp.predicate(op->slot[4]) : 0;
  const u32 mask = joined(op->variant, result, other),
            yes = (op->variant & Form::gives_float) != 0 ? 0x3F800000 : all_lanes;
  u32* d = warp.out<u32>(op->slot[3]);
  each_lane(warp.mask, [&](unsigned l) { d[l] = bit(mask, l) ? yes : 0; });
  return op + 1;
}

template <class Reader>
Handler by_condition(std::string_view name, bool is_float) {
  if (name == "eq") return set_predicate<Equal, Reader>;
  if (name == "ne") return is_float ? set_predicate<NotEqual, Reader> : set_predicate<NoneOf<Equal>, Reader>;
  if (name == "lt" || name == "lo") return set_predicate<Less, Reader>;
  if (name == "le" || name == "ls") return set_predicate<LessEqual, Reader>;
  if (name == "gt" || name == "hi") return set_predicate<Greater, Reader>;
  if (name == "ge" || name == "hs") return set_predicate<GreaterEqual, Reader>;
  if (!is_float) return nullptr;
  if (name == "equ") return set_predicate<NoneOf<NotEqual>, Reader>;
  if (name == "neu") return set_predicate<NoneOf<Equal>, Reader>;
  if (name == "ltu") return set_predicate<NoneOf<GreaterEqual>, Reader>;
  if (name == "leu") return set_predicate<NoneOf<Greater>, Reader>;
  if (name == "gtu") return set_predicate<NoneOf<LessEqual>, Reader>;
  if (name == "geu") return set_predicate<NoneOf<Less>, Reader>;
  if (name == "num") return set_predicate<Number, Reader>;
  if (name == "nan") return set_predicate<NoneOf<Number>, Reader>;
  return nullptr;
}

Handler comparison(Type type, std::string_view condition, bool flushes) {
  if (type == Type::f32)
    return flushes ? by_condition<Flushed>(condition, true) : by_condition<Plain<float>>(condition, true);
  if (type == Type::f64) return by_condition<Plain<double>>(condition, true);
  if (type == Type::f16) return by_condition<Widened<F16>>(condition, true);
  if (type == Type::bf16) return by_condition<Widened<BF16>>(condition, true);
  return for_integer(type, [&]<class T>(T) -> Handler { return by_condition<Plain<T>>(condition, false); });
}

constexpr auto conditions = {"eq", "ne",  "lt",  "le",  "gt",  "ge",  "lo",  "ls",  "hi",
                             "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

std::string_view take_condition(Binder& b) {
  for (const std::string_view name : conditions) {
    if (b.take(name)) return name;
  }
  b.fail("the comparison is missing");
}

u32 take_join(Binder& b) {
  const std::string_view name = b.take_one_of({"and", "or", "xor"});
  return name == "and" ? Form::is_and : name == "or" ? Form::is_or : name == "xor" ? Form::is_xor : 0;
}

InstructionClass class_of(Type type) {
  if (!ptx::is_float(type)) return InstructionClass::integer;
  return type == Type::f64   ? InstructionClass::float64
         : type == Type::f32 ? InstructionClass::float32
                             : InstructionClass::half;
}

void bind_setp(Binder& b) {
  const std::string_view condition = take_condition(b);
  const u32 join = take_join(b);
  const bool flushes = b.take("ftz");
  const Type type = b.take_type();
  if (join == 0 && is_half(type) && ptx::bytes_of(type) == 4) return bind_half_setp(b, condition, type);
  const Operand& result = b.next();
  b.output(result, Type::pred);
  b.input(type);
  b.input(type);
  const Handler plain = comparison(type, condition, flushes);
  if (plain == nullptr || (join == 0 && result.predicate < 0)) return b.run(plain, class_of(type));
  Operand second;  // a register nobody reads, if there is none
  second.kind = result.predicate >= 0 ? Operand::Kind::reg : Operand::Kind::sink;
  second.index = result.predicate;
  b.output(second, Type::pred);
  if (join != 0) b.input(Type::pred);
  b.op().variant = join;
  b.op().extra = reinterpret_cast<const void*>(plain);
  b.run(set_predicates, class_of(type));
}

void bind_set(Binder& b) {
  const std::string_view condition = take_condition(b);
  const u32 join = take_join(b);
  const bool flushes = b.take("ftz");
  const Type type_of_result = b.take_type(), type = b.take_type();
  if (join == 0 && is_half(type)) return bind_half_set(b, condition, type_of_result, type);
  const Operand& result = b.next();
  b.output(Operand{}, Type::pred);
  b.input(type);
  b.input(type);
  b.output(result, type_of_result);
  if (join != 0) b.input(Type::pred);
  const Handler plain = comparison(type, condition, flushes);
  b.op().variant = join | (type_of_result == Type::f32 ? Form::gives_float : 0);
  b.op().extra = reinterpret_cast<const void*>(plain);
  b.run(plain != nullptr && ptx::bytes_of(type_of_result) == 4 ? set_value : nullptr, class_of(type));
}

template <class T>
const Op* select(const Op* op, Warp& warp) {
  const u32 yes = warp.predicate(op->slot[3]);
  const T* a = warp.in<T>(op->slot[1]);
  const T* b = warp.in<T>(op->slot[2]);
  T* d = warp.out<T>(op->slot[0]);
  alignas(64) T t[warp_size];
#pragma GCC ivdep
  for (unsigned l = 0; l < warp_size; ++l) t[l] = bit(yes, l) ? a[l] : b[l];
  if (warp.whole()) {
    std::memcpy(d, t, sizeof t);
  } else {
    blend(d, t, warp.mask);
  }
  return op + 1;
}

// a where c >= 0, else b
template <class T, class C>
const Op* select_by_sign(const Op* op, Warp& warp) {
  map_lanes<T>(
      warp, op->slot[0], [](T a, T b, C c) { return c >= 0 ? a : b; }, warp.in<T>(op->slot[1]), warp.in<T>(op->slot[2]),
      warp.in<C>(op->slot[3]));
  return op + 1;
}

}  // namespace

void add_compare(InstructionSet& set) {
  set.add("setp", bind_setp);
  set.add("set", bind_set);
  set.add("selp", [](Binder& b) {
    const Type type = b.take_type();
    b.output(type);
    b.input(type);
    b.input(type);
    b.input(Type::pred);
    b.run(for_bits(type, []<class T>(T) -> Handler { return select<T>; }), InstructionClass::move);
  });
  set.add("slct", [](Binder& b) {
    b.take("ftz");
    const Type type = b.take_type(), sign = b.take_type();
    b.output(type);
    b.input(type);
    b.input(type);
    b.input(sign);
    b.run(for_bits(type,
                   [&]<class T>(T) -> Handler {
                     return sign == Type::f32 ? select_by_sign<T, float> : select_by_sign<T, std::int32_t>;
                   }),
          InstructionClass::move);
  });
}

}  // namespace gpusim::GPUSIM_TARGET
