// From the syntax of a function to its Ops: binding, allocation of registers, paths.
#pragma once

#include <map>
#include <mutex>

#include "tools/gpusim/machine/binder.h"
#include "tools/gpusim/machine/instruction_set.h"
#include "tools/gpusim/ptx/control_flow.h"

namespace gpusim {

class ModuleCode final : public Module {
 public:
  ModuleCode(std::string ptx, Memory& memory);
  ~ModuleCode() override;

  const Function& function(std::string_view name) override;
  bool has_function(std::string_view name) const override;
  std::vector<std::string> kernel_names() const override;
  const Variable* variable(std::string_view name) const override;
  std::string_view target() const override { return syntax_.target; }
  std::string_view text() const override { return text_; }

  Memory& memory() const { return memory_; }
  std::string_view file(int number) const;
  const std::map<int, std::string>& files() const { return syntax_.files; }
  // While decoding: the code of a function, perhaps not yet complete; nullptr when the module has no body for it.
  const Code* code(std::string_view name);
  // Static shared variables of the module's level lie in front of a function's own.
  const std::map<std::string_view, std::size_t>& shared_offsets() const { return shared_offsets_; }
  std::size_t shared_bytes() const { return shared_bytes_; }
  bool is_dynamic_shared(std::string_view name) const { return dynamic_shared_.contains(name); }
  bool owns(const Code* code) const;

 private:
  void place_variables();

  std::string text_;
  Memory& memory_;
  ptx::Module syntax_;
  std::map<std::string_view, const ptx::Function*> functions_;  // the one with a body, if there are several
  std::map<std::string_view, std::unique_ptr<Code>> codes_;
  std::map<std::string_view, Variable> variables_;
  std::map<std::string_view, std::size_t> shared_offsets_;
  std::map<std::string_view, std::size_t> dynamic_shared_;  // external arrays -> alignment
  std::size_t shared_bytes_ = 0;
  mutable std::recursive_mutex mutex_;
};

class Decoder {
 public:
  Decoder(ModuleCode& module, const ptx::Function& function, Code& code);
  void decode();

 private:
  friend class Binder;

  struct PendingOp {
    Op op;
    Origin origin;
    std::vector<Slot> slots;
    std::vector<Binder::Reference> references;
    int instruction;  // -1 for a join
  };

  void lay_out_memory();
  void bind_instruction(int number);
  void allocate_registers();
  void assemble();
  void resolve_jumps();
  Slot constant(std::uint64_t bits, unsigned bytes);
  int new_register(unsigned bytes);
  void finish_info();

  ModuleCode& module_;
  const ptx::Function& function_;
  Code& code_;
  const InstructionSet& set_;
  ptx::Body body_;
  ptx::ControlFlow flow_;
  std::vector<unsigned> register_bytes_;        // of each virtual register, temporaries at the end
  std::vector<std::int64_t> variable_offsets_;  // of body_.variables in their space
  std::vector<PendingOp> pending_;
  std::vector<int> first_op_;  // of each instruction, and of the end
  std::map<std::pair<std::uint64_t, unsigned>, Slot> constants_;
  std::vector<Slot> places_;  // of each virtual register
  int current_ = 0;           // instruction being bound
  std::size_t stack_of_callees_ = 0;
  bool stack_is_unbounded_ = false;

 public:
  // For calls (instructions/call.cpp).
  const Code* callee(std::string_view name) { return module_.code(name); }
  const ptx::Body& body() const { return body_; }
  std::int64_t offset_of(int variable) const { return variable_offsets_[static_cast<std::size_t>(variable)]; }
  void note_call(const Code* callee);  // nullptr: unknown
  const InstructionSet& set() const { return set_; }
  void add_join();  // where paths meet, behind what has been bound
  // Jumps are bound to instructions; they become Ops when all are there.
  static constexpr std::uint32_t is_jump = 0x6A756D70;
  struct JumpTable {
    std::vector<int> instructions;
    std::vector<const Op*> targets;
    const Op* meeting = nullptr;
  };
};

}  // namespace gpusim
