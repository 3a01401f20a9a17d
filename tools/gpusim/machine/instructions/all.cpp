// The families of instructions, for one instruction set of the host.
#include "tools/gpusim/machine/instructions/lanes.h"

namespace gpusim::GPUSIM_TARGET {

void add_instructions(InstructionSet& set) {
  add_integer(set);
  add_bits(set);
  add_floating(set);
  add_special(set);
  add_compare(set);
  add_convert(set);
  add_move(set);
  add_memory(set);
  add_atomic(set);
  add_warp(set);
  add_control(set);
  add_barrier(set);
  add_async_copy(set);
  add_matrix(set);
  add_wmma(set);
}

}  // namespace gpusim::GPUSIM_TARGET
