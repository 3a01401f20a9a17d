// The forward pass of f32 on tensor cores: see tf32_products.cuh. A warp has 16 queries of one head and takes 32 keys at a time;
// scores and weights stay in registers.
#include <algorithm>

#include "kernels/attention/cuda/forward_operands.cuh"
#include "kernels/attention/cuda/launch.h"
#include "kernels/attention/cuda/paths.h"
#include "kernels/attention/cuda/scores.cuh"
#include "kernels/attention/cuda/tf32_products.cuh"

namespace heed::kernels::attention {
namespace {

template <int dim_>
struct ForwardTf32Tiling {
  static constexpr int dim = dim_, queries = fma_threads / 32 * 16, keys = 32;
  static constexpr int pitch = dim + 4;  // so that the words of a fragment lie in different banks
  static constexpr int shared_bytes = 4 * pitch * (queries + 2 * keys);
};

__device__ inline float quad_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}
__device__ inline float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

// The running softmax of a warp's rows. A lane has rows lane_group() and 8 further down.
template <int dim>
struct SplitState {
  float output[dim / 8][4] = {}, largest[2] = {-INFINITY, -INFINITY}, sum[2] = {};

  // Makes weights of the scores of queries from `row` on and keys from `key` on.
  template <int n>
  __device__ void take(float (&scores)[n][4], const Problem& p, const Head& head, int row, int key) {
    DropoutFactors factors(p);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int i = row + lane_group() + 8 * r;
      float most = largest[r];
#pragma unroll
      for (int k = 0; k < 2 * n; ++k) {
        float& score = scores[k / 2][2 * r + k % 2];
        score = head.score(p.scale * score, i, key + k / 2 * 8 + 2 * lane_member() + k % 2);
        most = fmaxf(most, score);
      }
      most = quad_max(most);
      const float from = most == -INFINITY ? 0 : most, correction = expf(largest[r] - from);
      largest[r] = most;
      sum[r] *= correction;
#pragma unroll
      for (int c = 0; c < dim / 8; ++c) output[c][2 * r] *= correction, output[c][2 * r + 1] *= correction;
#pragma unroll
      for (int k = 0; k < 2 * n; ++k) {
        float& weight = scores[k / 2][2 * r + k % 2];
        weight = expf(weight - from);
        sum[r] += weight;
        if (p.dropout) weight *= factors(head.place(i, key + k / 2 * 8 + 2 * lane_member() + k % 2));
      }
    }
  }
};

template <class Tiling>
__global__ __launch_bounds__(fma_threads, 1) void forward_tf32_kernel(const Problem p, const ForwardOf<float> x) {
  constexpr int dim = Tiling::dim, queries = Tiling::queries, keys = Tiling::keys;
  extern __shared__ __align__(16) float shared_floats[];
  const FloatTile query_tile{shared_floats, Tiling::pitch}, key_tile{query_tile.row(queries), Tiling::pitch};
  const FloatTile value_tile{key_tile.row(keys), Tiling::pitch};
  const int h = blockIdx.y, first_row = (gridDim.x - 1 - blockIdx.x) * queries, s = p.first_sequence + blockIdx.z;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& q = head.sequence;
  const int rows = min(q.queries - first_row, queries), g = p.group == 1 ? h : p.key_head(h);
  if (rows <= 0) return;
  const int warp_row = threadIdx.x / 32 * 16;
  load_floats<queries, dim>(query_tile, x.query, x.query.row(q.batch, h, q.first_query + first_row), rows, p.head_dim);

  SplitState<dim> state;
  const int end = q.end(first_row + rows - 1);
  for (int first_key = q.begin(first_row) / keys * keys; first_key < end; first_key += keys) {
    load_floats<keys, dim>(key_tile, x.key, x.key.row(q.batch, g, q.first_key + first_key), q.keys - first_key,
                           p.head_dim);
    load_floats<keys, dim>(value_tile, x.value, x.value.row(q.batch, g, q.first_key + first_key), q.keys - first_key,
                           p.value_dim);
    __syncthreads();
    float scores[keys / 8][4];
    multiply_rows_split<dim>(scores, {query_tile.row(warp_row), Tiling::pitch}, key_tile);
    state.take(scores, p, head, first_row + warp_row, first_key);
#pragma unroll
    for (int n = 0; n < keys / 8; ++n) {
      const float(&w)[4] = scores[n];
      add_product_split(state.output, SplitRows(w[0], w[2], w[1], w[3]), {value_tile.row(8 * n), Tiling::pitch});
    }
    __syncthreads();
  }

  const std::int64_t to = q.first_query + first_row + warp_row;
  float inverse[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float sum = quad_sum(state.sum[r]), from = state.largest[r] == -INFINITY ? 0 : state.largest[r];
    inverse[r] = sum == 0 ? 0 : 1 / sum;
    const int row = lane_group() + 8 * r;
    if (lane_member() == 0 && warp_row + row < rows) *x.log_sum_exp.row(q.batch, h, to + row) = from + logf(sum);
  }
  store_split_rows(x.output, x.output.row(q.batch, h, to), state.output, inverse, rows - warp_row, p.value_dim);
}

}  // namespace

void forward_tf32(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                  const AttentionWorkspace& workspace, Stream stream) {
  if (!tf32_fits(query, value, options))
    return forward_mma(query, key, value, options, output, log_sum_exp, workspace, stream);
  if (log_sum_exp.size() == 0) return;
  const Problem p = problem_of(query, key, value, options);
  with_dim(std::max(p.head_dim, p.value_dim), [&]<int dim>() {
    if constexpr (dim <= tf32_max_dim) {
      using Tiling = ForwardTf32Tiling<dim>;
      launch_over("attention_forward", tiles_of_queries(p, options, Tiling::queries), p.heads, p, fma_threads,
                  Tiling::shared_bytes, stream, &forward_tf32_kernel<Tiling>,
                  forward_operands<float>(query, key, value, output, log_sum_exp));
    }
  });
}

}  // namespace heed::kernels::attention
