// What tools/gpusim/run tells the stand-ins, through the environment.
#pragma once

#include <string>

#include "tools/gpusim/gpus.h"
#include "tools/gpusim/machine/machine.h"

namespace gpusim {

struct Settings {
  Mode mode = Mode::fast;     // GPUSIM_MODE: fast, check or profile
  const Gpu* gpu = &gpus[0];  // GPUSIM_GPU: a name in gpus.h
  unsigned threads = 0;       // GPUSIM_THREADS; 0: one per processor
  std::string json;           // GPUSIM_JSON: the file for the report; %p in it is the process' number; empty: none
  bool time = false;          // GPUSIM_TIME: 0 or 1; tell the simulator's speed at the end
  bool report_leaks = true;   // GPUSIM_LEAKS: 0 or 1; in check mode
};

// Read when first asked for. A value that makes no sense ends the process with code 2, saying so.
const Settings& settings();

}  // namespace gpusim
