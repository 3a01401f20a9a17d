// Products of bf16 on processors that multiply pairs of them (AVX512_BF16): one instruction takes from each factor 32 bits,
// two neighbours along the depth, and adds both products to a float. So a factor is in memory what a factor of floats is
// (tiles-inl.h), of half the depth. Mostly defined in parts_simd.cpp. Included once per instruction set (Highway's
// foreach_target), hence the unusual guard.
#if defined(HEED_KERNELS_ATTENTION_PAIRS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEED_KERNELS_ATTENTION_PAIRS_INL_H
#undef HEED_KERNELS_ATTENTION_PAIRS_INL_H
#else
#define HEED_KERNELS_ATTENTION_PAIRS_INL_H
#endif

#include <hwy/highway.h>

#include <bit>
#include <cstring>

#include "kernels/attention/tiles-inl.h"
#include "kernels/cpu/bf16_pairs.h"

// Highway of this age knows no such instruction set, so functions name it themselves; they are defined where they are used,
// because GCC takes a function that names one for a version of several.
#undef HEED_HAS_PAIRS
#if HWY_ARCH_X86_64 && HWY_TARGET == HWY_AVX3 && HWY_COMPILER_GCC
#define HEED_HAS_PAIRS 1
#else
#define HEED_HAS_PAIRS 0
#endif

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

// Of a row of `dim` numbers, in pairs.
constexpr std::int64_t pairs(std::int64_t dim) {
  return (dim + 1) / 2;
}

#if HEED_HAS_PAIRS

inline bool multiplies_pairs(const View& query) {
  return query.dtype == Dtype::bf16 && has_bf16_pairs() && allow_bf16_pairs;
}

extern const Tiles pair_tiles[2];

// As multiply_rows, of pairs.
HWY_NOINLINE __attribute__((target("avx512bf16"))) inline void multiply_pair_rows(Left a, std::int64_t rows, Right x,
                                                                                  std::int64_t depth,
                                                                                  std::int64_t begin, std::int64_t end,
                                                                                  float* c, std::int64_t c_step) {
  for (std::int64_t j = begin; j < end; ++j) {
    const float* const row = x.data + j * x.row_step;
    for (std::int64_t r = 0; r < rows; ++r) {
      __m512 sum = _mm512_setzero_ps();
      for (std::int64_t k = 0; k < depth; k += vector_floats) {
        const __m512i left = _mm512_loadu_si512(a.data + r * a.row_step + k), right = _mm512_loadu_si512(row + k);
        sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(left), reinterpret_cast<__m512bh>(right));
      }
      c[r * c_step + j] = _mm512_reduce_add_ps(sum);
    }
  }
}

// x [n] in whole vectors, to bf16; to may be x.
HWY_NOINLINE __attribute__((target("avx512bf16"))) inline void round_to_pairs(const float* x, std::int64_t n,
                                                                              float* to) {
  for (std::int64_t c = 0; c < n; c += vector_floats)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + c / 2),
                        reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(x + c))));
}

// to [n]: pairs of numbers of two rows, in whole vectors, rounded to bf16; to may be even.
HWY_NOINLINE __attribute__((target("avx512bf16"))) inline void interleave_rounded(const float* even, const float* odd,
                                                                                  std::int64_t n, float* to) {
  const auto rounded = [](const float* x) __attribute__((target("avx512bf16"))) {
    return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(x))));
  };
  for (std::int64_t c = 0; c < n; c += vector_floats)
    _mm512_storeu_si512(to + c, _mm512_or_si512(rounded(even + c), _mm512_slli_epi32(rounded(odd + c), 16)));
}

// The bits of a pair, where a float lies.
HWY_INLINE void store_bits(std::uint32_t bits, float* to) {
  std::memcpy(to, &bits, sizeof bits);
}

// One row of a view of bf16, as pairs: to[0, width) of them. `flip` is xored into the bits of each.
HWY_INLINE void gather_pair_row(const View& x, std::int64_t at, std::int64_t width, std::uint32_t flip, float* to) {
  const std::int64_t columns = x.shape[3], step = x.strides[3];
  const auto* const from = x.as<const std::uint16_t>() + at;
  auto* const bytes = reinterpret_cast<char*>(to);
  if (step == 1) {
    std::memcpy(bytes, from, static_cast<std::size_t>(columns) * 2);
  } else {
    for (std::int64_t d = 0; d < columns; ++d) std::memcpy(bytes + 2 * d, from + d * step, 2);
  }
  std::memset(bytes + 2 * columns, 0, static_cast<std::size_t>(4 * width - 2 * columns));
  for (std::int64_t c = 0; c < width && flip != 0; ++c) store_bits(std::bit_cast<std::uint32_t>(to[c]) ^ flip, to + c);
}

// to [n, width] = rows [first, first + n) of a head, in pairs, each as above.
void gather_pair_rows(const Head& x, std::int64_t first, std::int64_t n, std::int64_t width, std::uint32_t flip,
                      float* to);

// Of the copy of two rows that interleave_rows takes.
constexpr std::int64_t two_rows(std::int64_t width) {
  return 2 * round_up(pairs(width), 16);
}

// to [pairs(n), padded(dim)]: rows 2 i and 2 i + 1 of those [first, first + n) of a head, number by number; where there
// is no such row, zeros.
void interleave_rows(const Head& x, std::int64_t first, std::int64_t n, float* copy, float* to);

#endif

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
