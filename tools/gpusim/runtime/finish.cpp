// What happens when the process ends: after the destructors of the program and of its libraries, for they depend on this.
#include <unistd.h>

#include <cstdio>

#include "tools/gpusim/runtime/check_report.h"
#include "tools/gpusim/runtime/profile_report.h"
#include "tools/gpusim/runtime/simulator.h"

namespace {

constexpr int check_failed = 86;

__attribute__((destructor)) void finish() {
  gpusim::flush_output();
  if (gpusim::settings().time) gpusim::print_speed();
  const gpusim::Mode mode = gpusim::settings().mode;
  if (mode == gpusim::Mode::profile) gpusim::finish_profile();
  if (mode != gpusim::Mode::check || gpusim::finish_check() == 0) return;
  std::fflush(nullptr);
  _exit(check_failed);
}

}  // namespace
