// Barriers of a block and fences: bar barrier bar.warp membar fence.
#include "tools/gpusim/machine/barriers.h"
#include "tools/gpusim/machine/instructions/lanes.h"

namespace gpusim::GPUSIM_TARGET {

const Op* warp_barrier(const Op* op, Warp& warp);  // in warp.cpp

namespace {

using u32 = std::uint32_t;

// Op::variant: which operands there are.
constexpr u32 has_count = 1;

enum class Kind { sync, arrive, reduce_population, reduce_and, reduce_or };

// Slots: (the result), the barrier's number, (its count of threads), (the predicate).
template <Kind kind>
const Op* barrier(const Op* op, Warp& warp) {
  constexpr bool reduces = kind >= Kind::reduce_population;
  const unsigned first = reduces ? 1 : 0;
  const auto lane = static_cast<unsigned>(std::countr_zero(warp.mask));
  const unsigned number = warp.in<u32>(op->slot[first])[lane] & 15;
  const bool counts = (op->variant & has_count) != 0;
  const unsigned threads = counts ? warp.in<u32>(op->slot[first + 1])[lane] : 0;
  if (!warp.released) {
    const u32 predicate = reduces ? warp.predicate(op->slot[first + (counts ? 2 : 1)]) : 0;
    if (!arrive(warp, op, number, threads, predicate, kind != Kind::arrive)) return nullptr;
  }
  warp.released = false;
  if constexpr (reduces) {
    const Barrier& state = warp.block->barriers[number];
    if constexpr (kind == Kind::reduce_population) {
      u32* d = warp.out<u32>(op->slot[0]);
      each_lane(warp.mask, [&](unsigned l) { d[l] = state.result_population; });
    } else {
      const bool result = kind == Kind::reduce_and ? state.result_all : state.result_any;
      warp.set_predicate(op->slot[0], result ? all_lanes : 0);
    }
  }
  return op + 1;
}

void bind_bar(Binder& b) {
  b.take("cta");
  b.take("aligned");
  if (b.take("warp")) {
    b.take("sync");
    b.input(Type::b32);
    b.op().variant = 1;  // has a member mask, as warp.cpp has it
    return b.run(warp_barrier, InstructionClass::warp);
  }
  const std::string_view name = b.take_one_of({"sync", "arrive", "red"});
  const std::string_view operation = name == "red" ? b.take_one_of({"popc", "and", "or"}) : "";
  const bool reduces = name == "red";
  if (reduces) {
    b.take_type();
    b.output(operation == "popc" ? Type::b32 : Type::pred);
  }
  b.input(Type::b32);
  const bool has_threads = b.has_operand() && (!reduces || b.instruction().operands.size() == 4);
  if (has_threads) b.input(Type::b32);
  if (reduces) b.input(Type::pred);
  b.op().variant = has_threads ? has_count : 0;
  b.run(name == "sync"        ? barrier<Kind::sync>
        : name == "arrive"    ? barrier<Kind::arrive>
        : operation == "popc" ? barrier<Kind::reduce_population>
        : operation == "and"  ? barrier<Kind::reduce_and>
        : operation == "or"   ? barrier<Kind::reduce_or>
                              : nullptr,
        InstructionClass::barrier);
}

// Memory is seen in order here.
const Op* fence(const Op* op, Warp&) {
  return op + 1;
}

void bind_fence(Binder& b) {
  for (const std::string_view modifier : b.instruction().modifiers) b.take(modifier);
  while (b.has_operand()) b.next();
  b.run(fence, InstructionClass::barrier);
}

}  // namespace

void add_barrier(InstructionSet& set) {
  set.add("bar", bind_bar);
  set.add("barrier", bind_bar);
  set.add("membar", bind_fence);
  set.add("fence", bind_fence);
}

}  // namespace gpusim::GPUSIM_TARGET
