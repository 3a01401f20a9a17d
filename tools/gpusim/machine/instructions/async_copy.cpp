#include "tools/gpusim/machine/instructions/addresses.h"
namespace gpusim::GPUSIM_TARGET {
void add_async_copy(InstructionSet&) {}
}  // namespace gpusim::GPUSIM_TARGET
