// What check mode knows of every byte of a block's shared memory: who wrote it, who read it, and whether barriers have put
// these accesses in order.
//
// Time counts the barriers that the block has passed. A warp knows up to what time each other warp's accesses are over
// (from the barriers that both took part in); an access that it cannot know to be over is concurrent with its own.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "tools/gpusim/machine/warp.h"

namespace gpusim {

class SharedShadow {
 public:
  struct Verdict {
    std::uint32_t uninitialised = 0, race = 0, in_flight = 0;  // lanes
    unsigned other_warp = 0;                                   // of a race
    bool other_wrote = false;

    bool is_fine() const { return (uninitialised | race | in_flight) == 0; }
    void repeat(unsigned from, unsigned to) {
      if (is_fine()) return;
      for (std::uint32_t* lanes : {&uninitialised, &race, &in_flight}) *lanes |= (*lanes >> from & 1) << to;
    }
  };

  void start_block(std::size_t bytes, unsigned warps);
  void arrive(unsigned warp, unsigned barrier) { participants_[barrier] |= std::uint32_t{1} << warp; }
  void release(unsigned barrier);

  Verdict access(unsigned warp, const MemoryAccess& access);
  void landed(unsigned warp, const AsyncCopy& copy, std::uint32_t lanes, const std::byte* shared);

 private:
  // Of one granule: as many bytes as the smallest access so far.
  struct Entry {
    std::uint32_t write_time = 0, read_time = 0;  // 0, or before this block: never
    std::uint32_t readers = 0;                    // warps that read at read_time or not long before
    std::uint8_t writer = 0;
    bool was_atomic = false, in_flight = false;
  };

  void refine(unsigned bytes);
  void load(unsigned warp, const MemoryAccess& access, Verdict& verdict);
  void change(unsigned warp, const MemoryAccess& access, Verdict& verdict);
  bool is_over(unsigned warp, unsigned other, std::uint32_t time) const {
    return time < floor_[warp] || other == warp || time < known_[warp][other];
  }
  void judge(unsigned warp, const MemoryAccess& access, unsigned lane, unsigned granule, Entry& entry,
             Verdict& verdict) const;
  bool readers_are_over(unsigned warp, const Entry& entry) const;
  void read(unsigned warp, Entry& entry) const;

  std::vector<Entry> entries_;
  unsigned shift_ = 4;
  std::uint32_t now_ = 1, block_start_ = 1;
  unsigned warps_ = 0;
  std::array<std::array<std::uint32_t, 32>, 32> known_{};
  std::array<std::uint32_t, 32> floor_{};  // the least of a warp's row
  std::array<std::uint32_t, 16> participants_{};
};

}  // namespace gpusim
