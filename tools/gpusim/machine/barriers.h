// The sixteen barriers of a block.
#pragma once

#include "tools/gpusim/machine/warp.h"

namespace gpusim {

// The warp is at barrier `number`, which lets `threads` threads through (0: all of the block that have not exited).
// False: it waits there, and executes `op` again with warp.released set.
bool arrive(Warp& warp, const Op* op, unsigned number, unsigned threads, std::uint32_t predicate, bool waits);

// A warp has finished: barriers that wait for all may be complete without it.
void warp_finished(Block& block);

}  // namespace gpusim
