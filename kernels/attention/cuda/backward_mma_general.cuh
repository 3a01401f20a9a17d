// The backward pass on tensor cores for all that the kernels of backward_mma.cuh leave out: any strides and dimensions, any
// scale, softcap, masks, ALiBi, dropout. The same products; of a block's own rows (keys and values, or queries and
// doutput) each warp has 16, and the rows of the other side pass by, `step` at a time:
//
//   shared memory   own K, V or Q, dO [rows, dim]   passing Q, dO or K, V [step, dim], in one or two stages, with
//                   log_sum_exp and delta where they are queries, and two bits for each weight (WeightBits)
//   registers       S, dP [16, step]   dK, dV or dQ [16, dim]
//
// With 256 columns dK and dV take more registers than there are: a block then has one of them.
#pragma once

#include "kernels/attention/cuda/backward_launch.h"
#include "kernels/attention/cuda/backward_mma.cuh"
#include "kernels/attention/cuda/general.cuh"
#include "kernels/attention/cuda/load_tile.cuh"

namespace heed::kernels::attention {

template <class T, int dim_, int warps_, int step_, int stages_, bool swizzled = true, bool async_ = true>
struct GeneralTiling {
  using Element = T;
  static constexpr int dim = dim_;  // head_dim and value_dim, or more: the rest is zeros
  static constexpr int warps = warps_, threads = 32 * warps, rows = 16 * warps, step = step_;
  static constexpr int stages = stages_;
  static constexpr int blocks = warps == 4 ? 2 : 1;  // that a multiprocessor shall hold
  static constexpr bool async = async_;              // fills tiles by cp.async
  static constexpr bool both = dim <= 128;           // dK and dV in one block
  using OwnTile = Tile<rows, dim, swizzled, T>;
  using PassingTile = Tile<step, dim, swizzled, T>;
  // A stage: two tiles, the statistics of its rows, the bits.
  static constexpr int statistics = 2 * PassingTile::bytes, kept = statistics + 8 * step;
  static constexpr int stage_bytes = kept + WeightBits<rows, step>::bytes;
  static constexpr int shared_bytes = 2 * OwnTile::bytes + stages * stage_bytes;
  static_assert(stage_bytes % 128 == 0 && rows % 32 == 0 && step % 32 == 0);
};

// A warp's weights, times their dropout factors, and dproducts, from products of rows of the own and of the passing tiles, as
// backward.h calls them; elements as each_pair counts them, `open` as for scores_of_products. statistics(n, e) gives the
// query's log_sum_exp and delta, bit(n, e, i) what is at a weight's place in its block's WeightBits, i words on. Not
// of_products: dscores instead of dproducts, and rows and columns may also lie before the sequence's first.
template <bool keys_are_rows, bool of_products, int n_, class Statistics, class Bit>
__device__ inline void finish_gradients(float (&products)[1][n_][4], float (&dweights)[1][n_][4], const Head& head,
                                        int row, int column, bool open, Statistics&& statistics, int allowed_bits,
                                        Bit&& bit) {
  const Problem& p = head.problem;
  const auto each = [&](auto&& change) {
    each_pair<keys_are_rows, n_>(row, column,
                                 [&](int n, int e, int, int) { change(products[0][n][e], dweights[0][n][e], n, e); });
  };
  const auto factor = [&](int n, int e) { return bit(n, e, 0) ? p.dropout_scale : 0.0f; };
  if (p.dropout) each([&](float&, float& dweight, int n, int e) { dweight *= factor(n, e); });
  each([&](float&, float& dweight, int n, int e) { dweight -= statistics(n, e).y; });
  scores_of_products<keys_are_rows, of_products>(
      products, head, row, column, open,
      [&](int n, int e, float slope) {
        if constexpr (of_products) dweights[0][n][e] *= slope;
      },
      [&](int n, int e) { return bit(n, e, allowed_bits); });
  each([&](float& score, float& dweight, int n, int e) {
    const bool none = score == -INFINITY;
    score = none ? 0 : cuda::exp2_approximate(score * log2_e - statistics(n, e).x);
    dweight = none ? 0 : score * dweight;
  });
  if (p.dropout) each([&](float& weight, float&, int n, int e) { weight *= factor(n, e); });
}

template <class Tiling>
__device__ inline std::uint32_t own_rows(std::uint32_t own_tile) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  return Tiling::OwnTile::by_rows(own_tile, lane) + warp * 16 * Tiling::OwnTile::row_bytes;
}

// dkey and dvalue of a block's keys: over all query heads that share them.
template <class Tiling>
__global__ __launch_bounds__(Tiling::threads,
                             Tiling::blocks) void dkey_mma_general(const Problem p,
                                                                   const BackwardOperands<typename Tiling::Element> x,
                                                                   bool aligned) {
  using Element = typename Tiling::Element;
  using OwnTile = typename Tiling::OwnTile;
  using PassingTile = typename Tiling::PassingTile;
  constexpr int keys = Tiling::rows, queries = Tiling::step, threads = Tiling::threads;
  using Bits = WeightBits<queries, keys>;
  constexpr int words = Bits::words;
  constexpr bool both = Tiling::both, async = Tiling::async;
  extern __shared__ __align__(1024) unsigned char shared[];
  const std::uint32_t own = cuda::shared_address(shared), passing = own + 2 * OwnTile::bytes;

  const int g = both ? blockIdx.y : blockIdx.y / 2, first_key = blockIdx.x * keys, s = p.first_sequence + blockIdx.z;
  const bool with_dvalue = both || blockIdx.y % 2 == 0, with_dkey = both || blockIdx.y % 2 == 1;
  const Sequence sequence = p.sequence(s);
  // Rows of the views beyond the keys that there are to look at are written too: zeros.
  const int rows = min((p.key_starts != nullptr ? sequence.keys : p.keys) - first_key, keys);
  if (rows <= 0) return;
  const std::int64_t first_row = sequence.first_key + first_key;
  load_tile<OwnTile, threads, async>(own, x.key, x.key.row(sequence.batch, g, first_row), sequence.keys - first_key,
                                     p.head_dim, aligned);
  load_tile<OwnTile, threads, async>(own + OwnTile::bytes, x.value, x.value.row(sequence.batch, g, first_row),
                                     sequence.keys - first_key, p.value_dim, aligned);

  const QuerySteps<keys, queries> steps(sequence, first_key);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, own_key = warp * 16 + lane / 4;
  const std::uint32_t key_rows = own_rows<Tiling>(own);
  float sums[both ? 2 : 1][1][Tiling::dim / 8][4] = {};
  auto& dkey = sums[0];
  auto& dvalue = sums[both ? 1 : 0];
#pragma unroll 1
  for (int h = g * p.group; h < (g + 1) * p.group; ++h) {
    const Head head(p, sequence, s, h);
    const auto load = [&](int step, int stage) {
      const std::uint32_t to = passing + stage * Tiling::stage_bytes;
      unsigned char* const at = shared + 2 * OwnTile::bytes + stage * Tiling::stage_bytes;
      const int first = step * queries, there = sequence.queries - first;
      const std::int64_t row = sequence.first_query + first;
      load_tile<PassingTile, threads, async>(to, x.query, x.query.row(sequence.batch, h, row), there, p.head_dim,
                                             aligned);
      load_tile<PassingTile, threads, async>(to + PassingTile::bytes, x.doutput, x.doutput.row(sequence.batch, h, row),
                                             there, p.value_dim, aligned);
      if (threadIdx.x < queries) {
        reinterpret_cast<float2*>(at + Tiling::statistics)[threadIdx.x] =
            static_cast<int>(threadIdx.x) < there ? x.statistics_of(p, sequence.batch, h, row)[threadIdx.x]
                                                  : make_float2(INFINITY, 0);
      }
      Bits::template load<threads>(reinterpret_cast<std::uint32_t*>(at + Tiling::kept), head, first, first_key);
    };
    const auto take = [&](int step, int stage) {
      const std::uint32_t from = passing + stage * Tiling::stage_bytes;
      const unsigned char* const at = shared + 2 * OwnTile::bytes + stage * Tiling::stage_bytes;
      const auto* const statistics = reinterpret_cast<const float4*>(at + Tiling::statistics) + lane % 4;
      const auto* const kept =
          reinterpret_cast<const std::uint32_t*>(at + Tiling::kept) + lane % 4 * 2 * words + own_key / 32;
      float weights[1][queries / 8][4] = {}, dproducts[1][queries / 8][4] = {};
      const std::uint32_t columns = PassingTile::by_columns(from, lane);
      multiply_tiles<OwnTile, PassingTile>(weights, key_rows, columns);
      if (with_dkey)
        multiply_tiles<OwnTile, PassingTile>(dproducts, key_rows + OwnTile::bytes, columns + PassingTile::bytes);
      const bool open = step >= steps.open_from && step < min(steps.open_until, sequence.queries / queries);
      finish_gradients<true, true>(
          weights, dproducts, head, first_key + own_key, step * queries + lane % 4 * 2, open,
          [&](int n, int e) {
            const float4 pair = statistics[4 * n];
            return e % 2 == 0 ? make_float2(pair.x, pair.y) : make_float2(pair.z, pair.w);
          },
          Bits::allowed_bits,
          [&](int n, int e, int on) {
            return (kept[(8 * n + e % 2) * words + on] >> (own_key % 32 + e / 2 * 8) & 1) != 0;
          });
      const std::uint32_t query_rows = PassingTile::by_rows(from, lane);
#pragma unroll
      for (int k = 0; k < queries / 16; ++k) {
        std::uint32_t packed[1][4];
        if (with_dvalue) {
          pack_columns<Element>(packed, weights, k);
          multiply<PassingTile>(dvalue, packed, query_rows + PassingTile::bytes, k);
        }
        if (with_dkey) {
          pack_columns<Element>(packed, dproducts, k);
          multiply<PassingTile>(dkey, packed, query_rows, k);
        }
      }
    };
    walk<Tiling::stages>(steps.first, steps.last + 1, load, take);
  }
  if (with_dkey)
    store_through_tile<OwnTile, 1>(own, warp * 16, dkey, p.scale, x.dkey, x.dkey.row(sequence.batch, g, first_row),
                                   rows, p.head_dim, aligned);
  if (with_dvalue)
    store_through_tile<OwnTile, 1>(own, warp * 16, dvalue, 1, x.dvalue, x.dvalue.row(sequence.batch, g, first_row),
                                   rows, p.value_dim, aligned);
}

// dquery of a block's queries of one head.
template <class Tiling>
__global__ __launch_bounds__(Tiling::threads,
                             Tiling::blocks) void dquery_mma_general(const Problem p,
                                                                     const BackwardOperands<typename Tiling::Element> x,
                                                                     bool aligned) {
  using Element = typename Tiling::Element;
  using OwnTile = typename Tiling::OwnTile;
  using PassingTile = typename Tiling::PassingTile;
  constexpr int queries = Tiling::rows, keys = Tiling::step, threads = Tiling::threads;
  using Bits = WeightBits<queries, keys>;
  constexpr int words = Bits::words;
  constexpr bool async = Tiling::async;
  extern __shared__ __align__(1024) unsigned char shared[];
  const std::uint32_t own = cuda::shared_address(shared), passing = own + 2 * OwnTile::bytes;

  const int h = blockIdx.y, first = (gridDim.x - 1 - blockIdx.x) * queries, s = p.first_sequence + blockIdx.z;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& sequence = head.sequence;
  const int rows = min(sequence.queries - first, queries), last = first + rows - 1;
  if (rows <= 0) return;
  const int g = p.group == 1 ? h : p.key_head(h);
  const std::int64_t first_row = sequence.first_query + first;
  load_tile<OwnTile, threads, async>(own, x.query, x.query.row(sequence.batch, h, first_row), rows, p.head_dim,
                                     aligned);
  load_tile<OwnTile, threads, async>(own + OwnTile::bytes, x.doutput, x.doutput.row(sequence.batch, h, first_row), rows,
                                     p.value_dim, aligned);

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, own_query = warp * 16 + lane / 4;
  const std::uint32_t query_rows = own_rows<Tiling>(own);
  float2 statistics[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = own_query + 8 * r;
    statistics[r] = row < rows ? *x.statistics_of(p, sequence.batch, h, first_row + row) : make_float2(INFINITY, 0);
  }
  float dquery[1][Tiling::dim / 8][4] = {};

  const auto load = [&](int step, int stage) {
    const std::uint32_t to = passing + stage * Tiling::stage_bytes;
    unsigned char* const at = shared + 2 * OwnTile::bytes + stage * Tiling::stage_bytes;
    const int first_key = step * keys, there = sequence.keys - first_key;
    const std::int64_t row = sequence.first_key + first_key;
    load_tile<PassingTile, threads, async>(to, x.key, x.key.row(sequence.batch, g, row), there, p.head_dim, aligned);
    load_tile<PassingTile, threads, async>(to + PassingTile::bytes, x.value, x.value.row(sequence.batch, g, row), there,
                                           p.value_dim, aligned);
    Bits::template load<threads>(reinterpret_cast<std::uint32_t*>(at + Tiling::kept), head, first, first_key);
  };
  const int open_from = (max(sequence.begin(last), 0) + keys - 1) / keys;
  const int open_until = rows == queries ? sequence.end(first) / keys : 0;
  const auto take = [&](int step, int stage) {
    const std::uint32_t from = passing + stage * Tiling::stage_bytes;
    const unsigned char* const at = shared + 2 * OwnTile::bytes + stage * Tiling::stage_bytes;
    const auto* const kept = reinterpret_cast<const std::uint32_t*>(at + Tiling::kept) + own_query * words;
    float weights[1][keys / 8][4] = {}, dproducts[1][keys / 8][4] = {};
    const std::uint32_t columns = PassingTile::by_columns(from, lane);
    multiply_tiles<OwnTile, PassingTile>(weights, query_rows, columns);
    multiply_tiles<OwnTile, PassingTile>(dproducts, query_rows + OwnTile::bytes, columns + PassingTile::bytes);
    finish_gradients<false, true>(
        weights, dproducts, head, first + own_query, step * keys + lane % 4 * 2, step >= open_from && step < open_until,
        [&](int, int e) { return statistics[e / 2]; }, Bits::allowed_bits,
        [&](int n, int e, int on) {
          const int key = 8 * n + lane % 4 * 2 + e % 2;
          return (kept[e / 2 * 8 * words + n / 4 + on] >> key % 32 & 1) != 0;
        });
#pragma unroll
    for (int k = 0; k < keys / 16; ++k) {
      std::uint32_t packed[1][4];
      pack_columns<Element>(packed, dproducts, k);
      multiply<PassingTile>(dquery, packed, PassingTile::by_rows(from, lane), k);
    }
  };
  walk<Tiling::stages>(sequence.begin(first) / keys, (sequence.end(last) + keys - 1) / keys, load, take);
  store_through_tile<OwnTile, 1>(own, warp * 16, dquery, p.scale, x.dquery, x.dquery.row(sequence.batch, h, first_row),
                                 rows, p.head_dim, aligned);
}

template <class Tiling>
void launch_general(const Problem& p, const AttentionOptions& o, const BackwardOperands<typename Tiling::Element>& x,
                    bool aligned, Stream stream) {
  launch_over(backward_name, tiles_of_keys(p, o, Tiling::rows), (Tiling::both ? 1 : 2) * p.key_heads, p,
              Tiling::threads, Tiling::shared_bytes, stream, &dkey_mma_general<Tiling>, x, aligned);
  launch_over(backward_name, tiles_of_queries(p, o, Tiling::rows), p.heads, p, Tiling::threads, Tiling::shared_bytes,
              stream, &dquery_mma_general<Tiling>, x, aligned);
}

}  // namespace heed::kernels::attention
