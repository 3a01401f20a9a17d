// The least time that a kernel's counted work needs on a GPU: each unit's work divided by its rate. The largest of these
// is the estimate. Real kernels are slower (latency, dependencies, launch overhead), and may be faster than the line for
// global memory where the L2 cache serves repeated reads, which are counted here as if they came from memory.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tools/gpusim/gpus.h"
#include "tools/gpusim/machine/report.h"

namespace gpusim {

struct UnitTime {
  const char* unit;  // "global memory", "instruction issue", ...
  double seconds;
};

struct Roofline {
  std::vector<UnitTime> units;  // those with any work, the busiest first
  double seconds() const { return units.empty() ? 0 : units.front().seconds; }
  const char* bound() const { return units.empty() ? "nothing" : units.front().unit; }
};

// Tensor-core operations by the type of their inputs, out of the profile's instructions.
struct TensorWork {
  double f16 = 0, bf16 = 0, tf32 = 0, f64 = 0, i8 = 0;
  double total() const { return f16 + bf16 + tf32 + f64 + i8; }
};
TensorWork tensor_work(const Profile& profile);

// `blocks`: of the grid; a grid smaller than the GPU, or not a multiple of it, leaves multiprocessors idle.
Roofline roofline(const Gpu& gpu, const Counters& counters, const TensorWork& tensor, std::size_t blocks);

}  // namespace gpusim
