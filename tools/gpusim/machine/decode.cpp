#include "tools/gpusim/machine/decode.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "tools/gpusim/machine/registers.h"

namespace gpusim {

Decoder::Decoder(ModuleCode& module, const ptx::Function& function, Code& code)
    : module_(module), function_(function), code_(code), set_(instruction_set()) {}

void Decoder::decode() {
  body_ = ptx::parse_body(module_.text(), function_, module_.files());
  flow_ = ptx::analyse(body_);
  for (const ptx::Register& reg : body_.registers) {
    register_bytes_.push_back(reg.type == Type::pred ? 1 : std::max(2u, ptx::bytes_of(reg.type)));
  }
  lay_out_memory();
  std::set<int> meetings;  // first instructions of the blocks where paths meet
  for (const ptx::Block& block : flow_.blocks) {
    if (block.successors.size() > 1 && block.post_dominator >= 0)
      meetings.insert(flow_.blocks[block.post_dominator].first);
  }
  const int count = static_cast<int>(body_.instructions.size());
  for (int i = 0; i < count; ++i) {
    first_op_.push_back(static_cast<int>(pending_.size()));
    if (meetings.contains(i)) add_join();
    bind_instruction(i);
  }
  first_op_.push_back(static_cast<int>(pending_.size()));
  PendingOp& end = pending_.emplace_back();
  end.op.run = set_.return_at_end;
  end.instruction = -1;
  end.origin.what = InstructionClass::count_;
  allocate_registers();
  assemble();
  finish_info();
}

void Decoder::add_join() {
  PendingOp& join = pending_.emplace_back();
  join.op.run = set_.join;
  join.instruction = -1;
  join.origin.what = InstructionClass::count_;
}

void Decoder::bind_instruction(int number) {
  current_ = number;
  const ptx::Instruction& instruction = body_.instructions[number];
  Binder binder(*this, instruction);
  const InstructionSet::Bind bind = set_.find(instruction.name);
  if (bind == nullptr) binder.fail("the simulator does not know this instruction");
  bind(binder);
  binder.finish();
}

int Decoder::new_register(unsigned bytes) {
  register_bytes_.push_back(bytes);
  return static_cast<int>(register_bytes_.size()) - 1;
}

// 32 equal lanes, or a mask for a predicate (bytes = 1).
Slot Decoder::constant(std::uint64_t bits, unsigned bytes) {
  if (bytes < 8) bits &= bytes == 1 ? all_lanes : (std::uint64_t{1} << (8 * bytes)) - 1;
  const auto [entry, is_new] = constants_.try_emplace({bits, bytes}, 0);
  if (is_new) {
    const std::size_t offset = code_.constants.size();
    const std::size_t size = bytes == 1 ? 64 : std::size_t{bytes} * warp_size;
    code_.constants.resize(offset + size);
    if (bytes == 1) {
      std::memcpy(code_.constants.data() + offset, &bits, 4);
    } else {
      for (std::size_t lane = 0; lane < warp_size; ++lane) {
        std::memcpy(code_.constants.data() + offset + lane * bytes, &bits, std::min(bytes, 8u));
      }
    }
    entry->second = static_cast<Slot>(offset) | 1;
  }
  return entry->second;
}

void Decoder::note_call(const Code* callee) {
  if (callee == nullptr || callee->ops.empty() || callee->stack_bytes == 0) {
    stack_is_unbounded_ = true;  // through a pointer, or recursion
  } else {
    stack_of_callees_ = std::max(stack_of_callees_, callee->stack_bytes);
  }
}

void Decoder::lay_out_memory() {
  const auto place = [](std::size_t& end, const ptx::Variable& variable) {
    const std::size_t alignment = std::max<std::size_t>(variable.alignment, 1);
    const std::size_t offset = (end + alignment - 1) / alignment * alignment;
    end = offset + variable.bytes;
    return static_cast<std::int64_t>(offset);
  };
  std::size_t shared = module_.shared_bytes(), frame = 0, parameters = 0;
  const std::size_t formals = function_.results.size() + function_.parameters.size();
  for (std::size_t i = 0; i < body_.variables.size(); ++i) {
    const ptx::Variable& variable = body_.variables[i];
    if (variable.space == Space::shared) {
      if (variable.bytes == 0) {  // the launch's dynamic memory: its offset is known when all others are
        variable_offsets_.push_back(-1);
      } else if (!function_.is_kernel) {  // placed with the module's
        variable_offsets_.push_back(static_cast<std::int64_t>(module_.shared_offsets().at(variable.name)));
      } else {
        variable_offsets_.push_back(place(shared, variable));
      }
    } else if (i < formals && function_.is_kernel) {
      variable_offsets_.push_back(place(parameters, variable));
      code_.info.parameters.push_back(
          {static_cast<std::size_t>(variable_offsets_.back()), variable.bytes, variable.alignment});
    } else {
      variable_offsets_.push_back(place(frame, variable));
    }
  }
  code_.info.static_shared_bytes = (shared + 15) / 16 * 16;
  if (shared == 0) code_.info.static_shared_bytes = 0;
  for (std::size_t i = 0; i < body_.variables.size(); ++i) {
    if (body_.variables[i].space == Space::shared && variable_offsets_[i] < 0) {
      variable_offsets_[i] = static_cast<std::int64_t>(code_.info.static_shared_bytes);
    }
  }
  for (std::size_t i = 0; i < formals && !function_.is_kernel; ++i) {
    auto& group = i < function_.results.size() ? code_.results : code_.parameters;
    group.push_back({static_cast<std::size_t>(variable_offsets_[i]), body_.variables[i].bytes});
  }
  code_.info.parameter_bytes = parameters;
  code_.frame_bytes = (frame + 15) / 16 * 16;
}

void Decoder::allocate_registers() {
  std::vector<RegisterUse> uses;
  for (std::size_t p = 0; p < pending_.size(); ++p) {
    const PendingOp& pending = pending_[p];
    const int guard = pending.op.guard == Op::no_guard ? -1 : body_.instructions[pending.instruction].guard;
    const auto outputs =
        std::count_if(pending.references.begin(), pending.references.end(), [](const auto& r) { return r.is_written; });
    for (const Binder::Reference& reference : pending.references) {
      uses.push_back({static_cast<int>(p), reference.virtual_register, reference.is_written, reference.is_read,
                      reference.is_written && guard >= 0, reference.is_written && outputs > 1});
    }
    if (guard >= 0) uses.push_back({static_cast<int>(p), guard, false, true, false, false});
  }
  std::vector<OpRange> blocks;
  for (const ptx::Block& block : flow_.blocks) {
    blocks.push_back({first_op_[block.first], first_op_[block.last], block.successors});
  }
  RegisterPlaces places = gpusim::allocate_registers(register_bytes_, uses, blocks);
  places_ = std::move(places.offset);
  code_.register_bytes = places.file_bytes;
  code_.info.live_registers = places.words;
}

void Decoder::assemble() {
  code_.ops.reserve(pending_.size());
  for (PendingOp& pending : pending_) {
    for (const Binder::Reference& reference : pending.references)
      pending.slots[reference.slot] = places_[reference.virtual_register];
    Op op = pending.op;
    std::copy_n(pending.slots.begin(), std::min(pending.slots.size(), op.slot.size()), op.slot.begin());
    if (pending.slots.size() > op.slot.size()) {
      auto more = std::make_shared<std::vector<Slot>>(
          pending.slots.begin() + static_cast<std::ptrdiff_t>(op.slot.size()), pending.slots.end());
      op.extra = more->data();
      code_.owned.push_back(std::move(more));
    }
    if (op.guard != Op::no_guard) op.guard |= places_[body_.instructions[pending.instruction].guard];
    code_.ops.push_back(op);
    code_.origins.push_back(pending.origin);
  }
  resolve_jumps();
}

void Decoder::resolve_jumps() {
  const auto op_of = [&](int instruction) { return code_.ops.data() + first_op_[instruction]; };
  for (std::size_t p = 0; p < pending_.size(); ++p) {
    Op& op = code_.ops[p];
    if (op.variant != is_jump) continue;
    const int block = flow_.block_of[pending_[p].instruction];
    const int meeting = flow_.blocks[block].post_dominator;
    const Op* meeting_op = meeting < 0 ? nullptr : op_of(flow_.blocks[meeting].first);
    if (op.extra != nullptr) {
      auto& table = *static_cast<JumpTable*>(const_cast<void*>(op.extra));
      for (const int instruction : table.instructions) table.targets.push_back(op_of(instruction));
      table.meeting = meeting_op;
    } else {
      op.immediate = reinterpret_cast<std::int64_t>(op_of(static_cast<int>(op.immediate)));
      op.extra = meeting_op;
    }
  }
}

void Decoder::finish_info() {
  code_.stack_bytes = stack_is_unbounded_ ? 0 : code_.frame_bytes + stack_of_callees_ + 16;
  code_.info.local_bytes = code_.frame_bytes;
}

}  // namespace gpusim
