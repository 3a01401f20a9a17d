// What the rungs of the softmax ladder share: the two functions, and what is known of a row while it is read.
#pragma once

#include "kernels/cuda/max_and_sum.cuh"
#include "kernels/softmax/softmax.h"

namespace heed::kernels::cuda {

// A row's result in two steps. Before the sum is known an element is its distance from the maximum and the exp of that, of
// which `keep` keeps one; with the factor made of the sum, `result` makes the result.
struct Softmax {
  static constexpr const char *forward = "softmax_forward", *backward = "softmax_backward";

  template <class S>
  static __device__ S keep(S, S exponential) {
    return exponential;
  }
  template <class S>
  static __device__ S factor(S sum) {
    return sum == 0 ? S(0) : 1 / sum;
  }
  template <class S>
  static __device__ S result(S exponential, S factor) {
    return exponential * factor;
  }

  // dx = y (dy - sum of y dy)
  template <class S>
  static __device__ S term(S y, S dy) {
    return y * dy;
  }
  template <class S>
  static __device__ S gradient(S y, S dy, S sum) {
    return y * (dy - sum);
  }
};

struct LogSoftmax {
  static constexpr const char *forward = "log_softmax_forward", *backward = "log_softmax_backward";

  template <class S>
  static __device__ S keep(S from_max, S) {
    return from_max;
  }
  template <class S>
  static __device__ S factor(S sum) {
    return sum == 0 ? S(0) : log(sum);
  }
  template <class S>
  static __device__ S result(S from_max, S log_sum) {
    return from_max - log_sum;
  }

  // dx = dy - exp(y) sum of dy
  template <class S>
  static __device__ S term(S, S dy) {
    return dy;
  }
  template <class S>
  static __device__ S gradient(S y, S dy, S sum) {
    return dy - exp(y) * sum;
  }
};

// The element x of a row whose maximum and sum are known.
template <class Function, class S>
__device__ inline S finish(S x, S base, S factor) {
  const S from_max = x - base;
  return Function::result(Function::keep(from_max, exp(from_max)), factor);
}

// A rung launches its kernel, or returns false, and has done nothing, where it does not apply: for a dtype that it does not
// know, or rows that do not lie in one piece. Rows that are empty never come here.
using Forward = bool(const View& x, const View& y, int axis, Stream stream);
using Backward = bool(const View& y, const View& dy, const View& dx, int axis, Stream stream);

// Calls body(T{}) with the C++ type of a dtype that these variants have kernels for, all but f64, and returns what it does:
// whether it launched them.
template <class Body>
bool launch_for(Dtype dtype, Body&& body) {
  bool launched = false;
  with_type(Types<float, BFloat16, Float16>(), dtype, [&]<class T>(T element) { launched = body(element); });
  return launched;
}

Forward block_per_row, warp_shuffles, vectors;  // of softmax alone
template <class Function>
Forward thread_per_row;
template <class Function>
Forward row_in_registers;
template <class Function>
Forward row_in_shared_memory;
template <class Function>
Forward online;
template <class Function>
Forward split_rows;
template <class Function>
Forward columns;
template <class Function>
Backward thread_per_row_backward;
template <class Function>
Backward row_in_registers_backward;
template <class Function>
Backward two_reads_backward;
template <class Function>
Backward split_rows_backward;
template <class Function>
Backward columns_backward;

}  // namespace heed::kernels::cuda
