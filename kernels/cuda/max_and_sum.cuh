// The maximum of a row and the sum of its exp relative to it: what softmax, its logarithm and cross-entropy need to know.
#pragma once

#include "kernels/cuda/rows.cuh"

namespace heed::kernels::cuda {

// What differences are taken from: the largest element, or 0 in a row of -inf alone. That row's exp are then 0 and not
// NaN, and it needs no branch. A NaN or +inf reaches the sum, and with the sum every element.
template <class S>
__device__ inline S base_of(S max) {
  return max == -infinity<S> ? S(0) : max;
}

// The maximum of some elements and the sum of their exp relative to it.
template <class S>
struct MaxAndSum {
  S max, sum;
};
using RowState = MaxAndSum<float>;
inline constexpr RowState nothing_read = {-infinity<float>, 0};

// Of one element.
template <class S>
__device__ inline MaxAndSum<S> single(S x) {
  return {fmax(x, -infinity<S>), exp(x - base_of(x))};
}

struct MergeSums {
  // The sum with the smaller maximum is brought to the larger one. The order of a and b does not matter to the bit.
  template <class S>
  __device__ MaxAndSum<S> operator()(MaxAndSum<S> a, MaxAndSum<S> b) const {
    const bool ordered = a.max >= b.max;
    const MaxAndSum<S> large = ordered ? a : b, small = ordered ? b : a;
    return {large.max, large.sum + small.sum * exp(small.max - base_of(large.max))};
  }
};

// How many vectors a thread has under way at a time.
template <class T>
inline constexpr int vectors_under_way = 16 / vector_width<T>;

// What a thread finds in its vectors of a row, those numbered lane, lane + team and so on, in one pass (Milakov and
// Gimelshein 2018, arXiv:1805.02867): the sum is relative to the maximum so far, and is rescaled when that grows, once for
// the vectors that are under way together.
template <class T>
__device__ RowState max_and_sum(const VectorRow<T>& x, int lane, int team) {
  RowState state = nothing_read;
  for (std::int64_t v = lane; v < x.count(); v += vectors_under_way<T> * team) {
    float values[vectors_under_way<T>][vector_width<T>], max = state.max;
#pragma unroll
    for (int b = 0; b < vectors_under_way<T>; ++b) x.load(v + b * team, values[b], -infinity<float>);
#pragma unroll
    for (int b = 0; b < vectors_under_way<T>; ++b) {
      for (const float value : values[b]) max = fmaxf(max, value);
    }
    const float base = base_of(max);
    float sum = state.sum * exp(state.max - base);
#pragma unroll
    for (int b = 0; b < vectors_under_way<T>; ++b) {
      for (const float value : values[b]) sum += exp(value - base);
    }
    state = {max, sum};
  }
  return state;
}

}  // namespace heed::kernels::cuda
