// Control: bra brx call ret exit trap brkpt nanosleep, and what has no effect here. See machine/control.cpp.
#include "tools/gpusim/machine/calls.h"
#include "tools/gpusim/machine/decode.h"
#include "tools/gpusim/machine/instructions/lanes.h"

namespace gpusim::GPUSIM_TARGET {

namespace {

using Kind = Operand::Kind;

const Op* branch(const Op* op, Warp& warp) {
  return warp.branch(op, warp.mask, reinterpret_cast<const Op*>(op->immediate));
}

const Op* join(const Op* op, Warp& warp) {
  return warp.join(op);
}
const Op* ret(const Op* op, Warp& warp) {
  return warp.leave(op, false);
}
const Op* exit(const Op* op, Warp& warp) {
  return warp.leave(op, true);
}
const Op* trap(const Op* op, Warp& warp) {
  return warp.fail(op, Fault::trap, "a trap was executed");
}
const Op* nothing(const Op* op, Warp&) {
  return op + 1;
}

const Op* sleep(const Op* op, Warp& warp) {  // others get their turn
  warp.count(op, op + 1);
  warp.resume = op + 1;
  return nullptr;
}

// The lanes that go where the first of them goes, go; the others come back here.
const Op* indexed_branch(const Op* op, Warp& warp) {
  return branch_by_index(op, warp);
}

const Op* call(const Op* op, Warp& warp) {
  const auto& site = *static_cast<const CallSite*>(op->extra);
  return warp.call(op, site, *site.callee);
}
const Op* indirect_call(const Op* op, Warp& warp) {
  return call_by_address(op, warp, warp.in<std::uint64_t>(op->slot[0]));
}

void bind_bra(Binder& b) {
  b.take("uni");
  b.op().variant = Decoder::is_jump;
  b.op().immediate = b.next().index;
  b.run(branch, InstructionClass::control);
}

void bind_brx(Binder& b) {
  b.take("idx");
  b.take("uni");
  b.input(Type::b32);
  bind_jump_table(b, b.next());
  b.run(indexed_branch, InstructionClass::control);
}

// call (results), function, (arguments), prototype;
void bind_call(Binder& b) {
  b.take("uni");
  const Operand none;
  const Operand& results = b.peek().kind == Kind::list ? b.next() : none;
  const Operand& function = b.next();
  const Operand& arguments = b.has_operand() && b.peek().kind == Kind::list ? b.next() : none;
  if (b.has_operand()) b.next();  // the prototype of an indirect call
  if (function.kind == Kind::reg) {
    b.input(function, Type::b64);
    bind_call_site(b, results, {}, arguments);
    b.run(indirect_call, InstructionClass::control);
    return bind_join(b);
  }
  if (const Handler handler = bind_call_site(b, results, function.text, arguments))
    return b.run(handler, InstructionClass::control);
  b.run(call, InstructionClass::control);
}

void bind_nothing(Binder& b) {
  for (const std::string_view modifier : b.instruction().modifiers) b.take(modifier);
  while (b.has_operand()) b.next();
  b.run(nothing, InstructionClass::control);
}

template <Handler handler>
void bind_plain(Binder& b) {
  b.take("uni");
  b.run(handler, InstructionClass::control);
}

}  // namespace

void add_control(InstructionSet& set) {
  set.add("bra", bind_bra);
  set.add("brx", bind_brx);
  set.add("call", bind_call);
  set.add("ret", bind_plain<ret>);
  set.add("exit", bind_plain<exit>);
  set.add("trap", bind_plain<trap>);
  set.add("brkpt", bind_plain<trap>);
  set.add("nanosleep", [](Binder& b) {
    b.take("u32");
    b.next();
    b.run(sleep, InstructionClass::control);
  });
  for (const auto name : {"griddepcontrol", "pmevent", "setmaxnreg"}) set.add(name, bind_nothing);
  set.join = join;
  set.return_at_end = ret;
}

}  // namespace gpusim::GPUSIM_TARGET
