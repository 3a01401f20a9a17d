// Words for places in memory and in the program.
#pragma once

#include <string>

#include "tools/gpusim/machine/binder.h"

namespace gpusim {

const char* name_of(Space space);                    // "shared"
std::string describe(const Allocation& allocation);  // "#3 (cudaMalloc, 400 bytes)"
// Where a global address lies: "byte 400 of allocation #3 (...), 4 bytes past its end".
std::string describe_global(const Memory& memory, std::uint64_t address, unsigned bytes);
// Ends the launch with a fault at the lane's access.
void report_illegal_access(const Op* op, Warp& warp, Space space, std::uint64_t address, unsigned bytes, unsigned lane);
Place place_of(const Code& code, const Op* op);

}  // namespace gpusim
