// Reductions within a warp and within a block. All of them fold in a fixed order, so results repeat to the bit, and give
// the result to every thread that takes part.
#pragma once

#include <cstdint>

#include "kernels/cuda/launch.h"

namespace heed::kernels::cuda {

inline constexpr unsigned whole_warp = 0xffffffffu;

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
// A NaN wins.
struct Max {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};

// `value` of the lane whose number differs in the bits of `mask`. Any trivially copyable type of 4, 8, 12... bytes.
template <class T>
__device__ T shuffle_xor(T value, int mask) {
  static_assert(sizeof(T) % 4 == 0);
  if constexpr (sizeof(T) == 4 && std::is_arithmetic_v<T>) {
    return __shfl_xor_sync(whole_warp, value, mask);
  } else {
    std::uint32_t words[sizeof(T) / 4];
    memcpy(words, &value, sizeof(T));
    for (std::uint32_t& word : words) word = __shfl_xor_sync(whole_warp, word, mask);
    memcpy(&value, words, sizeof(T));
    return value;
  }
}

// Over groups of `width` neighbouring lanes, a power of two. All 32 lanes of the warp must call it.
template <int width = warp_size, class T, class Merge>
__device__ T warp_reduce(T value, Merge merge) {
#pragma unroll
  for (int mask = width / 2; mask > 0; mask /= 2) value = merge(value, shuffle_xor(value, mask));
  return value;
}
template <int width = warp_size, class T>
__device__ T warp_sum(T value) {
  return warp_reduce<width>(value, Sum{});
}
template <int width = warp_size, class T>
__device__ T warp_max(T value) {
  return warp_reduce<width>(value, Max{});
}

// Over a block of `threads` threads, a multiple of 32 and at most 1024, in a one-dimensional block. `neutral` leaves a
// value as it is. Every thread must call it; it may be called again at once.
template <int threads, class T, class Merge>
__device__ T block_reduce(T value, Merge merge, T neutral) {
  static_assert(threads % warp_size == 0 && threads <= 1024);
  constexpr int warps = threads / warp_size;
  value = warp_reduce(value, merge);
  if constexpr (warps == 1) return value;
  __shared__ alignas(T) unsigned char memory[warps * sizeof(T)];
  T* partial = reinterpret_cast<T*>(memory);
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  value = warp_reduce(lane < warps ? partial[lane] : neutral, merge);
  __syncthreads();  // before a later call writes to partial
  return value;
}
template <int threads, class T>
__device__ T block_sum(T value) {
  return block_reduce<threads>(value, Sum{}, T(0));
}
template <int threads, class T>
__device__ T block_max(T value) {
  return block_reduce<threads>(value, Max{}, static_cast<T>(-INFINITY));
}

}  // namespace heed::kernels::cuda
