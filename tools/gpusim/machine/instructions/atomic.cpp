// Atomic operations: atom and red, on all spaces.
#include "tools/gpusim/machine/instructions/addresses.h"
#include "tools/gpusim/machine/instructions/half_formats.h"

#include <type_traits>

namespace gpusim::GPUSIM_TARGET {

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// The new value from the old one and the operands. `U` is how the lanes hold it.
struct Exchange {
  template <class U>
  static U apply(U, U b, U) {
    return b;
  }
};
struct CompareAndSwap {
  template <class U>
  static U apply(U old, U compare, U value) {
    return old == compare ? value : old;
  }
};
struct And {
  template <class U>
  static U apply(U old, U b, U) {
    return old & b;
  }
};
struct Or {
  template <class U>
  static U apply(U old, U b, U) {
    return old | b;
  }
};
struct Xor {
  template <class U>
  static U apply(U old, U b, U) {
    return old ^ b;
  }
};
struct Increment {  // wraps to zero at b
  template <class U>
  static U apply(U old, U b, U) {
    return old >= b ? U{0} : static_cast<U>(old + 1);
  }
};
struct Decrement {
  template <class U>
  static U apply(U old, U b, U) {
    return old == 0 || old > b ? b : static_cast<U>(old - 1);
  }
};
template <class T>
struct Add {
  template <class U>
  static U apply(U old, U b, U) {
    if constexpr (std::is_floating_point_v<T>) return bits_of(canonical(from_bits<T>(old) + from_bits<T>(b)));
    return static_cast<U>(old + b);
  }
};
template <class T>
struct Minimum {
  template <class U>
  static U apply(U old, U b, U) {
    return static_cast<T>(old) < static_cast<T>(b) ? old : b;
  }
};
template <class T>
struct Maximum {
  template <class U>
  static U apply(U old, U b, U) {
    return static_cast<T>(old) > static_cast<T>(b) ? old : b;
  }
};
template <class H>
struct AddHalf {
  template <class U>
  static U apply(U old, U b, U) {
    const auto sum = [](u16 x, u16 y) { return H::narrow(sum_to_odd(H::widen(x), H::widen(y))); };
    const u16 low = sum(static_cast<u16>(old), static_cast<u16>(b));
    if constexpr (sizeof(U) == 2) return low;
    return static_cast<U>(low | u32{sum(static_cast<u16>(old >> 16), static_cast<u16>(b >> 16))} << 16);
  }
};

// Slots: the result (atom), the address, one operand or two. Blocks run on several threads: memory that they share is
// changed by compare-and-swap; shared and local memory belong to this thread alone.
template <class F, class U, bool returns>
const Op* atomic(const Op* op, Warp& warp) {
  const unsigned first = returns ? 1 : 0;
  const U* b = warp.in<U>(op->slot[first + 1]);
  const U* c = op->variant >> AddressForm::count_shift == 2 ? warp.in<U>(op->slot[first + 2]) : b;
  Addresses a;
  if (!resolve(op, warp, op->slot[first], Access::atomic, sizeof(U), a)) return nullptr;
  alignas(64) U result[warp_size] = {};
  const bool is_private = space_of(op->variant) == Space::shared || space_of(op->variant) == Space::local;
  each_lane(a.mask, [&](unsigned l) {
    U* memory = reinterpret_cast<U*>(a.pointer[l]);
    if (is_private) {
      result[l] = *memory;
      *memory = F::apply(result[l], b[l], c[l]);
    } else {
      U old = __atomic_load_n(memory, __ATOMIC_RELAXED);
      while (!__atomic_compare_exchange_n(memory, &old, F::apply(old, b[l], c[l]), true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED)) {
      }
      result[l] = old;
    }
  });
  if constexpr (returns) blend(warp.out<U>(op->slot[0]), result, warp.mask);
  return op + 1;
}

template <class F, class U>
Handler in_form(bool returns) {
  return returns ? atomic<F, U, true> : atomic<F, U, false>;
}

template <class F>
Handler on_bits(Type type, bool returns) {
  return for_bits(type, [&]<class U>(U) -> Handler { return in_form<F, U>(returns); });
}

template <template <class> class F>
Handler on_numbers(Type type, bool returns) {
  return for_integer(type, [&]<class T>(T) -> Handler { return in_form<F<T>, std::make_unsigned_t<T>>(returns); });
}

Handler find(std::string_view name, Type type, bool returns) {
  if (name == "exch") return on_bits<Exchange>(type, returns);
  if (name == "cas") return on_bits<CompareAndSwap>(type, returns);
  if (name == "and") return on_bits<And>(type, returns);
  if (name == "or") return on_bits<Or>(type, returns);
  if (name == "xor") return on_bits<Xor>(type, returns);
  if (name == "inc") return on_bits<Increment>(type, returns);
  if (name == "dec") return on_bits<Decrement>(type, returns);
  if (name == "min") return on_numbers<Minimum>(type, returns);
  if (name == "max") return on_numbers<Maximum>(type, returns);
  if (name != "add") return nullptr;
  if (type == Type::f32) return in_form<Add<float>, u32>(returns);
  if (type == Type::f64) return in_form<Add<double>, u64>(returns);
  if (type == Type::f16) return in_form<AddHalf<F16>, u16>(returns);
  if (type == Type::bf16) return in_form<AddHalf<BF16>, u16>(returns);
  if (type == Type::f16x2) return in_form<AddHalf<F16>, u32>(returns);
  if (type == Type::bf16x2) return in_form<AddHalf<BF16>, u32>(returns);
  return on_numbers<Add>(type, returns);
}

template <bool returns>
void bind(Binder& b) {
  const Space space = take_space(b);
  b.ignore_memory_hints();
  b.take("noftz");
  const std::string_view name = b.take_one_of({"add", "exch", "cas", "and", "or", "xor", "inc", "dec", "min", "max"});
  const Type type = b.take_type();
  if (returns) b.output(type);
  const Binder::Address address = b.address(b.next(), space);
  b.input(type);
  const bool two = name == "cas";
  if (two) b.input(type);
  if (b.has_operand()) b.next();  // a cache policy
  b.op().variant = address_form(address, two ? 2 : 1);
  b.run(find(name, type, returns), InstructionClass::atomic);
}

}  // namespace

void add_atomic(InstructionSet& set) {
  set.add("atom", bind<true>);
  set.add("red", bind<false>);
}

}  // namespace gpusim::GPUSIM_TARGET
