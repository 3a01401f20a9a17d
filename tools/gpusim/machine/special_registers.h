// The registers that tell a thread where it is: %tid.x, %laneid, %clock64 and the like.
#pragma once

#include "tools/gpusim/machine/warp.h"

namespace gpusim {

// The 32 lanes' values of the register that special_register_named (instruction_set.h) numbers so.
void read_special_register(int which, const Warp& warp, std::uint64_t* lane);

}  // namespace gpusim
