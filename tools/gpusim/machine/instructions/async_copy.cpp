// cp.async: copies from global to shared memory that arrive later.
//
// Here they arrive as late as the program allows: at the wait that must not return before. Until then the destination
// holds 0xFF bytes, so that a kernel which forgets to wait computes with NaN.
#include "tools/gpusim/machine/instructions/addresses.h"

namespace gpusim::GPUSIM_TARGET {

namespace {

using u32 = std::uint32_t;

struct CopyForm {
  AddressOperand to, from;  // their slots are slots 0 and 1 of the Op
  unsigned bytes;
  bool has_size, has_ignore;  // slot 2 holds the bytes to read, or says which lanes read none
};

// The source of the lanes that read all bytes is resolved at once; the few at an edge byte by byte.
AddressOperand with_slot(AddressOperand operand, Slot slot) {
  operand.slot = slot;
  return operand;
}

bool resolve_source(const Op* op, Warp& warp, const CopyForm& form,
                    const std::array<std::uint8_t, warp_size>& lane_bytes, Addresses& a) {
  u32 whole = 0, part = 0;
  each_lane(warp.mask, [&](unsigned l) {
    whole |= u32{lane_bytes[l] == form.bytes} << l;
    part |= u32{lane_bytes[l] != 0 && lane_bytes[l] != form.bytes} << l;
  });
  if (!resolve(op, warp, with_slot(form.from, op->slot[1]), whole, Access::async_source, form.bytes, a)) return false;
  u32 allowed = a.mask;
  bool fine = true;
  each_lane(part, [&](unsigned l) {
    u32 lane = u32{1} << l;
    for (unsigned byte = lane_bytes[l]; fine && byte-- > 0;) {
      Addresses one;
      AddressOperand from = with_slot(form.from, op->slot[1]);
      from.offset += byte;
      fine = resolve(op, warp, from, lane, Access::async_source, 1, one);
      lane &= one.mask;
      a.pointer[l] = one.pointer[l];  // ends with the first byte
    }
    allowed |= lane;
  });
  a.mask = allowed;
  return fine;
}

const Op* copy(const Op* op, Warp& warp) {
  const auto& form = *static_cast<const CopyForm*>(op->extra);
  AsyncCopy pending{};
  pending.bytes = form.bytes;
  pending.op = op;
  const u32 ignored = form.has_ignore ? warp.predicate(op->slot[2]) : 0;
  each_lane(warp.mask, [&](unsigned l) {
    const u32 size = form.has_size ? warp.in<u32>(op->slot[2])[l] : bit(ignored, l) ? 0 : form.bytes;
    pending.lane_bytes[l] = static_cast<std::uint8_t>(size < form.bytes ? size : form.bytes);
  });
  Addresses to, from;
  if (!resolve_source(op, warp, form, pending.lane_bytes, from)) return nullptr;
  if (!resolve(op, warp, with_slot(form.to, op->slot[0]), warp.mask, Access::async_target, form.bytes, to))
    return nullptr;
  u32 lanes = to.mask;
  each_lane(lanes, [&](unsigned l) {
    if (!bit(from.mask, l)) pending.lane_bytes[l] = 0;
    pending.to[l] = to.pointer[l];
    pending.from[l] = from.pointer[l];
    std::memset(to.pointer[l], 0xFF, form.bytes);
  });
  // Lanes that have closed different numbers of groups are at different ones.
  while (lanes != 0) {
    pending.group = warp.committed[static_cast<unsigned>(std::countr_zero(lanes))];
    pending.mask = 0;
    each_lane(lanes, [&](unsigned l) { pending.mask |= u32{warp.committed[l] == pending.group} << l; });
    lanes &= ~pending.mask;
    warp.copies.push_back(pending);
  }
  return op + 1;
}

const Op* commit_group(const Op* op, Warp& warp) {
  each_lane(warp.mask, [&](unsigned l) { ++warp.committed[l]; });
  return op + 1;
}

void land(Warp& warp, AsyncCopy& copy, u32 lanes) {
  each_lane(lanes, [&](unsigned l) {
    std::memcpy(copy.to[l], copy.from[l], copy.lane_bytes[l]);
    std::memset(copy.to[l] + copy.lane_bytes[l], 0, copy.bytes - copy.lane_bytes[l]);
  });
  if (warp.block->observer != nullptr) warp.block->observer->async_landed(warp, copy, lanes);
  copy.mask &= ~lanes;
}

// All copies of the lanes, or all but those of the youngest `immediate` groups.
template <bool all>
const Op* wait(const Op* op, Warp& warp) {
  const auto may_stay = static_cast<u32>(op->immediate);
  std::size_t kept = 0;
  for (AsyncCopy& copy : warp.copies) {
    u32 lanes = copy.mask & warp.mask;
    if (!all) {
      each_lane(lanes, [&](unsigned l) {
        if (copy.group + may_stay >= warp.committed[l]) lanes &= ~(u32{1} << l);
      });
    }
    if (lanes != 0) land(warp, copy, lanes);
    if (copy.mask == 0) continue;
    if (&warp.copies[kept] != &copy) warp.copies[kept] = copy;
    ++kept;
  }
  warp.copies.erase(warp.copies.begin() + static_cast<std::ptrdiff_t>(kept), warp.copies.end());
  return op + 1;
}

void bind_copy(Binder& b) {
  const bool whole_lines = b.take_one_of({"ca", "cg"}) == "cg";
  b.take_one_of({"shared", "shared::cta"});
  b.take("global");
  b.ignore_memory_hints();
  CopyForm form{};
  const Binder::Address to = b.address(b.next(), Space::shared);
  form.to = {0, address_form(to, 1), b.op().immediate};
  const Binder::Address from = b.address(b.next(), Space::global);
  form.from = {0, address_form(from, 1), b.op().immediate};
  form.bytes = static_cast<unsigned>(b.literal());
  if (form.bytes != 16 && (whole_lines || (form.bytes != 4 && form.bytes != 8)))
    b.fail("cp.async copies 4, 8 or 16 bytes");
  if (b.has_operand()) {
    form.has_ignore = b.width(b.peek()) == 1;
    form.has_size = b.width(b.peek()) == 4 || b.peek().kind == Operand::Kind::integer;
    if (form.has_ignore) b.input(Type::pred);
    if (form.has_size) b.input(Type::b32);
    if (b.has_operand()) b.next();  // a cache policy
  }
  b.attach(form);
  b.run(copy, InstructionClass::async_copy);
}

void bind_cp(Binder& b) {
  b.take("async");
  if (b.take("commit_group")) return b.run(commit_group, InstructionClass::async_copy);
  if (b.take("wait_all")) return b.run(wait<true>, InstructionClass::async_copy);
  if (b.take("wait_group")) {
    b.op().immediate = b.literal();
    return b.run(wait<false>, InstructionClass::async_copy);
  }
  const bool is_plain = b.instruction().modifiers.size() > 1 &&
                        (b.instruction().modifiers[1] == "ca" || b.instruction().modifiers[1] == "cg");
  if (is_plain) bind_copy(b);
}

}  // namespace

void add_async_copy(InstructionSet& set) {
  set.add("cp", bind_cp);
}

}  // namespace gpusim::GPUSIM_TARGET
