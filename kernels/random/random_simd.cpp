// Philox and the Box-Muller transform in vectors, compiled once per instruction set.
#include "kernels/random/random_simd.h"

#include "kernels/random/philox.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/random/random_simd.cpp"
#include "hwy/foreach_target.h"  // before highway.h

#include <algorithm>

#include "hwy/highway.h"
#include "kernels/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR

void philox_words(std::uint32_t* words, std::uint64_t first, std::int64_t blocks, std::uint64_t seed) {
  for (std::int64_t b = 0; b < blocks; ++b) std::ranges::copy(philox(first + b, seed), words + 4 * b);
}
void philox_words_at(std::uint32_t* words, const std::uint64_t* numbers, std::int64_t blocks, std::uint64_t seed) {
  for (std::int64_t b = 0; b < blocks; ++b) std::ranges::copy(philox(numbers[b], seed), words + 4 * b);
}

#else

// One block per 64-bit lane. A counter word sits in the lower half of its lane; the upper half holds rubbish, which the
// 32 x 32 -> 64 bit product of the lower halves ignores. The two products of a round thus deliver two words each, one
// of them with a shift: no shuffles until the end, where two interleaves put the words into memory order.
//
// Even lanes take the first half of a round's blocks, odd lanes the second: so the interleaves come out in order.
// numbers_at(b, order) is the vector of the numbers of blocks b + order[lane].
template <class NumbersAt>
void philox_words_of(std::uint32_t* words, const NumbersAt& numbers_at, std::int64_t blocks, std::uint64_t seed) {
  const hn::ScalableTag<std::uint64_t> d;
  const hn::Repartition<std::uint32_t, decltype(d)> d32;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  HWY_ALIGN std::uint64_t order[hn::MaxLanes(d)];
  for (std::int64_t lane = 0; lane < lanes; ++lane) order[lane] = lane / 2 + (lane % 2) * (lanes / 2);
  HWY_ALIGN std::uint64_t keys[2 * philox_rounds][hn::MaxLanes(d)];
  for (int round = 0; round < philox_rounds; ++round) {
    const auto r = static_cast<std::uint32_t>(round);
    hn::Store(hn::Set(d, static_cast<std::uint32_t>(seed) + r * philox_weyl[0]), d, keys[2 * round]);
    hn::Store(hn::Set(d, static_cast<std::uint32_t>(seed >> 32) + r * philox_weyl[1]), d, keys[2 * round + 1]);
  }
  const auto low_half = hn::Set(d, 0xffffffffu);
  const auto multiplier0 = hn::Set(d32, philox_multiplier[0]);
  const auto multiplier1 = hn::Set(d32, philox_multiplier[1]);

  for (std::int64_t b = 0; b < blocks; b += lanes) {
    auto c0 = numbers_at(b, order);
    auto c1 = hn::ShiftRight<32>(c0);
    auto c2 = hn::Zero(d);
    auto c3 = hn::Zero(d);
    for (int round = 0; round < philox_rounds; ++round) {
      const auto product0 = hn::MulEven(hn::BitCast(d32, c0), multiplier0);
      const auto product1 = hn::MulEven(hn::BitCast(d32, c2), multiplier1);
      c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product1), c1), hn::Load(d, keys[2 * round]));
      c1 = product1;
      c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), c3), hn::Load(d, keys[2 * round + 1]));
      c3 = product0;
    }
    const auto words01 = hn::Or(hn::And(c0, low_half), hn::ShiftLeft<32>(c1));
    const auto words23 = hn::Or(hn::And(c2, low_half), hn::ShiftLeft<32>(c3));
    const auto first_half = hn::BitCast(d32, hn::InterleaveLower(d, words01, words23));
    const auto second_half = hn::BitCast(d32, hn::InterleaveUpper(d, words01, words23));
    if (b + lanes <= blocks) {
      hn::StoreU(first_half, d32, words + 4 * b);
      hn::StoreU(second_half, d32, words + 4 * b + 2 * lanes);
    } else {
      HWY_ALIGN std::uint32_t last[2 * hn::MaxLanes(d32)];
      hn::Store(first_half, d32, last);
      hn::Store(second_half, d32, last + 2 * lanes);
      std::copy(last, last + 4 * (blocks - b), words + 4 * b);
    }
  }
}

void philox_words(std::uint32_t* words, std::uint64_t first, std::int64_t blocks, std::uint64_t seed) {
  const hn::ScalableTag<std::uint64_t> d;
  const auto numbers_at = [=](std::int64_t b, const std::uint64_t* order)
                              HWY_ATTR { return hn::Add(hn::Set(d, first + b), hn::Load(d, order)); };
  philox_words_of(words, numbers_at, blocks, seed);
}

void philox_words_at(std::uint32_t* words, const std::uint64_t* numbers, std::int64_t blocks, std::uint64_t seed) {
  const hn::ScalableTag<std::uint64_t> d;
  const auto numbers_at = [=](std::int64_t b, const std::uint64_t* order) HWY_ATTR {
    HWY_ALIGN std::uint64_t chosen[hn::MaxLanes(d)];
    for (std::int64_t lane = 0; lane < static_cast<std::int64_t>(hn::Lanes(d)); ++lane)
      chosen[lane] = numbers[std::min(b + static_cast<std::int64_t>(order[lane]), blocks - 1)];
    return hn::Load(d, chosen);
  };
  philox_words_of(words, numbers_at, blocks, seed);
}

#endif

void box_muller(const float* u, const float* v, float* cosine, float* sine, std::int64_t n) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < n; i += lanes) {
    const std::int64_t count = std::min(lanes, n - i);
    HWY_ALIGN float last_u[hn::MaxLanes(d)] = {};
    HWY_ALIGN float last_v[hn::MaxLanes(d)] = {};
    std::copy(u + i, u + i + count, last_u);
    std::copy(v + i, v + i + count, last_v);
    const auto radius = hn::Sqrt(hn::Mul(hn::Set(d, -2.0f), vector_log(d, hn::Load(d, last_u))));
    auto s = hn::Zero(d), c = s;
    vector_sin_cos_turns(d, hn::Load(d, last_v), s, c);
    hn::Store(hn::Mul(radius, c), d, last_u);
    hn::Store(hn::Mul(radius, s), d, last_v);
    std::copy(last_u, last_u + count, cosine + i);
    std::copy(last_v, last_v + count, sine + i);
  }
}

}  // namespace
}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {
HWY_EXPORT(philox_words);
HWY_EXPORT(philox_words_at);
HWY_EXPORT(box_muller);
}  // namespace

void philox_words_simd(std::uint32_t* words, std::uint64_t first, std::int64_t blocks, std::uint64_t seed) {
  HWY_DYNAMIC_DISPATCH(philox_words)(words, first, blocks, seed);
}

void philox_words_at_simd(std::uint32_t* words, const std::uint64_t* numbers, std::int64_t blocks, std::uint64_t seed) {
  HWY_DYNAMIC_DISPATCH(philox_words_at)(words, numbers, blocks, seed);
}

void box_muller_simd(const float* u, const float* v, float* cosine, float* sine, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(box_muller)(u, v, cosine, sine, n);
}
}  // namespace heed::kernels
#endif
