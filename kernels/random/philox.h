// Philox4x32-10: a random function rather than a generator. It maps a 128-bit counter and a 64-bit key to four random
// words, so the n-th number of a stream is computed without the ones before it: in parallel, in any order, twice if
// need be. Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
//
// CUDA kernels call these very functions: nvcc lets device code use constexpr functions (--expt-relaxed-constexpr), but
// not the elements of constant arrays, hence the copies in the round.
#pragma once

#include <array>
#include <cstdint>

namespace heed::kernels {

inline constexpr std::uint32_t philox_multiplier[2] = {0xD2511F53u, 0xCD9E8D57u};
inline constexpr std::uint32_t philox_weyl[2] = {0x9E3779B9u, 0xBB67AE85u};  // the golden ratio and sqrt(3) - 1
inline constexpr int philox_rounds = 10;

using PhiloxBlock = std::array<std::uint32_t, 4>;

// The definition: the published function for any counter and key.
constexpr PhiloxBlock philox(PhiloxBlock counter, std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t multiplier0 = philox_multiplier[0], multiplier1 = philox_multiplier[1];
  constexpr std::uint32_t weyl0 = philox_weyl[0], weyl1 = philox_weyl[1];
  for (int round = 0; round < philox_rounds; ++round) {
    const std::uint64_t product0 = multiplier0 * counter[0];
    const std::uint64_t product1 = multiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(product0)};
    key = {key[0] + weyl0, key[1] + weyl1};
  }
  return counter;
}

// How heed uses it: a 64-bit block number in the counter's lower half (the upper half is 0), the seed as the key.
constexpr PhiloxBlock philox(std::uint64_t block, std::uint64_t seed) {
  return philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), 0, 0},
                {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
}

// The random word of element `index` in a draw of one word per element.
constexpr std::uint32_t philox_word(std::uint64_t index, std::uint64_t seed, std::uint64_t offset) {
  return philox(index / 4 + offset, seed)[index % 4];
}

// Blocks that a draw of `count` elements uses up: what to add to `offset` before the next draw.
constexpr std::uint64_t philox_blocks(std::uint64_t count, std::uint64_t words_per_element = 1) {
  return (count * words_per_element + 3) / 4;
}

// A coin with P(true) = p, decided on 24 bits by an integer comparison, so that every device agrees to the bit:
// coin(word) = (word >> 8) < bernoulli_threshold(p), that is uniform < p for the uniform number (word >> 8) / 2^24.
// p = 0 is never true, p = 1 always.
constexpr std::uint32_t bernoulli_threshold(double p) {
  const double scaled = p * 16777216.0;  // exact: a power of two
  const auto floor = static_cast<std::uint32_t>(scaled);
  return static_cast<double>(floor) == scaled ? floor : floor + 1;
}

}  // namespace heed::kernels
