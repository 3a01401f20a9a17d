// The instructions that the interpreter knows. Each family of instructions lives in a file of its own under instructions/
// and adds its names here; to add an instruction, add it there.
#pragma once

#include <map>
#include <string_view>

#include "tools/gpusim/machine/binder.h"

namespace gpusim {

class InstructionSet {
 public:
  using Bind = void (*)(Binder& binder);

  void add(std::string_view name, Bind bind) { binds_[name] = bind; }
  // A function that the device's run-time library provides: called with the parameters in local memory.
  void add_function(std::string_view name, Handler handler) { functions_[name] = handler; }

  Bind find(std::string_view name) const {
    const auto found = binds_.find(name);
    return found == binds_.end() ? nullptr : found->second;
  }
  Handler find_function(std::string_view name) const {
    const auto found = functions_.find(name);
    return found == functions_.end() ? nullptr : found->second;
  }

  // Ops that no instruction names.
  Handler join = nullptr;              // where diverged paths meet
  Handler return_at_end = nullptr;     // behind the last instruction
  Handler special_register = nullptr;  // slot 0: 32-bit result; immediate: which, see special_register_named
  Handler special_register_64 = nullptr;
  Handler invert_predicate = nullptr;  // slot 0: result, slot 1: input
  Handler local_address = nullptr;     // slot 0: 64-bit result: immediate + the frame's place in local memory
  Handler local_address_32 = nullptr;
  Handler dynamic_shared_address = nullptr;  // the same, of the launch's dynamic shared memory
  Handler dynamic_shared_address_32 = nullptr;

 private:
  std::map<std::string_view, Bind> binds_;
  std::map<std::string_view, Handler> functions_;
};

// The set compiled for the best instruction set of this machine.
const InstructionSet& instruction_set();

// -1 when unknown.
int special_register_named(std::string_view name);

}  // namespace gpusim
