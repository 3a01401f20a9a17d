// The vector code of the random kernels.
#pragma once

#include <cstdint>

namespace heed::kernels {

// words[4 b, 4 b + 4) = philox(first + b, seed) for b in [0, blocks).
void philox_words_simd(std::uint32_t* words, std::uint64_t first, std::int64_t blocks, std::uint64_t seed);

// words[4 b, 4 b + 4) = philox(numbers[b], seed) for b in [0, blocks).
void philox_words_at_simd(std::uint32_t* words, const std::uint64_t* numbers, std::int64_t blocks, std::uint64_t seed);

// cosine[i] = r cos(2 pi v[i]) and sine[i] = r sin(2 pi v[i]) with r = sqrt(-2 log u[i]).
void box_muller_simd(const float* u, const float* v, float* cosine, float* sine, std::int64_t n);

}  // namespace heed::kernels
