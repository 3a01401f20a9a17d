// The backward pass of f32 on tensor cores: see tf32_products.cuh. As by plain multiply-adds (backward_fma.cuh) the weights are
// computed twice, along the queries and along the keys, here of 64 queries and 32 keys or of 32 queries and 64 keys at a
// time. Each of eight warps makes 16 x 16 of them; they go through shared memory to the products that use them, of which a
// warp has 16 rows and half of the columns.
#include <algorithm>

#include "kernels/attention/cuda/backward_fma.cuh"
#include "kernels/attention/cuda/backward_launch.h"
#include "kernels/attention/cuda/paths.h"
#include "kernels/attention/cuda/tf32_products.cuh"

namespace heed::kernels::attention {
namespace {

// Pitches keep the words of a fragment in different banks: of the operands' rows, and of the weights, read by rows or by
// columns.
template <int dim_, int queries_, int keys_, int weights_pitch_>
struct BackwardTf32Tiling {
  static constexpr int dim = dim_, queries = queries_, keys = keys_;
  static constexpr int pitch = dim + 4, weights_pitch = weights_pitch_;
  static constexpr int shared_bytes = 4 * (2 * (queries + keys) * pitch + 2 * queries * weights_pitch + 2 * queries);
  static_assert(queries / 16 * (keys / 16) == fma_threads / 32);
};
template <int dim>
using DqueryTf32Tiling = BackwardTf32Tiling<dim, 64, 32, 32 + 8>;
template <int dim>
using DkeyTf32Tiling = BackwardTf32Tiling<dim, 32, 64, 64 + 4>;

// Fills the tiles of weights times their dropout factors and of the gradients of the scaled products.
template <class Tiling>
__device__ inline void score_gradients_split(const BackwardTiles& tiles, const Problem& p,
                                             const BackwardOperands<float>& x, const Head& head, int first_row,
                                             int first_key) {
  constexpr int row_warps = Tiling::queries / 16;
  const Sequence& q = head.sequence;
  const int warp = threadIdx.x / 32, row = warp % row_warps * 16, column = warp / row_warps * 16;
  float weights[2][4], dweights[2][4];
  multiply_rows_split<Tiling::dim>(weights, {tiles.query.row(row), Tiling::pitch},
                                   {tiles.key.row(column), Tiling::pitch});
  multiply_rows_split<Tiling::dim>(dweights, {tiles.doutput.row(row), Tiling::pitch},
                                   {tiles.value.row(column), Tiling::pitch});
  DropoutFactors factors(p);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int own_row = row + lane_group() + 8 * r, i = first_row + own_row;
    const bool there = i < q.queries;
    const float lse = there ? *x.log_sum_exp.row(q.batch, head.h, q.first_query + i) : INFINITY;
    const float delta = there ? x.statistics_of(p, q.batch, head.h, q.first_query + i)->y : 0;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const int own_column = column + 8 * n + 2 * lane_member();
      float dropped[2], dproduct[2];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int j = first_key + own_column + e;
        const float product = p.scale * weights[n][2 * r + e], score = head.score(product, i, j);
        const float weight = Head::weight(score, lse), factor = p.dropout ? factors(head.place(i, j)) : 1;
        dropped[e] = weight * factor;
        dproduct[e] =
            score == -INFINITY ? 0 : weight * (dweights[n][2 * r + e] * factor - delta) * head.cap_slope(product);
      }
      *reinterpret_cast<float2*>(tiles.weights.row(own_row) + own_column) = make_float2(dropped[0], dropped[1]);
      *reinterpret_cast<float2*>(tiles.dscores.row(own_row) + own_column) = make_float2(dproduct[0], dproduct[1]);
    }
  }
}

// dquery of 64 queries of one head.
template <class Tiling>
__global__ __launch_bounds__(fma_threads, 1) void dquery_tf32_kernel(const Problem p, const BackwardOperands<float> x) {
  constexpr int dim = Tiling::dim, queries = Tiling::queries, keys = Tiling::keys;
  extern __shared__ __align__(16) float shared_floats[];
  const BackwardTiles tiles = backward_tiles<Tiling>(shared_floats);
  const int h = blockIdx.y, first_row = (gridDim.x - 1 - blockIdx.x) * queries, s = p.first_sequence + blockIdx.z;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& q = head.sequence;
  const int rows = min(q.queries - first_row, queries), g = p.group == 1 ? h : p.key_head(h);
  if (rows <= 0) return;
  load_queries<Tiling>(tiles, p, x, head, first_row);

  const int warp = threadIdx.x / 32, own_row = warp % 4 * 16, own_column = warp / 4 * (dim / 2);
  float dquery[dim / 16][4] = {};
  const int end = q.end(first_row + rows - 1);
  for (int first_key = q.begin(first_row) / keys * keys; first_key < end; first_key += keys) {
    load_keys<Tiling>(tiles, p, x, q, g, first_key);
    __syncthreads();
    score_gradients_split<Tiling>(tiles, p, x, head, first_row, first_key);
    __syncthreads();
    add_product_split<keys>(dquery, FloatTile{tiles.dscores.row(own_row), Tiling::weights_pitch},
                            {tiles.key.data + own_column, Tiling::pitch});
    __syncthreads();
  }
  store_split_rows(x.dquery,
                   x.dquery.row(q.batch, h, q.first_query + first_row + own_row) + own_column * x.dquery.column_stride,
                   dquery, {p.scale, p.scale}, rows - own_row, p.head_dim - own_column);
}

// dkey and dvalue of 64 keys of one key head: over all query heads that share it.
template <class Tiling>
__global__ __launch_bounds__(fma_threads, 1) void dkey_tf32_kernel(const Problem p, const BackwardOperands<float> x) {
  constexpr int dim = Tiling::dim, queries = Tiling::queries, keys = Tiling::keys;
  extern __shared__ __align__(16) float shared_floats[];
  const BackwardTiles tiles = backward_tiles<Tiling>(shared_floats);
  const int g = blockIdx.y, first_key = blockIdx.x * keys, s = p.first_sequence + blockIdx.z;
  const Sequence sequence = p.sequence(s);
  // Rows of the views beyond the keys that there are to look at are written too: zeros.
  const int rows = min((p.key_starts != nullptr ? sequence.keys : p.keys) - first_key, keys);
  if (rows <= 0) return;
  load_keys<Tiling>(tiles, p, x, sequence, g, first_key);

  const int warp = threadIdx.x / 32, own_row = warp % 4 * 16, own_column = warp / 4 * (dim / 2);
  float dkey[dim / 16][4] = {}, dvalue[dim / 16][4] = {};
  const int last_key = min(first_key + keys, sequence.keys) - 1;
  const int begin = max(first_key - sequence.end_offset + 1, 0),
            end = min(last_key - sequence.begin_offset + 1, sequence.queries);
  for (int h = g * p.group; h < (g + 1) * p.group && last_key >= first_key; ++h) {
    const Head head(p, sequence, s, h);
    for (int first_row = begin / queries * queries; first_row < end; first_row += queries) {
      load_queries<Tiling>(tiles, p, x, head, first_row);
      __syncthreads();
      score_gradients_split<Tiling>(tiles, p, x, head, first_row, first_key);
      __syncthreads();
      add_transposed_product_split<queries>(dvalue, {tiles.weights.data + own_row, Tiling::weights_pitch},
                                            {tiles.doutput.data + own_column, Tiling::pitch});
      add_transposed_product_split<queries>(dkey, {tiles.dscores.data + own_row, Tiling::weights_pitch},
                                            {tiles.query.data + own_column, Tiling::pitch});
      __syncthreads();
    }
  }
  const std::int64_t to = sequence.first_key + first_key + own_row;
  store_split_rows(x.dkey, x.dkey.row(sequence.batch, g, to) + own_column * x.dkey.column_stride, dkey,
                   {p.scale, p.scale}, rows - own_row, p.head_dim - own_column);
  store_split_rows(x.dvalue, x.dvalue.row(sequence.batch, g, to) + own_column * x.dvalue.column_stride, dvalue, {1, 1},
                   rows - own_row, p.value_dim - own_column);
}

}  // namespace

void backward_tf32(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                   View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                   const AttentionWorkspace& workspace, Stream stream) {
  if (!tf32_fits(query, value)) {
    return backward_mma(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue,
                        workspace, stream);
  }
  const Problem p = problem_of(query, key, value, options);
  const auto x = backward_operands<float>(query, key, value, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey,
                                          dvalue, workspace);
  launch_delta(p, x, log_sum_exp.size(), stream);
  with_dim(std::max(p.head_dim, p.value_dim), [&]<int dim>() {
    if constexpr (dim <= tf32_max_dim) {
      using Dkey = DkeyTf32Tiling<dim>;
      using Dquery = DqueryTf32Tiling<dim>;
      launch_over("attention_backward", tiles_of_keys(p, options, Dkey::keys), p.key_heads, p, fma_threads,
                  Dkey::shared_bytes, stream, &dkey_tf32_kernel<Dkey>, x);
      launch_over("attention_backward", tiles_of_queries(p, options, Dquery::queries), p.heads, p, fma_threads,
                  Dquery::shared_bytes, stream, &dquery_tf32_kernel<Dquery>, x);
    }
  });
}

}  // namespace heed::kernels::attention
