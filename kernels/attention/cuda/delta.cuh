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

// A warp a query, for the sum; then a thread a query, so that neighbours are written together.
template <class T>
__global__ void delta_kernel(const Problem p, const BackwardOperands<T> x, std::int64_t rows) {
  constexpr int warps = delta_threads / 32;
  __shared__ float sums[warps];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const std::int64_t first = std::int64_t{blockIdx.x} * warps;
  const auto place = [&](std::int64_t number, auto&& body) {
    const std::int64_t head = number / p.queries;
    body(static_cast<int>(head / p.heads), static_cast<int>(head % p.heads), static_cast<int>(number % p.queries));
  };
  double sum = 0;  // exact, or where few keys share the weights it would not cancel what it is subtracted from
  if (first + warp < rows) {
    place(first + warp, [&](int b, int h, int row) {
      const T* const y = x.output.row(b, h, row);
      const T* const dy = x.doutput.row(b, h, row);
      for (int d = lane; d < p.value_dim; d += 32)
        sum += static_cast<double>(static_cast<float>(y[d * x.output.column_stride])) *
               static_cast<float>(dy[d * x.doutput.column_stride]);
    });
  }
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(~0u, sum, mask);
  if (lane == 0) sums[warp] = static_cast<float>(sum);
  __syncthreads();
  const std::int64_t number = first + threadIdx.x;
  if (threadIdx.x >= warps || number >= rows) return;
  place(number, [&](int b, int h, int row) {
    float sum = sums[threadIdx.x];
    if (x.dlog_sum_exp.data != nullptr) sum -= *x.dlog_sum_exp.row(b, h, row);
    const float lse = *x.log_sum_exp.row(b, h, row);
    x.statistics[number] = make_float2(lse == -INFINITY ? INFINITY : lse * log2_e, sum);
  });
}

}  // namespace heed::kernels::attention
