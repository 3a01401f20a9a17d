// Calls and jumps through a table, as the decoder sees them.
#pragma once

#include "tools/gpusim/machine/binder.h"
#include "tools/gpusim/machine/instruction_set.h"
#include "tools/gpusim/machine/warp.h"

namespace gpusim {

// Attaches a CallSite to the instruction. Returns the handler when the function is one of the run-time library's; an empty
// name is a function known only when it is called.
Handler bind_call_site(Binder& b, const Operand& results, std::string_view function, const Operand& arguments);
// A join behind the instruction.
void bind_join(Binder& b);
void bind_jump_table(Binder& b, const Operand& targets);

// At run time. Lanes may want to go to different places: those that agree with the first go, and the others come back to
// the Op when these have reached the place where all meet.
const Op* branch_by_index(const Op* op, Warp& warp);
const Op* call_by_address(const Op* op, Warp& warp, const std::uint64_t* address);

// The functions of CUDA's device run-time library: vprintf and __assertfail.
void add_device_functions(InstructionSet& set);

}  // namespace gpusim
