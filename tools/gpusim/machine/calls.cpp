#include "tools/gpusim/machine/calls.h"

#include <fmt/format.h>

#include "tools/gpusim/machine/decode.h"

namespace gpusim {

namespace {

std::vector<CallSite::Copy> copies(Binder& b, const Operand& list) {
  std::vector<CallSite::Copy> result;
  for (const Operand& element : list.elements) {
    if (element.kind != Operand::Kind::variable) b.fail("expected a variable of .param space");
    const ptx::Variable& variable = b.decoder().body().variables[static_cast<std::size_t>(element.index)];
    result.push_back({static_cast<std::size_t>(b.decoder().offset_of(element.index)), variable.bytes});
  }
  return result;
}

// Splits the current path: `lanes` go on now, the others at `op` again, and all meet at `meeting`.
void split(Warp& warp, const Op* op, std::uint32_t lanes, const Op* meeting) {
  const std::uint32_t others = warp.active & ~lanes;
  if (others == 0) return;
  if (warp.paths.back().join == meeting) {
    warp.paths.pop_back();
  } else {
    warp.paths.back().next = meeting;
  }
  warp.paths.push_back({op, others, meeting});
  warp.paths.push_back({nullptr, lanes, meeting});
  warp.mask = warp.active = lanes;
}

template <class T>
std::uint32_t lanes_like_first(const Warp& warp, const T* value) {
  const T first = value[std::countr_zero(warp.mask)];
  std::uint32_t same = 0;
  for (unsigned l = 0; l < warp_size; ++l) same |= std::uint32_t{value[l] == first} << l;
  return same & warp.mask;
}

}  // namespace

Handler bind_call_site(Binder& b, const Operand& results, std::string_view function, const Operand& arguments) {
  CallSite& site = b.attach(CallSite{nullptr, copies(b, results), copies(b, arguments)});
  if (function.empty()) {
    b.decoder().note_call(nullptr);
    return nullptr;
  }
  site.callee = b.decoder().callee(function);
  if (site.callee != nullptr) {
    b.decoder().note_call(site.callee);
    return nullptr;
  }
  const Handler handler = b.decoder().set().find_function(function);
  if (handler == nullptr) b.fail(fmt::format("there is no function {}", function));
  return handler;
}

void bind_join(Binder& b) {
  b.decoder().add_join();
}

void bind_jump_table(Binder& b, const Operand& targets) {
  const auto found = b.decoder().body().branch_targets.find(targets.text);
  if (found == b.decoder().body().branch_targets.end())
    b.fail(fmt::format("there are no .branchtargets {}", targets.text));
  b.op().variant = Decoder::is_jump;
  b.attach(Decoder::JumpTable{found->second, {}, nullptr});
}

const Op* branch_by_index(const Op* op, Warp& warp) {
  const auto& table = *static_cast<const Decoder::JumpTable*>(op->extra);
  const auto* index = warp.in<std::uint32_t>(op->slot[0]);
  const std::uint32_t which = index[std::countr_zero(warp.mask)];
  if (which >= table.targets.size())
    return warp.fail(op, Fault::illegal_instruction, fmt::format("brx.idx: index {} has no target", which));
  const std::uint32_t same = lanes_like_first(warp, index);
  warp.count(op, op + 1);
  if (same != warp.active) split(warp, same == warp.mask ? op + 1 : op, same, table.meeting);
  return warp.counted_from = table.targets[which];
}

const Op* call_by_address(const Op* op, Warp& warp, const std::uint64_t* address) {
  const auto& site = *static_cast<const CallSite*>(op->extra);
  const auto* callee = reinterpret_cast<const Code*>(address[std::countr_zero(warp.mask)]);
  if (!warp.code().module->owns(callee)) {
    return warp.fail(
        op, Fault::illegal_address,
        fmt::format("a call of 0x{:x}, where there is no function", reinterpret_cast<std::uint64_t>(callee)));
  }
  const std::uint32_t same = lanes_like_first(warp, address);
  split(warp, same == warp.mask ? op + 1 : op, same, op + 1);
  return warp.call(op, site, *callee);
}

}  // namespace gpusim
