// A block of threads at work: its warps, their registers, the paths they are on, and what they share.
#pragma once

#include <bit>
#include <cstring>
#include <vector>

#include "tools/gpusim/machine/code.h"

namespace gpusim {

class Observer;
class Warp;

// What all blocks of a launch share.
struct Launch {
  const Code* kernel;
  Dim3 grid, block;
  const LaunchOptions* options;
  const std::byte* parameters;
  std::size_t static_shared_bytes, shared_bytes;  // shared_bytes: the dynamic ones too
  std::size_t local_bytes;                        // of each thread
  std::uintptr_t memory_begin, memory_end;        // see Memory
  std::uint64_t id;
};

// A barrier of the block (bar.sync 0 to 15).
struct Barrier {
  unsigned arrived = 0;     // threads
  unsigned expected = 0;    // threads, when the instruction names a number; 0: all that have not exited
  unsigned population = 0;  // bar.red: threads whose predicate was true
  bool all = true, any = false;
  unsigned result_population = 0;
  bool result_all = true, result_any = false;
};

struct Block {
  const Launch* launch = nullptr;
  Dim3 index;
  std::byte* shared = nullptr;
  Observer* observer = nullptr;  // check and profile mode
  std::vector<Warp> warps;
  std::array<Barrier, 16> barriers;
  unsigned exited = 0;  // threads
  Fault fault = Fault::none;
  std::string fault_message;
  const Op* fault_op = nullptr;
  const Code* fault_code = nullptr;
};

// Lanes that go on together. The last of a warp's paths is the one it is on.
struct Path {
  const Op* next;  // where the path goes on when its turn comes
  std::uint32_t mask;
  const Op* join;  // where it ends, for the path before it in the list to go on; nullptr: at the function's end
};

// An activation of a function.
struct Frame {
  const Code* code;
  std::byte* registers;
  std::size_t local_base;  // of its frame in each thread's local memory
  std::size_t first_path;
  const CallSite* site;
};

// A cp.async on its way: 16 bytes or fewer for each lane of the mask.
struct AsyncCopy {
  std::uint32_t mask;
  std::uint32_t group;  // number of the group it belongs to, from 0
  std::uint32_t bytes, source_bytes;
  const Op* op;
  std::array<std::uint8_t, warp_size> lane_bytes;  // to read; the rest is filled with zeros
  std::array<std::byte*, warp_size> to;
  std::array<const std::byte*, warp_size> from;
};

class Warp {
 public:
  enum class State : std::uint8_t { ready, waiting, finished };

  // Hot: what handlers touch at every step.
  std::byte* bank[2] = {};   // registers of the frame, constants of its function
  std::uint32_t mask = 0;    // lanes that execute the current Op
  std::uint32_t active = 0;  // lanes on the current path
  std::uint32_t dead = 0;    // lanes that have exited or never were
  std::uint32_t carry = 0;   // the carry flags of add.cc and its kind
  Block* block = nullptr;
  std::int64_t budget = 0;           // backward branches until others get their turn
  const Op* counted_from = nullptr;  // straight-line Ops since here are not yet in lane_instructions
  std::uint64_t lane_instructions = 0;

  State state = State::ready;
  bool released = false;                                               // the barrier it waited at let it through
  std::uint8_t barrier = 0;                                            // the one it waits at
  unsigned index = 0;                                                  // in the block
  std::array<std::array<std::uint32_t, warp_size>, 3> thread_index{};  // x, y and z of the lanes
  const Op* resume = nullptr;
  std::vector<Path> paths;
  std::vector<Frame> frames;
  std::byte* local = nullptr;  // lane l's local memory begins at local + l * launch.local_bytes
  std::vector<AsyncCopy> copies;
  std::array<std::uint32_t, warp_size> committed{};  // groups of cp.async that each lane has closed

  template <class T>
  T* out(Slot slot) const {
    return reinterpret_cast<T*>(bank[0] + slot);
  }
  template <class T>
  const T* in(Slot slot) const {
    return reinterpret_cast<const T*>(bank[slot & 1] + (slot & ~Slot{1}));
  }
  std::uint32_t predicate(Slot slot) const { return *in<std::uint32_t>(slot); }
  void set_predicate(Slot slot, std::uint32_t value) {
    std::uint32_t& word = *out<std::uint32_t>(slot);
    word = (word & ~mask) | (value & mask);
  }
  // Results may be written for every lane: those not in the mask will never be looked at.
  bool whole() const { return (mask | dead) == all_lanes; }

  const Code& code() const { return *frames.back().code; }
  const Launch& launch() const { return *block->launch; }
  std::byte* local_of(unsigned lane) const { return local + lane * block->launch->local_bytes; }
  // The lane's index in the block.
  Dim3 thread_of(unsigned lane) const { return {thread_index[0][lane], thread_index[1][lane], thread_index[2][lane]}; }
  void join_block(Block& of, unsigned number);  // before the first start

  // Control, in control.cpp. Each returns the Op to go on with.
  const Op* branch(const Op* op, std::uint32_t taken, const Op* target);
  const Op* join(const Op* op);
  const Op* call(const Op* op, const CallSite& site, const Code& callee);
  const Op* leave(const Op* op, bool whole_thread);  // ret or exit, for the lanes of the mask
  void start(const Code& kernel, std::uint32_t lanes);

  // The launch ends here. Always returns nullptr.
  const Op* fail(const Op* op, Fault fault, std::string message);

  // Counts the Ops from counted_from up to and with `last`; the next one will be `next`.
  void count(const Op* last, const Op* next) {
    lane_instructions += static_cast<std::uint64_t>(last + 1 - counted_from) * std::popcount(active);
    counted_from = next;
  }

 private:
  const Op* next_path();
  bool push_frame(const Code& code, const CallSite* site);
  void pop_frame();

  std::vector<AlignedBytes> register_files_;  // by depth of calls, kept for reuse
};

// Runs the warp until it stops.
void run(Warp& warp);

// What check and profile mode see of a launch. One for each block at work, so it needs no locks.
enum class Access : std::uint8_t { load, store, atomic, async_source, async_target };

struct MemoryAccess {
  const Op* op;
  Access access;
  ptx::Space space;  // generic addresses have been told apart before
  std::uint32_t mask;
  unsigned bytes;                // of each lane
  const std::uint64_t* address;  // of each lane: host address for global and constant, else offset in the space
  const std::byte* const* pointer = nullptr;  // where that is
  const std::byte* value = nullptr;           // of a store: `bytes` for each lane, nullptr if unknown
  // Of the lanes in the mask: the lowest and the highest address, and all of their bits.
  std::uint64_t lowest = 0, highest = 0, bits = 0;
  bool is_consecutive = false;  // all 32 lanes, one behind the other
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void start_block(Block&) {}
  virtual void end_block(Block&) {}
  virtual bool wants_instructions() const { return false; }
  virtual void instruction(Warp&, const Op*) {}
  // Returns the lanes that may go through with it; for the others a load gives zeros and a store does nothing.
  virtual std::uint32_t access(Warp&, const MemoryAccess& access) { return access.mask; }
  virtual void branch(Warp&, const Op*, bool /*divergent*/) {}
  virtual void barrier(Warp&, const Op*, unsigned /*number*/) {}
  virtual void barrier_released(Block&, unsigned /*number*/) {}
  virtual void shuffle(Warp&, const Op*, std::uint32_t /*named lanes*/,
                       std::uint32_t /*lanes that read an absent lane*/) {}
  virtual void async_landed(Warp&, const AsyncCopy&, std::uint32_t /*lanes*/) {}
};

}  // namespace gpusim
