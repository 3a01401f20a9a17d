// Splitting the keys of few queries over several blocks: each computes attention to its share, and the shares are combined by
// their log-sum-exps (Dao et al. 2023, Flash-Decoding):
//
//   log_sum_exp = log sum_s exp log_sum_exp[s]      output = sum_s exp(log_sum_exp[s] - log_sum_exp) output[s]
#pragma once

#include <algorithm>

#include "kernels/attention/cuda/forward_operands.cuh"
#include "kernels/attention/cuda/launch.h"

namespace heed::kernels::attention {

// What the blocks of a split leave in memory. Without a split there is no data.
struct Shares {
  int splits = 1;
  float* output = nullptr;       // [splits, batch, heads, queries, value_dim]
  float* log_sum_exp = nullptr;  // [splits, batch, heads, queries]
  std::int64_t rows = 0;         // batch heads queries
};

// Which tile of queries and which share of the keys a block has.
struct BlockShare {
  int tile, split;

  __device__ explicit BlockShare(const Shares& shares) {
    const int tiles = gridDim.x / shares.splits;
    split = blockIdx.x / tiles, tile = tiles - 1 - blockIdx.x % tiles;
  }

  // Of steps [begin, end) those of the share.
  __device__ void cut(const Shares& shares, int& begin, int& end) const {
    const int each = (max(end - begin, 0) + shares.splits - 1) / shares.splits, first = begin + split * each;
    end = min(first + each, end), begin = first;
  }
};

// Where share `split` of a row goes.
__device__ inline std::int64_t share_of(const Problem& p, const Shares& shares, int split, int b, int h,
                                        std::int64_t row) {
  return split * shares.rows + (std::int64_t{b} * p.heads + h) * p.queries + row;
}

inline constexpr int combine_threads = 256;

// A warp a row.
template <class T>
__global__ void combine_shares(const Problem p, const ForwardOf<T> x, const Shares shares) {
  const std::int64_t number = std::int64_t{blockIdx.x} * (combine_threads / 32) + threadIdx.x / 32;
  if (number >= shares.rows) return;
  const int row = static_cast<int>(number % p.queries), h = static_cast<int>(number / p.queries % p.heads);
  const int b = static_cast<int>(number / p.queries / p.heads), lane = threadIdx.x % 32;
  const float* const all = shares.log_sum_exp + number;
  float largest = -INFINITY, sum = 0;
  for (int s = 0; s < shares.splits; ++s) largest = fmaxf(largest, all[s * shares.rows]);
  const float from = largest == -INFINITY ? 0 : largest;
  for (int s = 0; s < shares.splits; ++s) sum += expf(all[s * shares.rows] - from);
  const float inverse = sum == 0 ? 0 : 1 / sum;
  for (int d = lane; d < p.value_dim; d += 32) {
    float output = 0;
    for (int s = 0; s < shares.splits; ++s)
      output +=
          expf(all[s * shares.rows] - from) * inverse * shares.output[(s * shares.rows + number) * p.value_dim + d];
    x.output.row(b, h, row)[d * x.output.column_stride] = static_cast<T>(output);
  }
  if (lane == 0) *x.log_sum_exp.row(b, h, row) = from + logf(sum);
}

// How many blocks share the keys of a tile: one, if queries fill more than a tile, there are blocks enough, or keys are too
// few. The same on every device, so that results are.
inline int splits_for(const Problem& p, const AttentionOptions& o, int query_tiles) {
  constexpr std::int64_t enough_blocks = 128, least_keys = 256, most = 32;
  const std::int64_t blocks = std::int64_t{query_tiles} * p.heads * p.sequences;
  const std::int64_t keys = o.packed() ? o.longest_keys : p.keys;
  if (query_tiles != 1 || blocks == 0 || blocks * 5 >= enough_blocks * 4) return 1;
  return static_cast<int>(std::clamp(std::min(enough_blocks / blocks, keys / least_keys), std::int64_t{1}, most));
}

inline Shares shares_for(const Problem& p, int splits, std::int64_t rows, const AttentionWorkspace& workspace) {
  Shares shares{splits, nullptr, nullptr, rows};
  if (splits == 1) return shares;
  const std::int64_t count = splits * rows;
  shares.output = static_cast<float*>(workspace(count * p.value_dim * std::int64_t{sizeof(float)}));
  shares.log_sum_exp = static_cast<float*>(workspace(count * std::int64_t{sizeof(float)}));
  return shares;
}

template <class T>
void launch_combine(const Problem& p, const ForwardOf<T>& x, const Shares& shares, Stream stream) {
  if (shares.splits == 1) return;
  const unsigned blocks = cuda::blocks_for(shares.rows, combine_threads / 32);
  cuda::launch({"attention_forward", dim3(blocks), dim3(combine_threads), 0, stream}, &combine_shares<T>, p, x, shares);
}

}  // namespace heed::kernels::attention
