// The forward pass by plain multiply-adds in f32, for both dtypes, all features, any strides: what f32 runs by default and what
// the tensor cores are held against. A block has 64 queries of one head; their scores for 64 keys at a time go through
// shared memory once, from the product that makes them to the one that uses them.
#include <algorithm>

#include "kernels/attention/cuda/fma_tile.cuh"
#include "kernels/attention/cuda/forward_operands.cuh"
#include "kernels/attention/cuda/launch.h"
#include "kernels/attention/cuda/paths.h"
#include "kernels/attention/cuda/scores.cuh"
#include "kernels/attention/cuda/split.cuh"

namespace heed::kernels::attention {
namespace {

template <class T, class Tiling>
__global__ __launch_bounds__(fma_threads, 1) void forward_fma_kernel(const Problem p, const ForwardOf<T> x,
                                                                     const Shares shares) {
  constexpr int dim = Tiling::dim, m = Tiling::m, n = Tiling::n, queries = Tiling::queries, keys = Tiling::keys;
  extern __shared__ __align__(16) float shared_floats[];
  const FloatTile query_tile{shared_floats, Tiling::pitch};
  const FloatTile key_tile{query_tile.row(queries), Tiling::pitch};
  const FloatTile value_tile{key_tile.row(keys), dim};
  const FloatTile weights_tile{value_tile.row(keys), Tiling::weights_pitch};

  const BlockShare share(shares);
  const int h = blockIdx.y, first_row = share.tile * queries, s = p.first_sequence + blockIdx.z;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& q = head.sequence;
  const int rows = min(q.queries - first_row, queries);
  if (rows <= 0) return;
  const int g = p.group == 1 ? h : p.key_head(h);
  load_floats<queries, dim>(query_tile, x.query, x.query.row(q.batch, h, q.first_query + first_row), rows, p.head_dim);

  float output[m][dim / 16] = {}, largest[m], sum[m] = {};
#pragma unroll
  for (int r = 0; r < m; ++r) largest[r] = -INFINITY;
  int step = q.begin(first_row) / keys, end = (q.end(first_row + rows - 1) + keys - 1) / keys;
  share.cut(shares, step, end);
  for (; step < end; ++step) {
    const int first_key = step * keys;
    load_floats<keys, dim>(key_tile, x.key, x.key.row(q.batch, g, q.first_key + first_key), q.keys - first_key,
                           p.head_dim);
    load_floats<keys, dim>(value_tile, x.value, x.value.row(q.batch, g, q.first_key + first_key), q.keys - first_key,
                           p.value_dim);
    __syncthreads();
    float scores[m][n];
    multiply_rows<dim>(scores, query_tile, key_tile);
    DropoutFactors factors(p);
#pragma unroll
    for (int r = 0; r < m; ++r) {
      const int i = first_row + thread_y() * m + r;
      float most = largest[r];
#pragma unroll
      for (int j = 0; j < n; ++j) {
        scores[r][j] = head.score(p.scale * scores[r][j], i, first_key + thread_x() + 16 * j);
        most = fmaxf(most, scores[r][j]);
      }
      most = row_max(most);
      const float from = most == -INFINITY ? 0 : most, correction = expf(largest[r] - from);
      largest[r] = most;
      sum[r] *= correction;
#pragma unroll
      for (int c = 0; c < dim / 16; ++c) output[r][c] *= correction;
#pragma unroll
      for (int j = 0; j < n; ++j) {
        scores[r][j] = expf(scores[r][j] - from);
        sum[r] += scores[r][j];
        if (p.dropout) scores[r][j] *= factors(head.place(i, first_key + thread_x() + 16 * j));
      }
    }
    store_tile(weights_tile, scores);
    __syncwarp();  // a warp reads the rows that it wrote
    add_product<dim, keys>(output, weights_tile, value_tile);
    __syncthreads();
  }

#pragma unroll
  for (int r = 0; r < m; ++r) {
    const int row = thread_y() * m + r;
    const float total = row_sum(sum[r]), inverse = total == 0 ? 0 : 1 / total;
#pragma unroll
    for (int c = 0; c < dim / 16; ++c) output[r][c] *= inverse;
    if (thread_x() == 0 && row < rows) {
      const float from = largest[r] == -INFINITY ? 0 : largest[r];
      const std::int64_t i = q.first_query + first_row + row;
      float* const to = shares.splits == 1 ? x.log_sum_exp.row(q.batch, h, i)
                                           : shares.log_sum_exp + share_of(p, shares, share.split, q.batch, h, i);
      *to = from + logf(total);
    }
  }
  const std::int64_t i = q.first_query + first_row;
  if (shares.splits == 1) {
    store_rows<dim>(x.output, x.output.row(q.batch, h, i), output, 1, rows, p.value_dim);
  } else {
    const Operand<float> to{shares.output, 0, 0, p.value_dim, 1};
    store_rows<dim>(to, to.data + share_of(p, shares, share.split, q.batch, h, i) * p.value_dim, output, 1, rows,
                    p.value_dim);
  }
}

template <class T>
void forward_of(const View& query, const View& key, const View& value, const AttentionOptions& options,
                const View& output, const View& log_sum_exp, const AttentionWorkspace& workspace, Stream stream) {
  const Problem p = problem_of(query, key, value, options);
  const auto x = forward_operands<T>(query, key, value, output, log_sum_exp);
  with_dim(std::max(p.head_dim, p.value_dim), [&]<int dim>() {
    using Tiling = ForwardFmaTiling<dim>;
    const int tiles = tiles_of_queries(p, options, Tiling::queries);
    const Shares shares = shares_for(p, splits_for(p, options, tiles), log_sum_exp.size(), workspace);
    launch_over("attention_forward", tiles * shares.splits, p.heads, p, fma_threads, Tiling::shared_bytes, stream,
                &forward_fma_kernel<T, Tiling>, x, shares);
    launch_combine(p, x, shares, stream);
  });
}

}  // namespace

void forward_fma(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                 const AttentionWorkspace& workspace, Stream stream) {
  if (log_sum_exp.size() == 0) return;
  if (query.dtype == Dtype::f16) return forward_mma(query, key, value, options, output, log_sum_exp, workspace, stream);
  if (query.dtype == Dtype::f32)
    return forward_of<float>(query, key, value, options, output, log_sum_exp, workspace, stream);
  forward_of<BFloat16>(query, key, value, options, output, log_sum_exp, workspace, stream);
}

}  // namespace heed::kernels::attention
