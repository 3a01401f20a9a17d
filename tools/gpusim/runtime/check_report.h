// What check mode found, and faults of every mode: printed when it happens, summed up when the process ends, and written
// as JSON if asked for.
#pragma once

#include <string>

#include "tools/gpusim/machine/machine.h"
#include "tools/gpusim/runtime/program.h"

namespace gpusim {

void report_launch(const Kernel& kernel, const LaunchResult& result);  // check mode
void report_fault(const Kernel& kernel, const LaunchResult& result);   // the other modes

// A call of the host that check mode objects to; does nothing in other modes. Not more often than once per place.
void report_host_error(FindingKind kind, const std::string& call, const std::string& message);

// What is left to say when the process ends: leaks, the summary, the JSON file. Returns the number of different errors.
std::size_t finish_check();

}  // namespace gpusim
