// Loads and stores: ld st ldu, and the hints that have no effect here.
#include "tools/gpusim/machine/instructions/addresses.h"

#include <type_traits>

namespace gpusim::GPUSIM_TARGET {

Space take_space(Binder& b) {
  const std::string_view name = b.take_one_of(
      {"global", "shared", "shared::cta", "shared::cluster", "local", "const", "param", "param::entry", "param::func"});
  if (name.starts_with("shared")) return Space::shared;
  if (name.starts_with("param")) return Space::param;
  return name == "global"  ? Space::global
         : name == "local" ? Space::local
         : name == "const" ? Space::constant
                           : Space::generic;
}

InstructionClass class_of(Space space) {
  switch (space) {
    case Space::shared:
      return InstructionClass::shared_memory;
    case Space::local:
      return InstructionClass::local_memory;
    case Space::constant:
    case Space::param:
      return InstructionClass::constant_memory;
    default:
      return InstructionClass::global_memory;
  }
}

namespace {

// Element e of `count` of every lane: T in memory, R in the register.
template <class T, class R, unsigned count>
GPUSIM_INLINE void load_consecutive(const Op* op, Warp& warp, const std::byte* from) {
  R* d[count];
  for (unsigned e = 0; e < count; ++e) d[e] = warp.out<R>(op->slot[e]);
  const T* memory = reinterpret_cast<const T*>(from);
#pragma GCC ivdep
  for (unsigned l = 0; l < warp_size; ++l) {
    for (unsigned e = 0; e < count; ++e) d[e][l] = static_cast<R>(memory[l * count + e]);
  }
}

template <class T>
GPUSIM_INLINE T read_memory(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Eight lanes at a time, put together in a vector register: stored one by one they would hold up the next instruction,
// which reads them as vectors.
template <class T, class R>
GPUSIM_INLINE void load_scattered(R* d, std::byte* const* pointer, unsigned offset) {
  using Eight [[gnu::vector_size(8 * sizeof(R))]] = R;
  for (unsigned l = 0; l < warp_size; l += 8) {
    const auto element = [&](unsigned i) { return static_cast<R>(read_memory<T>(pointer[l + i] + offset)); };
    const Eight eight = {element(0), element(1), element(2), element(3),
                         element(4), element(5), element(6), element(7)};
    std::memcpy(d + l, &eight, sizeof eight);
  }
}

template <class T, class R>
const Op* load(const Op* op, Warp& warp) {
  const unsigned count = op->variant >> AddressForm::count_shift;
  Addresses a;
  if (!resolve(op, warp, op->slot[count], Access::load, sizeof(T) * count, a)) return nullptr;
  if (a.mask == all_lanes && a.pattern == Pattern::consecutive) {
    if (count == 1) load_consecutive<T, R, 1>(op, warp, a.pointer[0]);
    if (count == 2) load_consecutive<T, R, 2>(op, warp, a.pointer[0]);
    if (count == 4) load_consecutive<T, R, 4>(op, warp, a.pointer[0]);
    if (count <= 4) return op + 1;
  }
  if (a.mask == all_lanes && a.pattern == Pattern::uniform) {
    for (unsigned e = 0; e < count; ++e) {
      const R value = static_cast<R>(read_memory<T>(a.pointer[0] + e * sizeof(T)));
      R* d = warp.out<R>(op->slot[e]);
      for (unsigned l = 0; l < warp_size; ++l) d[l] = value;
    }
    return op + 1;
  }
  for (unsigned e = 0; e < count; ++e) {
    R* d = warp.out<R>(op->slot[e]);
    if (a.mask == all_lanes) {
      load_scattered<T>(d, a.pointer, e * sizeof(T));
    } else {
      each_lane(a.mask, [&](unsigned l) { d[l] = static_cast<R>(read_memory<T>(a.pointer[l] + e * sizeof(T))); });
      each_lane(warp.mask & ~a.mask, [&](unsigned l) { d[l] = 0; });
    }
  }
  return op + 1;
}

template <class T, class R, unsigned count>
GPUSIM_INLINE void store_consecutive(const Op* op, Warp& warp, std::byte* to) {
  const R* s[count];
  for (unsigned e = 0; e < count; ++e) s[e] = warp.in<R>(op->slot[e + 1]);
  T* memory = reinterpret_cast<T*>(to);
#pragma GCC ivdep
  for (unsigned l = 0; l < warp_size; ++l) {
    for (unsigned e = 0; e < count; ++e) memory[l * count + e] = static_cast<T>(s[e][l]);
  }
}

// Slots: the address, then the values.
template <class T, class R>
const Op* store(const Op* op, Warp& warp) {
  const unsigned count = op->variant >> AddressForm::count_shift;
  Addresses a;
  alignas(64) T value[warp_size * 8];
  if (warp.block->observer != nullptr) {
    for (unsigned e = 0; e < count; ++e) {
      const R* s = warp.in<R>(op->slot[e + 1]);
      for (unsigned l = 0; l < warp_size; ++l) value[l * count + e] = static_cast<T>(s[l]);
    }
  }
  if (!resolve(op, warp, op->slot[0], Access::store, sizeof(T) * count, a, reinterpret_cast<const std::byte*>(value)))
    return nullptr;
  if (a.mask == all_lanes && a.pattern == Pattern::consecutive && count <= 4) {
    if (count == 1) store_consecutive<T, R, 1>(op, warp, a.pointer[0]);
    if (count == 2) store_consecutive<T, R, 2>(op, warp, a.pointer[0]);
    if (count == 4) store_consecutive<T, R, 4>(op, warp, a.pointer[0]);
    return op + 1;
  }
  for (unsigned e = 0; e < count; ++e) {
    const R* s = warp.in<R>(op->slot[e + 1]);
    each_lane(a.mask, [&](unsigned l) {
      const T element = static_cast<T>(s[l]);
      std::memcpy(a.pointer[l] + e * sizeof(T), &element, sizeof element);
    });
  }
  return op + 1;
}

// T by the type in memory, R by the width of the register; a signed T extends its sign.
template <class Pick>
Handler for_element(Type type, unsigned width, Pick pick) {
  const auto in_register = [&]<class T>(T) -> Handler {
    if constexpr (sizeof(T) <= 2) {
      if (width == 2) return pick.template operator()<T, std::uint16_t>();
    }
    if constexpr (sizeof(T) <= 4) {
      if (width == 4) return pick.template operator()<T, std::uint32_t>();
    }
    return width == 8 ? pick.template operator()<T, std::uint64_t>() : nullptr;
  };
  switch (type) {
    case Type::s8:
      return in_register(std::int8_t{});
    case Type::b8:
    case Type::u8:
      return in_register(std::uint8_t{});
    default:
      break;
  }
  const Type bits = ptx::is_signed(type)       ? type
                    : ptx::bytes_of(type) == 2 ? Type::b16
                    : ptx::bytes_of(type) == 4 ? Type::b32
                                               : Type::b64;
  return for_integer(bits, in_register);
}

unsigned take_count(Binder& b) {
  const std::string_view name = b.take_one_of({"v2", "v4", "v8"});
  return name == "v2" ? 2 : name == "v4" ? 4 : name == "v8" ? 8 : 1;
}

// The width of the registers of a value or a vector of values; a literal has the type's own.
unsigned register_width(Binder& b, const Operand& operand, Type type) {
  const unsigned own = std::max(2u, ptx::bytes_of(type));
  if (operand.kind != Operand::Kind::list) return b.width(operand) != 0 ? b.width(operand) : own;
  for (const Operand& element : operand.elements) {
    if (b.width(element) != 0) return b.width(element);
  }
  return own;
}

Type bits_type(unsigned bytes) {
  return bytes == 2 ? Type::b16 : bytes == 4 ? Type::b32 : Type::b64;
}

void bind_ld(Binder& b) {
  const Space space = take_space(b);
  b.ignore_memory_hints();
  const unsigned count = take_count(b);
  const Type type = b.take_type();
  const Operand& to = b.next();
  const unsigned width = register_width(b, to, type);
  b.outputs(to, bits_type(width));
  if (b.slots() != count) b.fail("the vector has another length");
  const Binder::Address address = b.address(b.next(), space);
  if (b.has_operand()) b.next();  // a cache policy
  b.op().variant = address_form(address, count);
  if (count == 8 && b.slots() > 8) return b.run(nullptr, InstructionClass::global_memory);
  b.run(for_element(type, width, [&]<class T, class R>() -> Handler { return load<T, R>; }), class_of(address.space));
}

void bind_st(Binder& b) {
  const Space space = take_space(b);
  b.ignore_memory_hints();
  const unsigned count = take_count(b);
  const Type type = b.take_type();
  const Binder::Address address = b.address(b.next(), space);
  const Operand& from = b.next();
  const unsigned width = register_width(b, from, type);
  b.inputs(from, bits_type(width));
  if (b.slots() != count + 1) b.fail("the vector has another length");
  if (b.has_operand()) b.next();
  b.op().variant = address_form(address, count);
  if (count == 8) return b.run(nullptr, InstructionClass::global_memory);
  b.run(for_element(type, width,
                    [&]<class T, class R>() -> Handler {
                      if constexpr (std::is_signed_v<T>) {
                        return store<std::make_unsigned_t<T>, R>;
                      } else {
                        return store<T, R>;
                      }
                    }),
        class_of(address.space));
}

const Op* nothing(const Op* op, Warp&) {
  return op + 1;
}

// Hints about caches: whatever they say, values do not change.
void bind_hint(Binder& b) {
  for (const std::string_view modifier : b.instruction().modifiers) b.take(modifier);
  while (b.has_operand()) b.next();
  b.run(nothing, InstructionClass::move);
}

}  // namespace

void add_memory(InstructionSet& set) {
  set.add("ld", bind_ld);
  set.add("ldu", bind_ld);
  set.add("st", bind_st);
  for (const auto name : {"prefetch", "prefetchu", "discard", "applypriority", "createpolicy"})
    set.add(name, bind_hint);
}

}  // namespace gpusim::GPUSIM_TARGET
