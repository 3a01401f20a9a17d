#include "tools/gpusim/machine/instruction_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>

#include "tools/gpusim/machine/calls.h"

namespace gpusim {

// instructions/all.cpp, compiled once for each level. GPUSIM_LEVELS lists those of this build, the best first, as
// LEVEL(name) LEVEL(name)...
#define LEVEL(name)                           \
  namespace name {                            \
  void add_instructions(InstructionSet& set); \
  }
GPUSIM_LEVELS
#undef LEVEL

namespace {

struct Target {
  std::string_view name;
  void (*add)(InstructionSet& set);
};

constexpr Target targets[] = {
#define LEVEL(name) {#name, name::add_instructions},
    GPUSIM_LEVELS
#undef LEVEL
};

bool runs_here(std::string_view level) {
#if defined(__x86_64__)
  if (level == "x86_64_v4") return __builtin_cpu_supports("x86-64-v4") != 0;
  if (level == "x86_64_v3") return __builtin_cpu_supports("x86-64-v3") != 0;
#endif
  return level == "baseline";
}

// The names sort as the levels do: baseline, x86_64_v3, x86_64_v4.
bool is_allowed(std::string_view level) {
  const char* limit = std::getenv("HEED_GPUSIM_TARGET");
  return limit == nullptr || level <= limit;
}

const Target& best_target() {
  const Target* best = std::find_if(std::begin(targets), std::end(targets), [](const Target& target) {
    return runs_here(target.name) && is_allowed(target.name);
  });
  if (best != std::end(targets)) return *best;
  throw Error(fmt::format(
      "gpusim is compiled for {} at least, which this processor lacks (or HEED_GPUSIM_TARGET forbids): configure a new "
      "build folder on this machine, or one with -Dgpusim_levels=all for every machine",
      std::rbegin(targets)->name));
}

}  // namespace

std::string_view host_target() {
  return best_target().name;
}

const InstructionSet& instruction_set() {
  static const InstructionSet set = [] {
    InstructionSet result;
    best_target().add(result);
    add_device_functions(result);
    return result;
  }();
  return set;
}

}  // namespace gpusim
