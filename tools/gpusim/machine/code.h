// The executable form of a function: an array of Ops, each a function pointer and the places of its operands.
//
// A register is an array of 32 lanes in the warp's register file: uint16_t, uint32_t or uint64_t by its width, and for a
// predicate one 32-bit mask. An Op handles all lanes at once. See decode.h for how Ops are made, warp.h for how they run.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>
#include <vector>

#include "tools/gpusim/machine/machine.h"
#include "tools/gpusim/ptx/types.h"

namespace gpusim {

struct Op;
class Warp;

inline constexpr unsigned warp_size = 32;
inline constexpr std::uint32_t all_lanes = 0xFFFFFFFF;

// Executes one Op for the lanes of warp.mask and returns the next, or nullptr when the warp stops here (it waits, has
// finished, or failed).
using Handler = const Op* (*)(const Op* op, Warp& warp);

// Where the 32 lanes of an operand are: a byte offset into the warp's registers or, with the lowest bit set, into the
// constants of the function.
using Slot = std::uint32_t;

struct alignas(64) Op {
  static constexpr Slot no_guard = ~Slot{0};

  Handler run = nullptr;
  std::array<Slot, 8> slot{};   // in the order of the text: results first
  Slot guard = no_guard;        // of @%p; the lowest bit set: @!%p
  std::uint32_t variant = 0;    // what the handler likes to know besides
  std::int64_t immediate = 0;   // as it likes; for memory the offset in the address
  const void* extra = nullptr;  // more slots, a call's description, where paths meet; owned by the Code
  Slot operand(unsigned i) const {
    return i < slot.size() ? slot[i] : static_cast<const Slot*>(extra)[i - slot.size()];
  }
};
static_assert(sizeof(Op) == 64);

// What an Op came from.
struct Origin {
  std::string_view text;
  int line = 0, source_file = 0, source_line = 0;
  InstructionClass what = InstructionClass::move;
  std::uint8_t operations = 0;          // floating-point operations of a lane; a fused multiply-add counts 2
  std::uint32_t tensor_operations = 0;  // of the warp
};

template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, std::size_t) { ::operator delete (p, std::align_val_t{64}); }
  bool operator==(const AlignedAllocator&) const { return true; }
};
using AlignedBytes = std::vector<std::byte, AlignedAllocator<std::byte>>;

class ModuleCode;

struct Code final : Function {
  const ModuleCode* module = nullptr;
  std::vector<Op> ops;
  std::vector<Origin> origins;  // one for each Op
  AlignedBytes constants;
  std::size_t register_bytes = 0;
  std::size_t frame_bytes = 0;  // of each thread's local memory: .local arrays and parameters of calls
  // What a call copies: the callee's formal results and parameters in its frame.
  struct Formal {
    std::size_t offset, bytes;
  };
  std::vector<Formal> results, parameters;   // of a .func
  std::size_t stack_bytes = 0;               // local memory of this function and all it calls; 0: unbounded
  std::vector<std::shared_ptr<void>> owned;  // what Op::extra points at

  const Origin& origin(const Op* op) const { return origins[static_cast<std::size_t>(op - ops.data())]; }
};

// A call: resolved when it is decoded, or at run time through a function's address.
struct CallSite {
  const Code* callee = nullptr;
  struct Copy {  // between the caller's frame and the callee's formal of the same position
    std::size_t offset, bytes;
  };
  std::vector<Copy> results, arguments;
};

// Generic addresses of shared, local and parameter memory lie in windows far from any host address.
inline constexpr std::uint64_t window_bytes = std::uint64_t{1} << 32;
inline constexpr std::uint64_t shared_window = std::uint64_t{0x0100'0000} << 32;
inline constexpr std::uint64_t local_window = std::uint64_t{0x0200'0000} << 32;
inline constexpr std::uint64_t param_window = std::uint64_t{0x0300'0000} << 32;

}  // namespace gpusim
