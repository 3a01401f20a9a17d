// What the lanes of a warp do together: shfl vote match redux activemask elect bar.warp.
//
// Lanes named by a member mask that are not on this path cannot take part: post-dominator reconvergence has brought
// together all that can come. Check mode reports them.
#include "tools/gpusim/machine/instructions/lanes.h"

#include <type_traits>

namespace gpusim::GPUSIM_TARGET {

// In barrier.cpp.
const Op* warp_barrier(const Op* op, Warp& warp);

namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

constexpr u32 has_mask = 1;  // Op::variant: the last slot is a member mask

// The lanes that take part with lane l.
GPUSIM_INLINE u32 members(const Op* op, const Warp& warp, unsigned slot, unsigned l) {
  return (op->variant & has_mask) != 0 ? warp.in<u32>(op->slot[slot])[l] & warp.mask : warp.mask;
}

// Tells check mode which lanes the masks name, and which lanes read one that is not there.
GPUSIM_INLINE void observe(const Op* op, Warp& warp, unsigned slot, u32 read_absent) {
  if (warp.block->observer == nullptr) return;
  u32 named = 0;
  if ((op->variant & has_mask) != 0) {
    each_lane(warp.mask, [&](unsigned l) { named |= warp.in<u32>(op->slot[slot])[l]; });
  }
  warp.block->observer->shuffle(warp, op, named, read_absent);
}

enum class Shuffle { up, down, butterfly, index };

// Slots: d, p, a, b, c, mask. PTX ISA, "shfl.sync": c holds the clamp in bits 0-4 and the segment mask in bits 8-12.
template <Shuffle mode>
const Op* shuffle(const Op* op, Warp& warp) {
  const u32* a = warp.in<u32>(op->slot[2]);
  const u32* b = warp.in<u32>(op->slot[3]);
  const u32* c = warp.in<u32>(op->slot[4]);
  alignas(64) u32 result[warp_size], from[warp_size];
  alignas(64) std::uint8_t in_range[warp_size];
  u32 absent = 0;
  for (unsigned l = 0; l < warp_size; ++l) {
    const auto lane = static_cast<std::int32_t>(l), by = static_cast<std::int32_t>(b[l] & 31);
    const auto segment = static_cast<std::int32_t>(c[l] >> 8 & 31), clamp = static_cast<std::int32_t>(c[l] & 31);
    const std::int32_t low = lane & segment, high = low | (clamp & ~segment);
    const std::int32_t j = mode == Shuffle::up          ? lane - by
                           : mode == Shuffle::down      ? lane + by
                           : mode == Shuffle::butterfly ? lane ^ by
                                                        : low | (by & ~segment);
    const bool inside = mode == Shuffle::up ? j >= high : j <= high;
    in_range[l] = inside ? 255 : 0;
    from[l] = static_cast<u32>(inside ? j : lane);
  }
  for (unsigned l = 0; l < warp_size; ++l) {
    result[l] = a[from[l]];
    absent |= u32{!bit(warp.mask, from[l])} << l;
  }
  observe(op, warp, 5, absent & warp.mask);
  blend(warp.out<u32>(op->slot[0]), result, warp.mask);
  warp.set_predicate(op->slot[1], pack(in_range));
  return op + 1;
}

void bind_shfl(Binder& b) {
  const bool has_members = b.take("sync");
  const std::string_view mode = b.take_one_of({"up", "down", "bfly", "idx"});
  b.take("b32");
  b.output_with_predicate(Type::b32);
  for (int i = 0; i < 3; ++i) b.input(Type::b32);
  if (has_members) b.input(Type::b32);
  b.op().variant = has_members ? has_mask : 0;
  b.run(mode == "up"     ? shuffle<Shuffle::up>
        : mode == "down" ? shuffle<Shuffle::down>
        : mode == "bfly" ? shuffle<Shuffle::butterfly>
        : mode == "idx"  ? shuffle<Shuffle::index>
                         : nullptr,
        InstructionClass::warp);
}

enum class Vote { all, any, uniform, ballot };

template <Vote mode>
const Op* vote(const Op* op, Warp& warp) {
  const u32 yes = warp.predicate(op->slot[1]);
  observe(op, warp, 2, 0);
  u32 predicate = 0;
  alignas(64) u32 ballot[warp_size] = {};
  each_lane(warp.mask, [&](unsigned l) {
    const u32 lanes = members(op, warp, 2, l), voters = yes & lanes;
    ballot[l] = voters;
    const bool result = mode == Vote::all   ? voters == lanes
                        : mode == Vote::any ? voters != 0
                                            : voters == lanes || voters == 0;
    predicate |= u32{result} << l;
  });
  if (mode == Vote::ballot) {
    blend(warp.out<u32>(op->slot[0]), ballot, warp.mask);
  } else {
    warp.set_predicate(op->slot[0], predicate);
  }
  return op + 1;
}

void bind_vote(Binder& b) {
  const bool has_members = b.take("sync");
  const std::string_view mode = b.take_one_of({"all", "any", "uni", "ballot"});
  const Type type = b.take_type();
  b.output(type);
  b.input(Type::pred);
  if (has_members) b.input(Type::b32);
  b.op().variant = has_members ? has_mask : 0;
  b.run(mode == "all"   ? vote<Vote::all>
        : mode == "any" ? vote<Vote::any>
        : mode == "uni" ? vote<Vote::uniform>
                        : vote<Vote::ballot>,
        InstructionClass::warp);
}

// Slots: d, (p), a, mask
template <class T, bool all>
const Op* match(const Op* op, Warp& warp) {
  const unsigned in = all ? 2 : 1;
  const T* a = warp.in<T>(op->slot[in]);
  observe(op, warp, in + 1, 0);
  alignas(64) u32 result[warp_size] = {};
  u32 predicate = 0;
  each_lane(warp.mask, [&](unsigned l) {
    const u32 lanes = members(op, warp, in + 1, l);
    u32 same = 0;
    each_lane(lanes, [&](unsigned other) { same |= u32{a[other] == a[l]} << other; });
    const bool unanimous = same == lanes;
    result[l] = all && !unanimous ? 0 : same;
    predicate |= u32{unanimous} << l;
  });
  blend(warp.out<u32>(op->slot[0]), result, warp.mask);
  if (all) warp.set_predicate(op->slot[1], predicate);
  return op + 1;
}

void bind_match(Binder& b) {
  const bool all = b.take_one_of({"any", "all"}) == "all";
  b.take("sync");
  const Type type = b.take_type();
  if (all) {
    b.output_with_predicate(Type::b32);
  } else {
    b.output(Type::b32);
  }
  b.input(type);
  b.input(Type::b32);
  b.op().variant = has_mask;
  const bool wide = ptx::bytes_of(type) == 8;
  b.run(all    ? wide ? match<u64, true> : match<u32, true>
           : wide ? match<u64, false>
               : match<u32, false>,
        InstructionClass::warp);
}

struct Add {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(static_cast<u32>(a) + static_cast<u32>(b));
  }
};
struct Minimum {
  template <class T>
  static T apply(T a, T b) {
    return a < b ? a : b;
  }
};
struct Maximum {
  template <class T>
  static T apply(T a, T b) {
    return a > b ? a : b;
  }
};
struct And {
  template <class T>
  static T apply(T a, T b) {
    return a & b;
  }
};
struct Or {
  template <class T>
  static T apply(T a, T b) {
    return a | b;
  }
};
struct Xor {
  template <class T>
  static T apply(T a, T b) {
    return a ^ b;
  }
};

template <class F, class T>
const Op* reduce(const Op* op, Warp& warp) {
  const T* a = warp.in<T>(op->slot[1]);
  observe(op, warp, 2, 0);
  alignas(64) T result[warp_size] = {};
  u32 done = 0;
  each_lane(warp.mask, [&](unsigned l) {
    if (bit(done, l)) return;
    const u32 lanes = members(op, warp, 2, l) | u32{1} << l;
    T sum = a[std::countr_zero(lanes)];
    each_lane(lanes & (lanes - 1), [&](unsigned other) { sum = F::apply(sum, a[other]); });
    each_lane(lanes, [&](unsigned other) { result[other] = sum; });
    done |= lanes;
  });
  blend(warp.out<T>(op->slot[0]), result, warp.mask);
  return op + 1;
}

void bind_redux(Binder& b) {
  b.take("sync");
  const std::string_view name = b.take_one_of({"add", "min", "max", "and", "or", "xor"});
  const Type type = b.take_type();
  b.output(type);
  b.input(type);
  b.input(Type::b32);
  b.op().variant = has_mask;
  const auto pick = [&]<class T>(T) -> Handler {
    if constexpr (sizeof(T) != 4) return nullptr;
    if (name == "add") return reduce<Add, T>;
    if (name == "min") return reduce<Minimum, T>;
    if (name == "max") return reduce<Maximum, T>;
    if (name == "and") return reduce<And, T>;
    if (name == "or") return reduce<Or, T>;
    return name == "xor" ? reduce<Xor, T> : nullptr;
  };
  b.run(for_integer(type, pick), InstructionClass::warp);
}

const Op* active_mask(const Op* op, Warp& warp) {
  const u32 mask = warp.mask;
  u32* d = warp.out<u32>(op->slot[0]);
  each_lane(mask, [&](unsigned l) { d[l] = mask; });
  return op + 1;
}

// The lowest member leads.
const Op* elect(const Op* op, Warp& warp) {
  observe(op, warp, 2, 0);
  u32* d = warp.out<u32>(op->slot[0]);
  u32 leaders = 0;
  each_lane(warp.mask, [&](unsigned l) {
    const auto leader = static_cast<u32>(std::countr_zero(members(op, warp, 2, l) | u32{1} << l));
    d[l] = leader;
    leaders |= u32{leader == l} << l;
  });
  warp.set_predicate(op->slot[1], leaders);
  return op + 1;
}

}  // namespace

const Op* warp_barrier(const Op* op, Warp& warp) {
  observe(op, warp, 0, 0);
  return op + 1;
}

void add_warp(InstructionSet& set) {
  set.add("shfl", bind_shfl);
  set.add("vote", bind_vote);
  set.add("match", bind_match);
  set.add("redux", bind_redux);
  set.add("activemask", [](Binder& b) {
    b.take("b32");
    b.output(Type::b32);
    b.run(active_mask, InstructionClass::warp);
  });
  set.add("elect", [](Binder& b) {
    b.take("sync");
    b.output_with_predicate(Type::b32);
    b.input(Type::b32);
    b.op().variant = has_mask;
    b.run(elect, InstructionClass::warp);
  });
}

}  // namespace gpusim::GPUSIM_TARGET
