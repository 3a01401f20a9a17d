// The backward pass by plain multiply-adds in f32. The scores and weights are computed again, once along the queries for dquery
// and once along the keys for dkey and dvalue: seven products instead of five, and in exchange no two blocks add to one
// number.
#pragma once

#include "kernels/attention/cuda/delta.cuh"
#include "kernels/attention/cuda/fma_tile.cuh"
#include "kernels/attention/cuda/scores.cuh"

namespace heed::kernels::attention {

// The operands' rows that a block has in shared memory.
struct BackwardTiles {
  FloatTile query, doutput, key, value, weights, dscores;
  float2* statistics;  // log_sum_exp and delta of the queries
};

template <class Tiling>
__device__ inline BackwardTiles backward_tiles(float* shared) {
  BackwardTiles tiles;
  tiles.query = {shared, Tiling::pitch};
  tiles.doutput = {tiles.query.row(Tiling::queries), Tiling::pitch};
  tiles.key = {tiles.doutput.row(Tiling::queries), Tiling::pitch};
  tiles.value = {tiles.key.row(Tiling::keys), Tiling::pitch};
  tiles.weights = {tiles.value.row(Tiling::keys), Tiling::weights_pitch};
  tiles.dscores = {tiles.weights.row(Tiling::queries), Tiling::weights_pitch};
  tiles.statistics = reinterpret_cast<float2*>(tiles.dscores.row(Tiling::queries));
  return tiles;
}

template <class Tiling, class T>
__device__ inline void load_statistics(const BackwardTiles& tiles, const Problem& p, const BackwardOperands<T>& x,
                                       int b, int h, std::int64_t first_row, int rows) {
  const int row = threadIdx.x;
  if (row >= Tiling::queries) return;
  float2 of = make_float2(INFINITY, 0);
  if (row < rows) {
    of = x.statistics_of(p, b, h, first_row)[row];
    if (of.x != INFINITY)
      of.x = *x.log_sum_exp.row(b, h, first_row + row);  // not divided by ln 2, and not rounded again
  }
  tiles.statistics[row] = of;
}

template <class Tiling, class T>
__device__ inline void load_queries(const BackwardTiles& tiles, const Problem& p, const BackwardOperands<T>& x,
                                    const Head& head, int first_row) {
  const Sequence& q = head.sequence;
  const int rows = q.queries - first_row;
  load_floats<Tiling::queries, Tiling::dim>(tiles.query, x.query,
                                            x.query.row(q.batch, head.h, q.first_query + first_row), rows, p.head_dim);
  load_floats<Tiling::queries, Tiling::dim>(
      tiles.doutput, x.doutput, x.doutput.row(q.batch, head.h, q.first_query + first_row), rows, p.value_dim);
  load_statistics<Tiling>(tiles, p, x, q.batch, head.h, q.first_query + first_row, rows);
}

template <class Tiling, class T>
__device__ inline void load_keys(const BackwardTiles& tiles, const Problem& p, const BackwardOperands<T>& x,
                                 const Sequence& q, int g, int first_key) {
  const int rows = q.keys - first_key;
  load_floats<Tiling::keys, Tiling::dim>(tiles.key, x.key, x.key.row(q.batch, g, q.first_key + first_key), rows,
                                         p.head_dim);
  load_floats<Tiling::keys, Tiling::dim>(tiles.value, x.value, x.value.row(q.batch, g, q.first_key + first_key), rows,
                                         p.value_dim);
}

// What the gradients of a mask and of the products have in common: the weights times their dropout factors, and dscores.
template <class Tiling, bool of_products>
__device__ inline void score_gradients(const BackwardTiles& tiles, const Problem& p, const Head& head, int first_row,
                                       int first_key, float (&weights)[Tiling::m][Tiling::n],
                                       float (&dscores)[Tiling::m][Tiling::n]) {
  multiply_rows<Tiling::dim>(weights, tiles.query, tiles.key);
  multiply_rows<Tiling::dim>(dscores, tiles.doutput, tiles.value);
  DropoutFactors factors(p);
#pragma unroll
  for (int r = 0; r < Tiling::m; ++r) {
    const int i = first_row + thread_y() * Tiling::m + r;
    const float2 statistics = tiles.statistics[thread_y() * Tiling::m + r];
#pragma unroll
    for (int c = 0; c < Tiling::n; ++c) {
      const int j = first_key + thread_x() + 16 * c;
      const float product = p.scale * weights[r][c], score = head.score(product, i, j);
      const float weight = Head::weight(score, statistics.x), factor = p.dropout ? factors(head.place(i, j)) : 1;
      float dscore = score == -INFINITY ? 0 : weight * (dscores[r][c] * factor - statistics.y);
      if constexpr (of_products) dscore *= head.cap_slope(product);
      weights[r][c] = weight * factor, dscores[r][c] = dscore;
    }
  }
}

// dquery of 64 (or fewer) queries of one head.
template <class T, class Tiling>
__global__ __launch_bounds__(fma_threads, 1) void dquery_fma_kernel(const Problem p, const BackwardOperands<T> x) {
  constexpr int dim = Tiling::dim, m = Tiling::m, n = Tiling::n, queries = Tiling::queries, keys = Tiling::keys;
  extern __shared__ __align__(16) float shared_floats[];
  const BackwardTiles tiles = backward_tiles<Tiling>(shared_floats);
  const int h = blockIdx.y, first_row = (gridDim.x - 1 - blockIdx.x) * queries, s = p.first_sequence + blockIdx.z;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& q = head.sequence;
  const int rows = min(q.queries - first_row, queries);
  if (rows <= 0) return;
  const int g = p.group == 1 ? h : p.key_head(h);
  load_queries<Tiling>(tiles, p, x, head, first_row);

  float dquery[m][dim / 16] = {};
  const int end = q.end(first_row + rows - 1);
  for (int first_key = q.begin(first_row) / keys * keys; first_key < end; first_key += keys) {
    load_keys<Tiling>(tiles, p, x, q, g, first_key);
    __syncthreads();
    float weights[m][n], dscores[m][n];
    score_gradients<Tiling, true>(tiles, p, head, first_row, first_key, weights, dscores);
    store_tile(tiles.dscores, dscores);
    __syncthreads();
    add_product<dim, keys>(dquery, tiles.dscores, tiles.key);
    __syncthreads();
  }
  store_rows<dim>(x.dquery, x.dquery.row(q.batch, h, q.first_query + first_row), dquery, p.scale, rows, p.head_dim);
}

// dkey and dvalue of 64 (or fewer) keys of one key head: over all query heads that share it.
template <class T, class Tiling>
__global__ __launch_bounds__(fma_threads, 1) void dkey_fma_kernel(const Problem p, const BackwardOperands<T> x) {
  constexpr int dim = Tiling::dim, m = Tiling::m, n = Tiling::n, queries = Tiling::queries, keys = Tiling::keys;
  extern __shared__ __align__(16) float shared_floats[];
  const BackwardTiles tiles = backward_tiles<Tiling>(shared_floats);
  const int g = blockIdx.y, first_key = blockIdx.x * keys, s = p.first_sequence + blockIdx.z;
  const Sequence sequence = p.sequence(s);
  // Rows of the views beyond the keys that there are to look at are written too: zeros.
  const int rows = min((p.key_starts != nullptr ? sequence.keys : p.keys) - first_key, keys);
  if (rows <= 0) return;

  load_keys<Tiling>(tiles, p, x, sequence, g, first_key);
  float dkey[n][dim / 16] = {}, dvalue[n][dim / 16] = {};
  const int last_key = min(first_key + keys, sequence.keys) - 1;
  const int begin = max(first_key - sequence.end_offset + 1, 0),
            end = min(last_key - sequence.begin_offset + 1, sequence.queries);
  for (int h = g * p.group; h < (g + 1) * p.group && last_key >= first_key; ++h) {
    const Head head(p, sequence, s, h);
    for (int first_row = begin / queries * queries; first_row < end; first_row += queries) {
      load_queries<Tiling>(tiles, p, x, head, first_row);
      __syncthreads();
      float weights[m][n], dscores[m][n];
      score_gradients<Tiling, true>(tiles, p, head, first_row, first_key, weights, dscores);
      store_tile(tiles.weights, weights);
      store_tile(tiles.dscores, dscores);
      __syncthreads();
      add_transposed_product<dim, queries>(dvalue, tiles.weights, tiles.doutput);
      add_transposed_product<dim, queries>(dkey, tiles.dscores, tiles.query);
      __syncthreads();
    }
  }
  store_rows<dim>(x.dkey, x.dkey.row(sequence.batch, g, sequence.first_key + first_key), dkey, p.scale, rows,
                  p.head_dim);
  store_rows<dim>(x.dvalue, x.dvalue.row(sequence.batch, g, sequence.first_key + first_key), dvalue, 1, rows,
                  p.value_dim);
}

}  // namespace heed::kernels::attention
