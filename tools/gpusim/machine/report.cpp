#include "tools/gpusim/machine/report.h"

#include <numeric>

namespace gpusim {

const char* name_of(Fault fault) {
  constexpr const char* names[] = {"none",     "illegal address", "misaligned address", "trap", "failed assertion",
                                   "deadlock", "stack overflow",  "illegal instruction"};
  return names[static_cast<std::size_t>(fault)];
}

const char* name_of(FindingKind kind) {
  constexpr const char* names[] = {"out of bounds",
                                   "null pointer",
                                   "misaligned access",
                                   "uninitialised read",
                                   "shared memory race",
                                   "divergent barrier",
                                   "divergent shuffle",
                                   "missing async wait",
                                   "write to constant",
                                   "trap",
                                   "other"};
  return names[static_cast<std::size_t>(kind)];
}

const char* name_of(InstructionClass what) {
  constexpr const char* names[] = {
      "integer", "float32", "float64",       "half",          "special",      "conversion",
      "move",    "control", "global memory", "shared memory", "local memory", "constant memory",
      "atomic",  "warp",    "barrier",       "async copy",    "tensor",       "matrix move"};
  static_assert(std::size(names) == instruction_classes);
  return names[static_cast<std::size_t>(what)];
}

Counters& Counters::operator+=(const Counters& other) {
  for (std::size_t i = 0; i < instruction_classes; ++i) {
    warp_instructions[i] += other.warp_instructions[i];
    lane_instructions[i] += other.lane_instructions[i];
  }
  constexpr std::uint64_t Counters::*fields[] = {&Counters::global_load_requests,
                                                 &Counters::global_load_sectors,
                                                 &Counters::global_load_ideal,
                                                 &Counters::global_load_bytes,
                                                 &Counters::global_store_requests,
                                                 &Counters::global_store_sectors,
                                                 &Counters::global_store_ideal,
                                                 &Counters::global_store_bytes,
                                                 &Counters::shared_load_requests,
                                                 &Counters::shared_load_wavefronts,
                                                 &Counters::shared_load_ideal,
                                                 &Counters::shared_store_requests,
                                                 &Counters::shared_store_wavefronts,
                                                 &Counters::shared_store_ideal,
                                                 &Counters::local_load_bytes,
                                                 &Counters::local_store_bytes,
                                                 &Counters::global_atomics,
                                                 &Counters::shared_atomics,
                                                 &Counters::floating_operations,
                                                 &Counters::tensor_operations,
                                                 &Counters::branches,
                                                 &Counters::divergent_branches,
                                                 &Counters::barriers};
  for (const auto field : fields) this->*field += other.*field;
  return *this;
}

std::uint64_t Counters::total_warp_instructions() const {
  return std::accumulate(warp_instructions.begin(), warp_instructions.end(), std::uint64_t{0});
}

std::uint64_t Counters::total_lane_instructions() const {
  return std::accumulate(lane_instructions.begin(), lane_instructions.end(), std::uint64_t{0});
}

}  // namespace gpusim
