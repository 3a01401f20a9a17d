// What the f32 row kernels share: loops over contiguous floats in vectors, sums, maxima. Included once per instruction
// set (Highway's foreach_target), hence the unusual guard.
#if defined(HEED_KERNELS_CPU_SIMD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEED_KERNELS_CPU_SIMD_INL_H
#undef HEED_KERNELS_CPU_SIMD_INL_H
#else
#define HEED_KERNELS_CPU_SIMD_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Calls body(d, i) until [begin, end) is covered, for the Lanes(d) floats at i: whole vectors first, then vectors of
// four, then single floats. Nothing outside the range is touched.
template <class Body>
HWY_INLINE void for_vectors(std::int64_t begin, std::int64_t end, Body&& body) {
  const hn::ScalableTag<float> whole;
  const hn::CappedTag<float, 4> four;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(whole));
  std::int64_t i = begin;
  for (; i + lanes <= end; i += lanes) body(whole, i);
  for (; i + 4 <= end; i += 4) body(four, i);
  for (; i < end; ++i) body(one, i);
}

// The sum of term(d, i), a vector, over [0, n). Four vectors add up at most 64 terms per lane before they are carried
// over into a double, so that a sum of millions of floats keeps its digits.
template <class Term>
HWY_INLINE double sum_of(std::int64_t n, Term&& term) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  double total = 0;
  std::int64_t i = 0;
  while (i + 4 * lanes <= n) {
    const std::int64_t stop = std::min(n, i + 4 * 64 * lanes);
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    for (; i + 4 * lanes <= stop; i += 4 * lanes) {
      s0 = hn::Add(s0, term(d, i));
      s1 = hn::Add(s1, term(d, i + lanes));
      s2 = hn::Add(s2, term(d, i + 2 * lanes));
      s3 = hn::Add(s3, term(d, i + 3 * lanes));
    }
    total += hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  }
  for_vectors(i, n,
              [&](auto tail, std::int64_t at) HWY_ATTR { total += hn::GetLane(hn::SumOfLanes(tail, term(tail, at))); });
  return total;
}

// The largest of x[0, n), -inf when n is 0. A NaN among them may be returned or overlooked.
HWY_INLINE float max_of(const float* x, std::int64_t n) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto m0 = hn::Set(d, -std::numeric_limits<float>::infinity()), m1 = m0, m2 = m0, m3 = m0;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    m0 = hn::Max(m0, hn::LoadU(d, x + i));
    m1 = hn::Max(m1, hn::LoadU(d, x + i + lanes));
    m2 = hn::Max(m2, hn::LoadU(d, x + i + 2 * lanes));
    m3 = hn::Max(m3, hn::LoadU(d, x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) m0 = hn::Max(m0, hn::LoadU(d, x + i));
  float largest = hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(m0, m1), hn::Max(m2, m3))));
  for (; i < n; ++i) largest = std::max(largest, x[i]);
  return largest;
}

HWY_INLINE bool any_nan(const float* x, std::int64_t n) {
  bool found = false;
  for_vectors(0, n,
              [&](auto d, std::int64_t i) HWY_ATTR { found |= !hn::AllFalse(d, hn::IsNaN(hn::LoadU(d, x + i))); });
  return found;
}

HWY_INLINE void fill(float* y, std::int64_t n, float value) {
  for_vectors(0, n, [&](auto d, std::int64_t i) HWY_ATTR { hn::StoreU(hn::Set(d, value), d, y + i); });
}

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
