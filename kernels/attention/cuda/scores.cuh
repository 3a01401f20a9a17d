// What happens to a score besides being a scaled product, and to a weight. Only kernels for the general case include it.
#pragma once

#include "kernels/attention/cuda/problem.cuh"

namespace heed::kernels::attention {

// One head of one sequence.
struct Head {
  const Problem& problem;
  Sequence sequence;
  int h;
  float slope;  // ALiBi's

  __device__ Head(const Problem& p, const Sequence& q, int s, int head) : problem(p), sequence(q), h(head), slope(0) {
    if (p.alibi_slopes != nullptr) slope = p.alibi_slopes[s * p.alibi_strides[0] + h * p.alibi_strides[1]];
  }

  __device__ bool may_look(int i, int j) const {
    return i >= 0 && i < sequence.queries && j >= sequence.begin(i) && j < sequence.end(i);
  }

  __device__ float capped(float product) const {
    return problem.softcap > 0 ? problem.softcap * tanhf(product / problem.softcap) : product;
  }

  // The derivative of capped().
  __device__ float cap_slope(float product) const {
    if (problem.softcap == 0) return 1;
    const float t = tanhf(product / problem.softcap);
    return 1 - t * t;
  }

  // From scale query[i] . key[j].
  __device__ float score(float product, int i, int j) const {
    if (!may_look(i, j)) return -INFINITY;
    const float score = capped(product);
    return masked(problem.alibi_slopes != nullptr ? score - distance_penalty(i, j) : score, i, j);
  }

  // ALiBi's.
  __device__ float distance_penalty(int i, int j) const {
    return slope * static_cast<float>(abs(i + sequence.shift - j));
  }

  __device__ float masked(float score, int i, int j) const {
    if (problem.mask == nullptr) return score;
    if (!problem.mask_is_boolean) return biased(score, static_cast<const float*>(problem.mask)[mask_place(i, j)]);
    return static_cast<const bool*>(problem.mask)[mask_place(i, j)] ? score : -INFINITY;
  }

  // -inf: not looked at, even where the score is NaN.
  __device__ static float biased(float score, float added) { return added == -INFINITY ? added : score + added; }

  __device__ std::int64_t mask_place(int i, int j) const {
    return sequence.batch * problem.mask_strides[0] + h * problem.mask_strides[1] +
           (sequence.first_query + i) * problem.mask_strides[2] + (sequence.first_key + j) * problem.mask_strides[3];
  }

  // The weight of a score: exp(score - log_sum_exp), and 0 for -inf whatever the other is.
  __device__ static float weight(float score, float log_sum_exp) {
    return score == -INFINITY ? 0 : expf(score - log_sum_exp);
  }

  // The place of weight (i, j) among all weights, which decides whether it is dropped.
  __device__ std::uint64_t place(int i, int j) const {
    const std::int64_t row =
        (std::int64_t{sequence.batch} * problem.heads + h) * problem.queries + sequence.first_query + i;
    return static_cast<std::uint64_t>(row * problem.keys + sequence.first_key + j);
  }
};

// Which of 32 neighbouring weights dropout keeps, from (i, j) on: one bit each.
__device__ inline std::uint32_t kept_weights(const Head& head, int i, int j) {
  const Problem& p = head.problem;
  const std::uint64_t place = head.place(i, j);
  std::uint64_t block = place / 4 + p.offset;
  std::uint32_t kept = 0;
#pragma unroll 1
  for (int bit = -static_cast<int>(place % 4); bit < 32; bit += 4, ++block) {
    const PhiloxBlock words = philox(block, p.seed);
    std::uint32_t four = 0;
#pragma unroll
    for (int e = 0; e < 4; ++e) four |= static_cast<std::uint32_t>((words[e] >> 8) >= p.dropout_threshold) << e;
    kept |= bit < 0 ? four >> -bit : four << bit;
  }
  return kept;
}

// Which of 16 neighbouring keys a boolean mask lets query i look at, from key j on: one bit each. Rows and keys that do not
// exist: 0.
__device__ inline std::uint32_t allowed_keys(const Head& head, int i, int j) {
  const Sequence& q = head.sequence;
  if (i < 0 || i >= q.queries) return 0;
  const std::int64_t step = head.problem.mask_strides[3];
  const bool* const from = static_cast<const bool*>(head.problem.mask) + head.mask_place(i, j);
  std::uint32_t allowed = 0;
  if (step == 1 && reinterpret_cast<std::uintptr_t>(from) % 16 == 0 && j >= 0 && j + 16 <= q.keys) {
    const uint4 bytes = *reinterpret_cast<const uint4*>(from);
    const std::uint32_t words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
    // The factor brings the lowest bits of the four bytes side by side, to bits 24 to 27.
#pragma unroll
    for (int w = 0; w < 4; ++w) allowed |= (words[w] * 0x01020408u >> 24 & 15) << 4 * w;
    return allowed;
  }
#pragma unroll 1
  for (int e = max(-j, 0); e < min(q.keys - j, 16); ++e) allowed |= static_cast<std::uint32_t>(from[e * step]) << e;
  return allowed;
}

// The dropout factors of neighbouring weights in turn; the random words come in blocks of four.
class DropoutFactors {
 public:
  __device__ explicit DropoutFactors(const Problem& p) : p_(p) {}

  // 0 or dropout_scale. Cheapest when the places follow one another.
  __device__ float operator()(std::uint64_t place) {
    if (place / 4 != block_) {
      block_ = place / 4;
      words_ = philox(block_ + p_.offset, p_.seed);
    }
    const std::uint32_t word = place & 2 ? (place & 1 ? words_[3] : words_[2]) : (place & 1 ? words_[1] : words_[0]);
    return (word >> 8) < p_.dropout_threshold ? 0 : p_.dropout_scale;
  }

 private:
  const Problem& p_;
  std::uint64_t block_ = ~std::uint64_t{0};
  PhiloxBlock words_ = {};
};

}  // namespace heed::kernels::attention
