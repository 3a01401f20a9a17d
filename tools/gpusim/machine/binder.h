// One PTX instruction on its way to an Op: a family of instructions asks the Binder for the modifiers and operands that it
// understands, in the order of the text. What nobody asked for is an error, so nothing is ignored silently.
//
//   set.add("add", [](Binder& b) {
//     const bool saturate = b.take("sat");
//     const Type type = b.take_type();
//     b.output(type);
//     b.input(type);
//     b.input(type);
//     b.run(pick_a_handler(type, saturate), InstructionClass::integer);
//   });
#pragma once

#include <initializer_list>

#include "tools/gpusim/machine/code.h"
#include "tools/gpusim/ptx/syntax.h"

namespace gpusim {

class Decoder;
using ptx::Operand;
using ptx::Space;
using ptx::Type;

class Binder {
 public:
  Binder(Decoder& decoder, const ptx::Instruction& instruction);

  // ---- modifiers
  bool take(std::string_view modifier);
  // The one of these that the instruction has; empty when it has none.
  std::string_view take_one_of(std::initializer_list<std::string_view> modifiers);
  Type take_type();  // the next that is a type; fails when there is none
  Type take_type_or(Type otherwise);
  // Cache operators and hints, orders of memory (all are sequentially consistent here), scopes.
  void ignore_memory_hints();

  // ---- operands, in order; each takes the next slots of the Op
  bool has_operand() const { return next_operand_ < instruction_.operands.size(); }
  const Operand& peek(std::size_t ahead = 0) const;
  const Operand& next();  // without giving it a slot
  void output(Type type) { output(next(), type); }
  void input(Type type) { input(next(), type); }
  void output(const Operand& operand, Type type);
  void input(const Operand& operand, Type type);
  void in_out(const Operand& operand, Type type);
  void inputs(const Operand& list, Type type);  // {a, b, c} or a single one
  void outputs(const Operand& list, Type type);
  // d|p: a value and a predicate, two slots. A predicate that is not there goes to a register nobody reads.
  void output_with_predicate(Type type);
  // 1 (predicate), 2, 4, 8 or 16 bytes of a register; 0 of anything else.
  unsigned width(const Operand& operand) const;
  // [base + offset]: one slot of 64 bits, or of 32 when the register has that many; the offset goes to `immediate`. The
  // space decides what a name means. Tells how to read the slot.
  struct Address {
    bool is_narrow = false;          // 32-bit lanes
    bool is_frame_relative = false;  // a name in local memory: counts from the frame of the function
    Space space;                     // .param is .local where the parameter is a call's
  };
  Address address(const Operand& operand, Space space);
  std::int64_t literal(const Operand& operand) const;  // fails when it is none
  std::int64_t literal() { return literal(next()); }

  // ---- the result
  Op& op() { return op_; }
  unsigned slots() const { return static_cast<unsigned>(slots_.size()); }
  void run(Handler handler, InstructionClass what, unsigned operations = 0);
  template <class T>
  T& attach(T value) {  // lives as long as the code; Op::extra points at it
    auto owned = std::make_shared<T>(std::move(value));
    op_.extra = owned.get();
    keep(owned);
    return *owned;
  }

  const ptx::Instruction& instruction() const { return instruction_; }
  Decoder& decoder() { return decoder_; }
  void set_tensor_operations(unsigned operations) { tensor_operations_ = operations; }
  [[noreturn]] void fail(std::string_view message) const;

 private:
  friend class Decoder;
  struct Reference {
    unsigned slot;
    int virtual_register;
    bool is_written, is_read;
  };
  void refer(int virtual_register, bool is_written, bool is_read);
  void constant(std::uint64_t bits, unsigned bytes);
  std::uint64_t bits_of(const Operand& operand, Type type) const;
  int register_of(const Operand& operand, Type type) const;
  // A temporary that an Op in front of this one fills.
  void special_register(std::string_view name, unsigned bytes);
  int computed(Handler handler, unsigned bytes, std::int64_t immediate, int input = -1);
  void keep(std::shared_ptr<void> owned);
  void finish();

  Decoder& decoder_;
  const ptx::Instruction& instruction_;
  std::vector<std::string_view> modifiers_;
  std::size_t next_operand_ = 0;
  Op op_;
  std::vector<Slot> slots_;
  std::vector<Reference> references_;
  unsigned tensor_operations_ = 0;
  bool is_done_ = false;
};

}  // namespace gpusim
