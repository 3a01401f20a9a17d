// Random kernels. Every number is a pure function of (seed, offset, index in logical order), logical order being
// row-major order over the shape: the layout of the memory, the number of threads and the device change nothing.
// Element i takes word i % 4 of Philox block offset + i / 4 (philox.h); the f64 forms of uniform and normal need two
// words per element and take words 2 (i % 2) and 2 (i % 2) + 1 of block offset + i / 2. After a draw the caller
// advances its offset by philox_blocks(size, words_per_element(dtype)) for uniform and normal, by philox_blocks(size)
// for the others.
//
// Views: any shape of rank 0 to 8, zero lengths allowed, any strides (an output's are never 0).
#pragma once

#include "kernels/dtypes.h"
#include "kernels/random/philox.h"
#include "kernels/registry.h"

namespace heed::kernels {

constexpr std::uint64_t words_per_element(Dtype dtype) {
  return dtype == Dtype::f64 ? 2 : 1;
}

// A number in [0, 1) from the leading bits of a word: as many as T, a half, has digits.
template <class T>
constexpr float unit_half(std::uint32_t word) {
  constexpr int digits = std::is_same_v<T, BFloat16> ? 8 : 11;
  return static_cast<float>(word >> (32 - digits)) * (1.0f / (1 << digits));
}

// y in [0, 1). f32: word >> 8, over 2^24. f64: (word1 : word0) >> 11, over 2^53. The halves: unit_half.
inline constinit Kernel<void(View y, std::uint64_t seed, std::uint64_t offset, Stream)> uniform{"uniform"};

// Standard normal numbers, by Box and Muller's transform of pairs: elements 2k and 2k + 1 are r cos(t) and r sin(t),
// r = sqrt(-2 ln u), t = 2 pi v, with u in (0, 1] from the first of the pair's words and v in [0, 1) from the second.
// f32 and halves: u = (word + 1) / 2^32 rounded to f32, so that tails reach 6.6; v = (word >> 8) / 2^24.
// f64: both from 53 bits, u = 1 - uniform and v = uniform.
// Variants and devices agree to a few units in the last place, each repeats itself to the bit.
inline constinit Kernel<void(View y, std::uint64_t seed, std::uint64_t offset, Stream)> normal{"normal"};

// y = 1 with probability p in [0, 1], else 0. Any dtype. True where uniform < p: bernoulli_threshold in philox.h.
inline constinit Kernel<void(View y, double p, std::uint64_t seed, std::uint64_t offset, Stream)> bernoulli{
    "bernoulli"};

// y = x / (1 - p), but 0 with probability p in [0, 1]: where bernoulli of the same p, seed and offset gives 1. Zero
// even where x is NaN or infinite. The backward is the same kernel on dy: the mask is drawn again, never stored. f32,
// f64, bf16, f16. x and y may be the same memory (same data and strides).
inline constinit Kernel<void(View x, View y, double p, std::uint64_t seed, std::uint64_t offset, Stream)> dropout{
    "dropout"};

}  // namespace heed::kernels
