// What the backward pass needs to know of every query: delta = doutput . output - dlog_sum_exp, which is what the softmax
// subtracts from the gradient of each of its weights.
#pragma once

#include "kernels/attention/cuda/problem.cuh"
#include "kernels/bfloat16.h"

namespace heed::kernels::attention {

template <class T>
struct BackwardOperands {
  Operand<const T> query, key, value, output, doutput;
  Operand<const float> log_sum_exp, dlog_sum_exp;  // the latter may have no data
  Operand<T> dquery, dkey, dvalue;
  float2* statistics;  // [batch, heads, queries]: log_sum_exp in units of log 2, +inf in place of -inf, and delta
  std::int64_t query_step = 0, key_step = 0, value_step = 0, doutput_step = 0;  // for TileCopy

  __device__ const float2* statistics_of(const Problem& p, int b, int h, std::int64_t row) const {
    return statistics + (std::int64_t{b} * p.heads + h) * p.queries + row;
  }
};

inline constexpr int delta_threads = 256;

// A warp a query.
template <class T>
__global__ void delta_kernel(const Problem p, const BackwardOperands<T> x, std::int64_t rows) {
  const std::int64_t number = std::int64_t{blockIdx.x} * (delta_threads / 32) + threadIdx.x / 32;
  if (number >= rows) return;
  const int row = static_cast<int>(number % p.queries), h = static_cast<int>(number / p.queries % p.heads);
  const int b = static_cast<int>(number / p.queries / p.heads), lane = threadIdx.x % 32;
  const T* const y = x.output.row(b, h, row);
  const T* const dy = x.doutput.row(b, h, row);
  float sum = 0;
  for (int d = lane; d < p.value_dim; d += 32)
    sum += static_cast<float>(y[d * x.output.column_stride]) * static_cast<float>(dy[d * x.doutput.column_stride]);
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(~0u, sum, mask);
  if (x.dlog_sum_exp.data != nullptr) sum -= *x.dlog_sum_exp.row(b, h, row);
  const float lse = *x.log_sum_exp.row(b, h, row);
  if (lane == 0) x.statistics[number] = make_float2(lse == -INFINITY ? INFINITY : lse * log2_e, sum);
}

}  // namespace heed::kernels::attention
