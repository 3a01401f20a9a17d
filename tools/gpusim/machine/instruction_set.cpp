#include "tools/gpusim/machine/instruction_set.h"

#include <cstdlib>

#include "tools/gpusim/machine/calls.h"

namespace gpusim {

// instructions/all.cpp, compiled once for each.
namespace baseline {
void add_instructions(InstructionSet& set);
}
#ifdef GPUSIM_X86_LEVELS
namespace x86_64_v3 {
void add_instructions(InstructionSet& set);
}
namespace x86_64_v4 {
void add_instructions(InstructionSet& set);
}
#endif

namespace {

struct Target {
  const char* name;
  bool is_supported;
  void (*add)(InstructionSet& set);
};

const Target& best_target() {
  static const Target target = [] {
#ifdef GPUSIM_X86_LEVELS
    const char* limit_text = std::getenv("HEED_GPUSIM_TARGET");
    const std::string_view limit = limit_text != nullptr ? limit_text : "";
    const Target targets[] = {{"x86-64-v4", __builtin_cpu_supports("x86-64-v4") != 0, x86_64_v4::add_instructions},
                              {"x86-64-v3", __builtin_cpu_supports("x86-64-v3") != 0, x86_64_v3::add_instructions}};
    for (std::size_t i = limit == "x86-64-v3" ? 1 : limit == "baseline" ? 2 : 0; i < std::size(targets); ++i) {
      if (targets[i].is_supported) return targets[i];
    }
#endif
    return Target{"baseline", true, baseline::add_instructions};
  }();
  return target;
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
