#include "tools/gpusim/machine/binder.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "tools/gpusim/machine/decode.h"

namespace gpusim {

using Kind = Operand::Kind;

Binder::Binder(Decoder& decoder, const ptx::Instruction& instruction)
    : decoder_(decoder), instruction_(instruction), modifiers_(instruction.modifiers) {
  if (instruction.guard >= 0) op_.guard = instruction.guard_negated ? 1 : 0;
}

void Binder::fail(std::string_view message) const {
  throw Error(fmt::format("PTX line {}: {}: {}", instruction_.line, message, instruction_.text), instruction_.line);
}

bool Binder::take(std::string_view modifier) {
  const auto found = std::find(modifiers_.begin(), modifiers_.end(), modifier);
  if (found == modifiers_.end()) return false;
  modifiers_.erase(found);
  return true;
}

std::string_view Binder::take_one_of(std::initializer_list<std::string_view> modifiers) {
  for (const std::string_view modifier : modifiers) {
    if (take(modifier)) return modifier;
  }
  return {};
}

Type Binder::take_type_or(Type otherwise) {
  for (auto modifier = modifiers_.begin(); modifier != modifiers_.end(); ++modifier) {
    const Type type = ptx::type_named(*modifier);
    if (type == Type::none) continue;
    modifiers_.erase(modifier);
    return type;
  }
  return otherwise;
}

Type Binder::take_type() {
  const Type type = take_type_or(Type::none);
  if (type == Type::none) fail("a type is missing");
  return type;
}

void Binder::ignore_memory_hints() {
  std::erase_if(modifiers_, [](std::string_view modifier) {
    static constexpr std::string_view hints[] = {"ca", "cg",       "cs",   "lu",      "cv",      "wb",      "wt",
                                                 "nc", "volatile", "weak", "relaxed", "acquire", "release", "acq_rel",
                                                 "sc", "mmio",     "cta",  "cluster", "gpu",     "sys"};
    return std::find(std::begin(hints), std::end(hints), modifier) != std::end(hints) || modifier.starts_with("L1::") ||
           modifier.starts_with("L2::");
  });
}

const Operand& Binder::peek(std::size_t ahead) const {
  if (next_operand_ + ahead >= instruction_.operands.size()) fail("an operand is missing");
  return instruction_.operands[next_operand_ + ahead];
}

const Operand& Binder::next() {
  const Operand& operand = peek();
  ++next_operand_;
  return operand;
}

unsigned Binder::width(const Operand& operand) const {
  return operand.kind == Kind::reg ? decoder_.register_bytes_[operand.index] : 0;
}

void Binder::refer(int virtual_register, bool is_written, bool is_read) {
  references_.push_back({slots(), virtual_register, is_written, is_read});
  slots_.push_back(0);
}

void Binder::constant(std::uint64_t bits, unsigned bytes) {
  slots_.push_back(decoder_.constant(bits, bytes));
}

int Binder::register_of(const Operand& operand, Type type) const {
  const unsigned wanted = type == Type::pred ? 1 : std::max(2u, ptx::bytes_of(type));
  const unsigned bytes = width(operand);
  if (bytes != wanted) {
    fail(fmt::format("{} has {} bits where {} are expected", operand.text, bytes == 1 ? 1 : 8 * bytes,
                     wanted == 1 ? 1 : 8 * wanted));
  }
  return operand.index;
}

void Binder::output(const Operand& operand, Type type) {
  if (operand.kind == Kind::sink) {
    refer(decoder_.new_register(type == Type::pred ? 1 : std::max(2u, ptx::bytes_of(type))), true, false);
  } else if (operand.kind == Kind::reg) {
    refer(register_of(operand, type), true, false);
  } else {
    fail(fmt::format("{} cannot take a result", operand.text));
  }
}

void Binder::in_out(const Operand& operand, Type type) {
  if (operand.kind != Kind::reg) fail("expected a register");
  refer(register_of(operand, type), true, true);
}

void Binder::output_with_predicate(Type type) {
  const Operand& operand = next();
  output(operand, type);
  refer(operand.predicate >= 0 ? operand.predicate : decoder_.new_register(1), true, false);
}

std::uint64_t Binder::bits_of(const Operand& operand, Type type) const {
  const auto bits = static_cast<std::uint64_t>(operand.value);
  switch (operand.kind) {
    case Kind::float32:
      return type == Type::f64
                 ? std::bit_cast<std::uint64_t>(double{std::bit_cast<float>(static_cast<std::uint32_t>(bits))})
                 : bits;
    case Kind::float64:
      return type == Type::f32 || type == Type::b32
                 ? std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(bits)))
                 : bits;
    default:
      return bits;
  }
}

int Binder::computed(Handler handler, unsigned bytes, std::int64_t immediate, int input) {
  const int result = decoder_.new_register(bytes);
  Decoder::PendingOp pending;
  pending.op.run = handler;
  pending.op.immediate = immediate;
  pending.origin = {instruction_.text, instruction_.line, instruction_.source_file, instruction_.source_line};
  pending.slots.resize(input >= 0 ? 2 : 1);
  pending.references.push_back({0, result, true, false});
  if (input >= 0) pending.references.push_back({1, input, false, true});
  pending.instruction = decoder_.current_;
  decoder_.pending_.push_back(std::move(pending));
  return result;
}

void Binder::input(const Operand& operand, Type type) {
  const InstructionSet& set = decoder_.set_;
  const unsigned bytes = type == Type::pred ? 1 : std::max(2u, ptx::bytes_of(type));
  switch (operand.kind) {
    case Kind::reg: {
      int index = register_of(operand, type);
      if (operand.negated) index = computed(set.invert_predicate, 1, 0, index);
      refer(index, false, true);
      return;
    }
    case Kind::special: {
      if (bytes != 4 && bytes != 8) fail(fmt::format("{} has 32 or 64 bits", operand.text));
      return special_register(operand.text, bytes);
    }
    case Kind::integer:
    case Kind::float32:
    case Kind::float64: {
      std::uint64_t bits = bits_of(operand, type);
      if (type == Type::pred) bits = (bits != 0) != operand.negated ? all_lanes : 0;
      return constant(bits, bytes);
    }
    case Kind::variable: {
      const ptx::Variable& variable = decoder_.body_.variables[operand.index];
      const std::int64_t offset = decoder_.offset_of(operand.index) + operand.value;
      const bool in_frame = variable.space == Space::local ||
                            (variable.space == Space::param &&
                             !(decoder_.function_.is_kernel &&
                               static_cast<std::size_t>(operand.index) < decoder_.function_.parameters.size()));
      if (in_frame) {
        refer(computed(bytes == 8 ? set.local_address : set.local_address_32, bytes, offset), false, true);
        return;
      }
      return constant(static_cast<std::uint64_t>(offset), bytes);
    }
    case Kind::symbol: {
      if (const Variable* variable = decoder_.module_.variable(operand.text)) {
        return constant(reinterpret_cast<std::uint64_t>(variable->address) + static_cast<std::uint64_t>(operand.value),
                        bytes);
      }
      const auto& shared = decoder_.module_.shared_offsets();
      if (const auto found = shared.find(operand.text); found != shared.end()) {
        return constant(found->second + static_cast<std::uint64_t>(operand.value), bytes);
      }
      if (decoder_.module_.is_dynamic_shared(operand.text)) {
        if (decoder_.function_.is_kernel)
          return constant(decoder_.code_.info.static_shared_bytes + static_cast<std::uint64_t>(operand.value), bytes);
        // In a function it begins where the static memory of whatever kernel calls it ends.
        const Handler handler = bytes == 8 ? set.dynamic_shared_address : set.dynamic_shared_address_32;
        refer(computed(handler, bytes, operand.value), false, true);
        return;
      }
      if (const Code* callee = decoder_.module_.code(operand.text)) {
        decoder_.note_call(nullptr);
        return constant(reinterpret_cast<std::uint64_t>(callee), bytes);
      }
      fail(fmt::format("unknown name {}", operand.text));
    }
    default:
      fail("an operand of an unexpected kind");
  }
}

void Binder::special_register(std::string_view name, unsigned bytes) {
  const InstructionSet& set = decoder_.set_;
  const int which = special_register_named(name);
  if (which < 0) fail(fmt::format("unknown register {}", name));
  refer(computed(bytes == 8 ? set.special_register_64 : set.special_register, bytes, which), false, true);
}

void Binder::inputs(const Operand& list, Type type) {
  if (list.kind != Kind::list) return input(list, type);
  for (const Operand& element : list.elements) input(element, type);
}

void Binder::outputs(const Operand& list, Type type) {
  if (list.kind != Kind::list) return output(list, type);
  for (const Operand& element : list.elements) output(element, type);
}

Binder::Address Binder::address(const Operand& operand, Space space) {
  if (operand.kind != Kind::address) fail("expected an address in brackets");
  Address result{.space = space};
  op_.immediate = operand.value;
  if (operand.elements.empty()) {
    constant(0, 8);
    return result;
  }
  const Operand& base = operand.elements.front();
  if (base.kind == Kind::reg) {
    const unsigned bytes = width(base);
    if (bytes != 4 && bytes != 8) fail("an address has 32 or 64 bits");
    result.is_narrow = bytes == 4;
    refer(base.index, false, true);
    return result;
  }
  if (base.kind == Kind::variable) {
    const ptx::Variable& variable = decoder_.body_.variables[base.index];
    const bool is_kernel_parameter = variable.space == Space::param && decoder_.function_.is_kernel &&
                                     static_cast<std::size_t>(base.index) < decoder_.function_.parameters.size();
    op_.immediate += decoder_.offset_of(base.index);
    result.space = variable.space == Space::param && !is_kernel_parameter ? Space::local : variable.space;
    result.is_frame_relative = result.space == Space::local;
    constant(0, 8);
    return result;
  }
  input(base, Type::b64);
  if (space == Space::generic && base.kind == Kind::symbol) {
    result.space = decoder_.module_.variable(base.text) != nullptr ? Space::global : Space::shared;
  }
  return result;
}

std::int64_t Binder::literal(const Operand& operand) const {
  if (operand.kind != Kind::integer) fail("expected a number");
  return operand.value;
}

void Binder::keep(std::shared_ptr<void> owned) {
  decoder_.code_.owned.push_back(std::move(owned));
}

void Binder::run(Handler handler, InstructionClass what, unsigned operations) {
  if (handler == nullptr) fail("the simulator does not know this form of the instruction");
  op_.run = handler;
  Decoder::PendingOp pending;
  pending.origin = {instruction_.text,
                    instruction_.line,
                    instruction_.source_file,
                    instruction_.source_line,
                    what,
                    static_cast<std::uint8_t>(operations),
                    tensor_operations_};
  pending.op = op_;
  pending.slots = std::move(slots_);
  pending.references = std::move(references_);
  pending.instruction = decoder_.current_;
  decoder_.pending_.push_back(std::move(pending));
  is_done_ = true;
}

void Binder::finish() {
  if (!is_done_) fail("the simulator does not know this form of the instruction");
  if (!modifiers_.empty()) fail(fmt::format("the simulator does not know .{} here", modifiers_.front()));
  if (has_operand()) fail("too many operands");
}

}  // namespace gpusim
