// What profile mode counted, kernel by kernel: a table on standard error when the process ends, and JSON if asked for.
#pragma once

#include "tools/gpusim/machine/machine.h"
#include "tools/gpusim/runtime/program.h"

namespace gpusim {

void profile_launch(Kernel& kernel, const LaunchShape& shape, const Profile& profile);

void finish_profile();

}  // namespace gpusim
