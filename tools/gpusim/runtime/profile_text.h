// Profiles as text, and the sums that text and JSON share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/gpusim/machine/report.h"
#include "tools/gpusim/runtime/occupancy.h"
#include "tools/gpusim/runtime/registers.h"
#include "tools/gpusim/runtime/roofline.h"

namespace gpusim {

// All launches of a kernel with the same grid, block and dynamic shared memory.
struct ShapeProfile {
  Dim3 grid, block;
  std::size_t dynamic_shared = 0, launches = 0;
  Occupancy occupancy;
  Profile profile;  // sums over the launches
};

struct KernelProfile {
  std::string mangled, name;
  std::size_t static_shared = 0;
  std::optional<KernelResources> resources;  // nothing: unknown
  std::vector<ShapeProfile> shapes;
};

struct LineProfile {
  std::string file;
  int line;
  Counters counters;
};
// By source line, in the order of the source; empty without -lineinfo.
std::vector<LineProfile> by_line(const Profile& profile);

Roofline roofline_of(const ShapeProfile& shape);  // of all its launches together

std::string profile_text(const std::vector<KernelProfile>& kernels);

}  // namespace gpusim
