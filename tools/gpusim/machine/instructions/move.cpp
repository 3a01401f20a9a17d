// Moves: mov with packing and unpacking, special registers, cvta, isspacep.
#include "tools/gpusim/machine/instructions/lanes.h"
#include "tools/gpusim/machine/special_registers.h"

namespace gpusim::GPUSIM_TARGET {

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using Kind = Operand::Kind;

struct Same {
  template <class T>
  GPUSIM_INLINE static T apply(T a) {
    return a;
  }
};

const Op* move_predicate(const Op* op, Warp& warp) {
  warp.set_predicate(op->slot[0], warp.predicate(op->slot[1]));
  return op + 1;
}

const Op* invert_predicate(const Op* op, Warp& warp) {
  *warp.out<u32>(op->slot[0]) = ~warp.predicate(op->slot[1]);
  return op + 1;
}

template <class T>
const Op* special_register(const Op* op, Warp& warp) {
  alignas(64) u64 lane[warp_size];
  read_special_register(static_cast<int>(op->immediate), warp, lane);
  map_lanes<T>(
      warp, op->slot[0], [](u64 x) { return static_cast<T>(x); }, static_cast<const u64*>(lane));
  return op + 1;
}

u64 frame_begin(const Warp& warp) {
  return warp.frames.back().local_base;
}
u64 dynamic_shared_begin(const Warp& warp) {
  return warp.launch().static_shared_bytes;
}

template <class T, u64 (*begin)(const Warp&)>
const Op* address_from(const Op* op, Warp& warp) {
  const T address = static_cast<T>(begin(warp) + static_cast<u64>(op->immediate));
  T* d = warp.out<T>(op->slot[0]);
  for (unsigned l = 0; l < warp_size; ++l) d[l] = address;
  return op + 1;
}

// Part p of `parts` in a wide number is a register of its own.
template <class Wide, class Part>
const Op* pack_parts(const Op* op, Warp& warp) {
  constexpr unsigned parts = sizeof(Wide) / sizeof(Part);
  alignas(64) Wide t[warp_size] = {};
  for (unsigned p = 0; p < parts; ++p) {
    const Part* part = warp.in<Part>(op->slot[1 + p]);
#pragma GCC ivdep
    for (unsigned l = 0; l < warp_size; ++l) t[l] |= static_cast<Wide>(Wide{part[l]} << (8 * sizeof(Part) * p));
  }
  map_lanes<Wide>(
      warp, op->slot[0], [](Wide x) { return x; }, static_cast<const Wide*>(t));
  return op + 1;
}

template <class Wide, class Part>
const Op* unpack_parts(const Op* op, Warp& warp) {
  constexpr unsigned parts = sizeof(Wide) / sizeof(Part);
  const Wide* whole = warp.in<Wide>(op->slot[parts]);
  for (unsigned p = 0; p < parts; ++p) {
    map_lanes<Part>(
        warp, op->slot[p], [p](Wide x) { return static_cast<Part>(x >> (8 * sizeof(Part) * p)); }, whole);
  }
  return op + 1;
}

Type part_type(Binder& b, Type whole, std::size_t parts) {
  switch (ptx::bytes_of(whole) / parts) {
    case 2:
      return Type::b16;
    case 4:
      return Type::b32;
    case 1:
      return Type::b8;
    default:
      b.fail("these parts do not fit");
  }
}

void bind_mov(Binder& b) {
  const Type type = b.take_type();
  const Operand& to = b.next();
  const Operand& from = b.next();
  if (from.kind == Kind::list) {
    const Type part = part_type(b, type, from.elements.size());
    b.output(to, type);
    b.inputs(from, part);
    return b.run(ptx::bytes_of(type) == 4 ? part == Type::b16 ? pack_parts<u32, u16> : nullptr
                 : part == Type::b32      ? pack_parts<u64, u32>
                 : part == Type::b16      ? pack_parts<u64, u16>
                                          : nullptr,
                 InstructionClass::move);
  }
  if (to.kind == Kind::list) {
    const Type part = part_type(b, type, to.elements.size());
    b.outputs(to, part);
    b.input(from, type);
    return b.run(ptx::bytes_of(type) == 4 ? part == Type::b16 ? unpack_parts<u32, u16> : nullptr
                 : part == Type::b32      ? unpack_parts<u64, u32>
                 : part == Type::b16      ? unpack_parts<u64, u16>
                                          : nullptr,
                 InstructionClass::move);
  }
  b.output(to, type);
  const int special = from.kind == Kind::special ? special_register_named(from.text) : -1;
  if (special >= 0) {
    b.op().immediate = special;
    return b.run(ptx::bytes_of(type) == 8 ? special_register<u64> : special_register<u32>, InstructionClass::move);
  }
  b.input(from, type);
  b.run(type == Type::pred ? move_predicate : for_bits(type, []<class T>(T) -> Handler { return unary<Same, T, T>; }),
        InstructionClass::move);
}

u64 window_of(std::string_view space) {
  return space.starts_with("shared") ? shared_window
         : space == "local"          ? local_window
         : space == "param"          ? param_window
                                     : 0;
}

struct AddWindow {
  GPUSIM_INLINE static u64 apply(u64 a, u64 window) { return a + window; }
};

void bind_cvta(Binder& b) {
  const bool to = b.take("to");
  const std::string_view space =
      b.take_one_of({"global", "shared", "shared::cta", "shared::cluster", "local", "const", "param", "param::entry"});
  const Type type = b.take_type();
  b.output(type);
  b.input(type);
  const u64 window = window_of(space);
  Operand offset;
  offset.kind = Kind::integer;
  offset.value = static_cast<std::int64_t>(to ? 0 - window : window);
  b.input(offset, Type::b64);
  b.run(ptx::bytes_of(type) == 8 ? binary<AddWindow, u64, u64> : nullptr, InstructionClass::integer);
}

const Op* is_in_space(const Op* op, Warp& warp) {
  const u64* address = warp.in<u64>(op->slot[1]);
  const auto window = static_cast<u64>(op->immediate);
  const Launch& launch = warp.launch();
  u32 mask = 0;
  for (unsigned l = 0; l < warp_size; ++l) {
    const bool inside = window != 0 ? address[l] - window < window_bytes
                                    : address[l] >= launch.memory_begin && address[l] < launch.memory_end;
    mask |= u32{inside} << l;
  }
  warp.set_predicate(op->slot[0], mask);
  return op + 1;
}

void bind_isspacep(Binder& b) {
  const std::string_view space =
      b.take_one_of({"global", "shared", "shared::cta", "shared::cluster", "local", "const", "param", "param::entry"});
  b.output(Type::pred);
  b.input(Type::b64);
  b.op().immediate = static_cast<std::int64_t>(window_of(space));
  b.run(space == "const" ? nullptr : is_in_space, InstructionClass::integer);
}

}  // namespace

void add_move(InstructionSet& set) {
  set.add("mov", bind_mov);
  set.add("cvta", bind_cvta);
  set.add("isspacep", bind_isspacep);
  set.special_register = special_register<u32>;
  set.special_register_64 = special_register<u64>;
  set.invert_predicate = invert_predicate;
  set.local_address = address_from<u64, frame_begin>;
  set.local_address_32 = address_from<u32, frame_begin>;
  set.dynamic_shared_address = address_from<u64, dynamic_shared_begin>;
  set.dynamic_shared_address_32 = address_from<u32, dynamic_shared_begin>;
}

}  // namespace gpusim::GPUSIM_TARGET
