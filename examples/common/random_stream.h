// Random numbers by integer arithmetic alone: the same on every platform.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/random/philox.h"

namespace heed::examples {

// One of 2^64 independent streams of a seed: a user, say, has a stream of its own.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}

  std::uint32_t word() {
    if (count_ % 4 == 0) {
      const auto block = count_ / 4;
      words_ = kernels::philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                                static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)},
                               {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)});
    }
    return words_[count_++ % 4];
  }

  // Uniform in [0, bound); bound > 0. Words that would favour the small numbers are drawn again.
  std::uint32_t below(std::uint32_t bound) {
    const std::uint32_t unfair = -bound % bound;  // 2^32 mod bound
    std::uint32_t drawn = word();
    while (drawn < unfair) drawn = word();
    return drawn % bound;
  }

  bool percent(std::uint32_t chance) { return below(100) < chance; }

  // An index with probability weight / sum of the weights; the sum is positive and below 2^32.
  std::size_t weighted(std::span<const std::uint32_t> weights) {
    std::uint32_t total = 0;
    for (const std::uint32_t weight : weights) total += weight;
    std::uint32_t left = below(total);
    std::size_t index = 0;
    while (left >= weights[index]) left -= weights[index++];
    return index;
  }

 private:
  std::uint64_t seed_, stream_;
  std::uint64_t count_ = 0;
  kernels::PhiloxBlock words_{};
};

}  // namespace heed::examples
