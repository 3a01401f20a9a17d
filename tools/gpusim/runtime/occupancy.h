// How many blocks of a kernel one multiprocessor holds at a time, and what stops it from holding more: the arithmetic of
// the CUDA occupancy calculator.
#pragma once

#include <cstddef>

#include "tools/gpusim/gpus.h"

namespace gpusim {

struct Occupancy {
  int blocks = 0;          // per multiprocessor
  int warps = 0;           // the same in warps
  double fraction = 0;     // of the warps that the multiprocessor could hold
  const char* limit = "";  // "threads", "blocks", "registers", "shared memory"
};

// registers: per thread; 0 when unknown, which limits nothing. shared: bytes per block, static and dynamic.
Occupancy occupancy(const Gpu& gpu, int threads, int registers, std::size_t shared);

}  // namespace gpusim
