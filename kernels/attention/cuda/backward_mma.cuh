// The backward pass on tensor cores. The scores and weights are computed again from Q, K and the log-sum-exp:
//
//   P = 2^(Q K^T c - log_sum_exp log2 e)    dP = dO V^T    dS = P (dP - delta)
//   dV = P^T dO    dK = scale dS^T Q    dQ = scale dS K
//
// dkey_mma takes 16 keys a warp and walks through the queries. It computes everything transposed, keys along the rows, so
// that P^T and dS^T come out of the one product as the first operand of the next, in registers, and dK and dV stay there:
//
//   shared memory   K, V [keys, dim]   Q, dO [queries, dim] twice: the next ones arrive meanwhile   log_sum_exp, delta
//   registers       S^T, dP^T [16, queries]   dK, dV [16, dim]
//
// dquery_mma takes 16 queries a warp and walks through the keys, with S, dP [16, keys] and dQ [16, dim] in registers. Seven
// products in all; no two blocks add to one number, so results repeat to the bit. With with_dquery dkey_mma writes dS to
// shared memory, and its warps share out the product with K: five products, and sums over blocks in the order in which
// they happen to arrive.
#pragma once

#include "kernels/attention/cuda/delta.cuh"
#include "kernels/attention/cuda/rows_through_tile.cuh"
#include "kernels/attention/cuda/warp_product.cuh"

namespace heed::kernels::attention {

template <class T, int dim_, int queries_>
struct DkeyTiling {
  using Element = T;
  static constexpr int dim = dim_, warps = 8, threads = 32 * warps, keys = 16 * warps;
  static constexpr int queries = queries_;  // a step's
  using QueryTile = Tile<queries, dim, true, T>;
  using KeyTile = Tile<keys, dim, true, T>;
  using ScoreTile = Tile<keys, queries, true, T>;
  // K, V, twice Q, twice dO, twice the statistics, dS.
  static constexpr int query_tile = 2 * KeyTile::bytes, doutput_tile = query_tile + 2 * QueryTile::bytes;
  static constexpr int statistics = doutput_tile + 2 * QueryTile::bytes, score_tile = statistics + 2 * 8 * queries;
  static constexpr int shared_bytes(bool with_dquery) { return score_tile + (with_dquery ? ScoreTile::bytes : 0); }
};

// P and dS of a pair of neighbouring queries, from their log-sum-exps and deltas.
__device__ inline void weights_and_dscores(float& s0, float& s1, float& dp0, float& dp1, float c,
                                           const float4& statistics) {
  s0 = cuda::exp2_approximate(s0 * c - statistics.x);
  s1 = cuda::exp2_approximate(s1 * c - statistics.z);
  dp0 = s0 * (dp0 - statistics.y);
  dp1 = s1 * (dp1 - statistics.w);
}

// The queries of a sequence that a block of `keys` keys has to do with, by steps of `queries`: all that may look at any of its
// keys, and those in [open_from, open_until) that may look at all of them.
template <int keys, int queries>
struct QuerySteps {
  int first, last, open_from, open_until;

  __device__ QuerySteps(const Sequence& q, int first_key) {
    const int last_key = min(first_key + keys, q.keys) - 1;
    const int begin = max(first_key - q.end_offset + 1, 0), end = min(last_key - q.begin_offset + 1, q.queries);
    first = begin / queries, last = (end + queries - 1) / queries - 1;
    if (last_key < first_key || begin >= end) last = first - 1;
    open_from = (max(first_key + keys - q.end_offset, 0) + queries - 1) / queries;
    open_until = last_key == first_key + keys - 1 ? max(first_key - q.begin_offset + 1, 0) / queries : 0;
  }
};

// dQ of a step from dS of all warps, in shared memory: the warps share out [queries, dim], 16 queries and part of the
// columns each. `to`: the first of the step's queries, `rows`: how many there are.
template <class Tiling, bool partial>
__device__ inline void add_dquery(float* to, int rows, std::uint32_t base) {
  using KeyTile = typename Tiling::KeyTile;
  using ScoreTile = typename Tiling::ScoreTile;
  constexpr int dim = Tiling::dim, groups = Tiling::queries / 16, part = dim * groups / Tiling::warps;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = warp % groups, column = warp / groups * part;
  const std::uint32_t score_columns = ScoreTile::step(ScoreTile::by_columns(base + Tiling::score_tile, lane), 0, group);
  const std::uint32_t key_rows = KeyTile::step(KeyTile::by_rows(base, lane), 0, column / 16);
  float dquery[1][part / 8][4] = {};
#pragma unroll
  for (int k = 0; k < Tiling::keys / 16; ++k) {
    std::uint32_t words[1][4];
    cuda::load_matrices_transposed(words[0], score_columns + k * 16 * ScoreTile::row_bytes);
    multiply<KeyTile>(dquery, words, key_rows, k);
  }
  const int row = group * 16 + lane / 4;
  to += row * dim + column + lane % 4 * 2;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    if (partial && row + 8 * r >= rows) break;
#pragma unroll
    for (int n = 0; n < part / 8; ++n) {
      atomicAdd(to + 8 * r * dim + n * 8, dquery[0][n][2 * r]);
      atomicAdd(to + 8 * r * dim + n * 8 + 1, dquery[0][n][2 * r + 1]);
    }
  }
}

// The queries of head h, from the last to the first. What is known outside is found out again, from values that the compiler
// cannot know to be the same: it would prepare pointers for all heads, and spill them.
template <class Tiling, bool with_dquery>
__device__ inline void walk_queries(const Problem& p, const BackwardOperands<typename Tiling::Element>& x,
                                    float* dquery_sums, int h, float (&dkey)[1][Tiling::dim / 8][4],
                                    float (&dvalue)[1][Tiling::dim / 8][4], std::uint32_t base) {
  using QueryTile = typename Tiling::QueryTile;
  using KeyTile = typename Tiling::KeyTile;
  using ScoreTile = typename Tiling::ScoreTile;
  using Element = typename Tiling::Element;
  constexpr int dim = Tiling::dim, queries = Tiling::queries, threads = Tiling::threads;
  constexpr int to_doutput = Tiling::doutput_tile - Tiling::query_tile;
  int s = p.first_sequence + blockIdx.z, first_key = blockIdx.x * Tiling::keys, thread = threadIdx.x;
  asm volatile("" : "+r"(s), "+r"(first_key), "+r"(thread), "+r"(h));
  const Sequence sequence = p.sequence(s);
  const int length = __shfl_sync(~0u, sequence.keys, 0), all_queries = __shfl_sync(~0u, sequence.queries, 0);
  const int lane = thread % 32, warp = __shfl_sync(~0u, thread / 32, 0);
  const QuerySteps<Tiling::keys, Tiling::queries> steps(sequence, first_key);
  const float c = p.scale * log2_e;
  const std::uint32_t key_tile = base, query_tile = base + Tiling::query_tile;
  const std::uint32_t key_rows = KeyTile::by_rows(key_tile, lane) + warp * 16 * KeyTile::row_bytes;
  const std::uint32_t query_columns = QueryTile::by_columns(query_tile, lane);
  const std::uint32_t query_rows = QueryTile::by_rows(query_tile, lane);

  int step = steps.last, stage = 0;
  const std::int64_t first_row = sequence.first_query + step * queries;
  TileCopy<QueryTile, threads> copy_query(query_tile, x.query.row(sequence.batch, h, first_row), x.query.row_stride);
  TileCopy<QueryTile, threads> copy_doutput(query_tile + to_doutput, x.doutput.row(sequence.batch, h, first_row),
                                            x.doutput.row_stride);
  const float2* statistics = x.statistics_of(p, sequence.batch, h, first_row) + thread;
  const std::uint32_t statistics_to = base + Tiling::statistics + thread * 8;
  copy_query.partial(x.query_step, all_queries - step * queries);
  copy_doutput.partial(x.doutput_step, all_queries - step * queries);
  if (thread < queries) cuda::copy_8_bytes(statistics_to, statistics, step * queries + thread < all_queries ? 8 : 0);
  cuda::commit_copies();

  const auto take_step = [&]<bool masked>() {
    cuda::wait_copies<0>();
    __syncthreads();
    const int offset = stage * QueryTile::bytes;
    const std::uint32_t statistics_at = base + Tiling::statistics + stage * 8 * queries + lane % 4 * 16;
    stage ^= 1;
    if (step > steps.first) {
      copy_query(x.query_step, stage * QueryTile::bytes);
      copy_doutput(x.doutput_step, stage * QueryTile::bytes);
      statistics -= queries;
      if (thread < queries) cuda::copy_8_bytes(statistics_to + stage * 8 * queries, statistics, 8);
      cuda::commit_copies();
    }

    float scores[1][queries / 8][4] = {}, dscores[1][queries / 8][4] = {};
    multiply_tiles<KeyTile, QueryTile>(scores, key_rows, query_columns + offset);
    multiply_tiles<KeyTile, QueryTile>(dscores, key_rows + KeyTile::bytes, query_columns + offset + to_doutput);
#pragma unroll
    for (int n = 0; n < queries / 8; ++n) {
      const float4 pair = cuda::load_shared_float4(statistics_at + n * 64);
#pragma unroll
      for (int r = 0; r < 4; r += 2)
        weights_and_dscores(scores[0][n][r], scores[0][n][r + 1], dscores[0][n][r], dscores[0][n][r + 1], c, pair);
    }
    if constexpr (masked) {
      int j = first_key + warp * 16 + lane / 4;
      asm volatile("" : "+r"(j));
      const int from = step * queries + lane % 4 * 2;
#pragma unroll
      for (int r = 0; r < 4; r += 2, j += 8) {
        const int low = j - sequence.end_offset - from, high = (j < length ? j - sequence.begin_offset : -1) - from;
#pragma unroll
        for (int n = 0; n < queries / 8; ++n) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            if (8 * n + e <= low || 8 * n + e > high) scores[0][n][r + e] = dscores[0][n][r + e] = 0;
          }
        }
      }
    }
#pragma unroll
    for (int k = 0; k < queries / 16; ++k) {
      std::uint32_t weights[1][4], dproducts[1][4];
      pack_columns<Element>(weights, scores, k);
      pack_columns<Element>(dproducts, dscores, k);
      if constexpr (with_dquery) {
        const std::uint32_t to = ScoreTile::at(base + Tiling::score_tile, warp * 16 + lane / 4, 0) + lane % 4 * 4;
#pragma unroll
        for (int w = 0; w < 4; ++w)
          cuda::store_shared((to ^ ((2 * k + w / 2) * 16)) + w % 2 * 8 * ScoreTile::row_bytes, dproducts[0][w]);
      }
      multiply<QueryTile>(dvalue, weights, query_rows + offset + to_doutput, k);
      multiply<QueryTile>(dkey, dproducts, query_rows + offset, k);
    }
    if constexpr (with_dquery) {
      __syncthreads();
      const std::int64_t row =
          (std::int64_t{sequence.batch} * p.heads + h) * p.queries + sequence.first_query + step * queries;
      add_dquery<Tiling, masked>(dquery_sums + row * dim, all_queries - step * queries, base);
    }
  };
  // Sums of dQ for queries that do not exist must not be added.
  const int open_until = with_dquery ? min(steps.open_until, all_queries / queries) : steps.open_until;
  for (int until = max(open_until, steps.first);; until = steps.first) {
    for (; step >= until; --step) take_step.template operator()<true>();
    for (; step >= steps.open_from; --step) take_step.template operator()<false>();
    if (step < steps.first) break;
  }
}

// Starts the copies of a block's keys and values, if any query looks at any of them.
template <class Tiling>
__device__ inline bool copy_keys(const Problem& p, const BackwardOperands<typename Tiling::Element>& x,
                                 std::uint32_t key_tile) {
  using KeyTile = typename Tiling::KeyTile;
  const int g = blockIdx.y, first_key = blockIdx.x * Tiling::keys;
  const Sequence sequence = p.sequence(p.first_sequence + blockIdx.z);
  const QuerySteps<Tiling::keys, Tiling::queries> steps(sequence, first_key);
  if (steps.first > steps.last) return false;
  const std::int64_t row = sequence.first_key + first_key;
  TileCopy<KeyTile, Tiling::threads> copy_key(key_tile, x.key.row(sequence.batch, g, row), x.key.row_stride);
  copy_key.partial(x.key_step, sequence.keys - first_key);
  TileCopy<KeyTile, Tiling::threads> copy_value(key_tile + KeyTile::bytes, x.value.row(sequence.batch, g, row),
                                                x.value.row_stride);
  copy_value.partial(x.value_step, sequence.keys - first_key);
  return true;
}

// What is known from before the loop is found out again, rather than kept in registers through it.
template <class Tiling>
__device__ inline void store_dkey(const Problem& p, const BackwardOperands<typename Tiling::Element>& x,
                                  const float (&dkey)[1][Tiling::dim / 8][4],
                                  const float (&dvalue)[1][Tiling::dim / 8][4], std::uint32_t key_tile) {
  using KeyTile = typename Tiling::KeyTile;
  const int g = blockIdx.y, first_key = blockIdx.x * Tiling::keys, warp = threadIdx.x / 32;
  const Sequence sequence = p.sequence(p.first_sequence + blockIdx.z);
  // Rows of the views beyond the keys that there are to look at are written too: zeros.
  const int rows = (p.key_starts != nullptr ? sequence.keys : p.keys) - first_key;
  const std::int64_t row = sequence.first_key + first_key;
  store_through_tile<KeyTile, 1>(key_tile, warp * 16, dkey, p.scale, x.dkey.row(sequence.batch, g, row),
                                 x.dkey.row_stride, rows);
  __syncwarp();
  store_through_tile<KeyTile, 1>(key_tile, warp * 16, dvalue, 1, x.dvalue.row(sequence.batch, g, row),
                                 x.dvalue.row_stride, rows);
}

template <class Tiling, bool with_dquery>
__global__ __launch_bounds__(Tiling::threads, 1) void dkey_mma(const Problem p,
                                                               const BackwardOperands<typename Tiling::Element> x,
                                                               float* dquery_sums) {
  using KeyTile = typename Tiling::KeyTile;
  extern __shared__ __align__(1024) unsigned char shared[];
  const std::uint32_t key_tile = cuda::shared_address(shared);
  const bool any = copy_keys<Tiling>(p, x, key_tile);
  float dkey[1][Tiling::dim / 8][4] = {}, dvalue[1][Tiling::dim / 8][4] = {};
  for (int i = 0; any && i < p.group; ++i) {
    walk_queries<Tiling, with_dquery>(p, x, dquery_sums, blockIdx.y * p.group + i, dkey, dvalue, key_tile);
    __syncthreads();
  }
  store_dkey<Tiling>(p, x, dkey, dvalue, key_tile);
}

}  // namespace heed::kernels::attention
