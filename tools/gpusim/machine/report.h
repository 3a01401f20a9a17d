// What a launch tells: how it ended, what check mode found, what profile mode counted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gpusim {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  std::size_t count() const { return std::size_t{x} * y * z; }
  bool operator==(const Dim3&) const = default;
};

// A place in the program.
struct Place {
  int ptx_line = 0;
  std::string ptx_text;  // the instruction
  std::string file;      // of the source, from .loc; empty without -lineinfo
  int line = 0;
};

// How a launch ended. All but `none` are sticky errors on a device.
enum class Fault {
  none,
  illegal_address,     // cudaErrorIllegalAddress
  misaligned_address,  // cudaErrorMisalignedAddress
  trap,                // `trap` or `brkpt`: cudaErrorLaunchFailure
  assertion,           // a failed assert: cudaErrorAssert
  deadlock,            // no warp can go on: cudaErrorLaunchTimeout
  stack_overflow,      // call depth: cudaErrorHardwareStackError
  illegal_instruction  // something known but not runnable with these values: cudaErrorIllegalInstruction
};
const char* name_of(Fault fault);

enum class FindingKind {
  out_of_bounds,       // global, shared, local, constant or parameter memory
  null_pointer,        // an address below 4096
  misaligned,          // an access not aligned to its size
  uninitialised_read,  // global, shared or local memory nobody wrote
  shared_race,         // two warps of a block, one interval between barriers, at least one plain write
  divergent_barrier,   // a barrier that not all threads of a warp, or of the block, reach
  divergent_shuffle,   // a lane mask that names lanes which are not there, or a value read from such a lane
  missing_async_wait,  // bytes that a cp.async in flight will write were read or written
  constant_write,      // a store to .const
  trap,                // also failed assertions and faults of fast mode
  other
};
const char* name_of(FindingKind kind);  // "out of bounds"

// One place in a kernel with something wrong; the first occurrence is described, the others are counted.
struct Finding {
  FindingKind kind = FindingKind::other;
  std::string kernel;
  Dim3 block, thread;  // indices
  Place place;
  std::string
      message;  // a sentence: "reads 4 bytes at 0x7f.., 4 bytes past the end of allocation #3 (cudaMalloc, 400 bytes)"
  std::string allocation;  // the allocation concerned, if there is one: "#3 (cudaMalloc, 400 bytes)"
  std::size_t count = 1;   // occurrences (thread by thread) in this launch
};

// Instructions by what executes them.
enum class InstructionClass {
  integer,
  float32,
  float64,
  half,     // 16-bit floating point, packed forms included
  special,  // ex2, lg2, sin, cos, rcp, rsqrt, sqrt, tanh: the special-function unit
  conversion,
  move,     // mov, selp, predicates, shuffles of bits
  control,  // branches, calls, exit
  global_memory,
  shared_memory,
  local_memory,
  constant_memory,  // .const and parameters
  atomic,
  warp,     // shfl, vote, match, redux
  barrier,  // and fences
  async_copy,
  tensor,       // mma, wmma
  matrix_move,  // ldmatrix, stmatrix
  count_        // not a class
};
const char* name_of(InstructionClass what);
inline constexpr std::size_t instruction_classes = static_cast<std::size_t>(InstructionClass::count_);

// Counters of one launch, or of one instruction of it. `requests` are warp instructions.
struct Counters {
  std::array<std::uint64_t, instruction_classes> warp_instructions{}, lane_instructions{};
  // Global memory in sectors of 32 bytes: moved as issued, and the fewest that could hold the bytes asked for.
  std::uint64_t global_load_requests = 0, global_load_sectors = 0, global_load_ideal = 0, global_load_bytes = 0;
  std::uint64_t global_store_requests = 0, global_store_sectors = 0, global_store_ideal = 0, global_store_bytes = 0;
  // Shared memory in wavefronts (passes over the 32 banks): as issued, and without conflicts.
  std::uint64_t shared_load_requests = 0, shared_load_wavefronts = 0, shared_load_ideal = 0;
  std::uint64_t shared_store_requests = 0, shared_store_wavefronts = 0, shared_store_ideal = 0;
  std::uint64_t local_load_bytes = 0, local_store_bytes = 0;
  std::uint64_t global_atomics = 0, shared_atomics = 0;  // lanes
  std::uint64_t floating_operations = 0;                 // outside the tensor cores; a fused multiply-add counts two
  std::uint64_t tensor_operations = 0;                   // 2 m n k for each mma
  std::uint64_t branches = 0, divergent_branches = 0;
  std::uint64_t barriers = 0;  // warps arriving

  Counters& operator+=(const Counters& other);
  std::uint64_t bank_conflicts() const {
    return shared_load_wavefronts - shared_load_ideal + shared_store_wavefronts - shared_store_ideal;
  }
  std::uint64_t total_warp_instructions() const;
  std::uint64_t total_lane_instructions() const;
};

struct InstructionProfile {
  Place place;
  Counters counters;
};

struct Profile {
  Counters total;
  std::vector<InstructionProfile> instructions;  // in PTX order, those that ran; only with per_instruction
};

struct LaunchResult {
  Fault fault = Fault::none;
  std::string message;                    // what went wrong and where; empty for none
  Place place;                            // of the fault
  std::vector<Finding> findings;          // check mode
  std::size_t findings_not_recorded = 0;  // occurrences beyond max_findings places
  Profile profile;                        // profile mode
  std::uint64_t lane_instructions = 0;    // executed in all; every mode
};

}  // namespace gpusim
