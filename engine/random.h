// Where random numbers come from: a seed and a position in its stream. Drawing advances the position; nothing else is
// kept. The numbers themselves are Philox4x32-10 (kernels/random/philox.h), the same on every device and any number of
// threads.
#pragma once

#include <cstdint>

namespace heed {

struct Generator {
  std::uint64_t seed = 0;
  std::uint64_t offset = 0;  // in Philox blocks of four words

  // Reserves the next `blocks` blocks and returns where they start.
  std::uint64_t advance(std::uint64_t blocks) {
    const std::uint64_t start = offset;
    offset += blocks;
    return start;
  }
};

// The generator that operations use when given none. One per process, for one thread at a time: a thread that draws
// beside the training loop (a data loader) brings a Generator of its own.
Generator& default_generator();
// Starts the default generator afresh.
void manual_seed(std::uint64_t seed);

}  // namespace heed
