#include "tools/gpusim/machine/instructions/addresses.h"
namespace gpusim::GPUSIM_TARGET {
void add_matrix(InstructionSet&) {}
}  // namespace gpusim::GPUSIM_TARGET
