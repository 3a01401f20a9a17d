#include "tools/gpusim/machine/barriers.h"

#include <algorithm>

namespace gpusim {

namespace {

unsigned unfinished_warps(const Block& block) {
  return static_cast<unsigned>(std::count_if(block.warps.begin(), block.warps.end(),
                                             [](const Warp& warp) { return warp.state != Warp::State::finished; }));
}

// Warps arrive as a whole, as the hardware counts them.
bool is_complete(const Block& block, const Barrier& barrier) {
  if (barrier.arrived == 0) return false;
  const unsigned wanted =
      barrier.expected != 0 ? (barrier.expected + warp_size - 1) / warp_size : unfinished_warps(block);
  return barrier.arrived >= wanted;
}

void release(Block& block, unsigned number) {
  Barrier& barrier = block.barriers[number];
  const Barrier next{.result_population = barrier.population, .result_all = barrier.all, .result_any = barrier.any};
  barrier = next;
  for (Warp& warp : block.warps) {
    if (warp.state != Warp::State::waiting || warp.barrier != number) continue;
    warp.state = Warp::State::ready;
    warp.released = true;
  }
  if (block.observer != nullptr) block.observer->barrier_released(block, number);
}

}  // namespace

bool arrive(Warp& warp, const Op* op, unsigned number, unsigned threads, std::uint32_t predicate, bool waits) {
  Block& block = *warp.block;
  Barrier& barrier = block.barriers[number];
  ++barrier.arrived;
  barrier.expected = threads;
  if (block.observer != nullptr) block.observer->barrier(warp, op, number);
  barrier.population += static_cast<unsigned>(std::popcount(predicate & warp.mask));
  barrier.all = barrier.all && (warp.mask & ~predicate) == 0;
  barrier.any = barrier.any || (warp.mask & predicate) != 0;
  if (is_complete(block, barrier)) {
    release(block, number);
    return true;
  }
  if (!waits) return true;
  warp.state = Warp::State::waiting;
  warp.barrier = static_cast<std::uint8_t>(number);
  warp.resume = op;
  return false;
}

void warp_finished(Block& block) {
  for (unsigned number = 0; number < block.barriers.size(); ++number) {
    const Barrier& barrier = block.barriers[number];
    if (barrier.expected == 0 && is_complete(block, barrier)) release(block, number);
  }
}

}  // namespace gpusim
