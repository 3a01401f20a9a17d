// dquery_mma: see backward_mma.cuh. A block takes 16 queries a warp and walks through the keys from the last to the first:
//
//   shared memory   Q, dO [queries, dim]   K, V [keys, dim] twice: the next ones arrive meanwhile
//   registers       S, dP [16, keys]   dQ [16, dim]
#pragma once

#include "kernels/attention/cuda/backward_mma.cuh"

namespace heed::kernels::attention {

template <class T, int dim_, int keys_>
struct DqueryTiling {
  using Element = T;
  static constexpr int dim = dim_, warps = 8, threads = 32 * warps, queries = 16 * warps, keys = keys_;
  using QueryTile = Tile<queries, dim, true, T>;
  using KeyTile = Tile<keys, dim, true, T>;
  // Q, dO, twice K, twice V.
  static constexpr int key_tile = 2 * QueryTile::bytes, value_tile = key_tile + 2 * KeyTile::bytes;
  static constexpr int shared_bytes = value_tile + 2 * KeyTile::bytes;
};

template <class Tiling>
__global__ __launch_bounds__(Tiling::threads, 1) void dquery_mma(const Problem p,
                                                                 const BackwardOperands<typename Tiling::Element> x) {
  using Element = typename Tiling::Element;
  using QueryTile = typename Tiling::QueryTile;
  using KeyTile = typename Tiling::KeyTile;
  constexpr int dim = Tiling::dim, keys = Tiling::keys, threads = Tiling::threads;
  constexpr int to_value = Tiling::value_tile - Tiling::key_tile;
  extern __shared__ __align__(1024) unsigned char shared[];
  const std::uint32_t query_tile = cuda::shared_address(shared), key_tile = query_tile + Tiling::key_tile;

  const int h = blockIdx.y, first_row = (gridDim.x - 1 - blockIdx.x) * Tiling::queries;
  const Sequence sequence = p.sequence(p.first_sequence + blockIdx.z);
  const int rows = min(sequence.queries - first_row, Tiling::queries), last_row = first_row + rows - 1;
  if (rows <= 0) return;
  const int length = __shfl_sync(~0u, sequence.keys, 0);
  const int lane = threadIdx.x % 32, warp = __shfl_sync(~0u, threadIdx.x / 32, 0);
  const float c = p.scale * log2_e;
  const int begin = max(first_row + sequence.begin_offset, 0), end = min(last_row + sequence.end_offset, length);
  float dquery[1][dim / 8][4] = {};

  if (begin < end) {
    const int g = p.group == 1 ? h : p.key_head(h), first_step = begin / keys;
    int step = (end + keys - 1) / keys - 1, stage = 0;
    {
      const std::int64_t row = sequence.first_query + first_row;
      TileCopy<QueryTile, threads> copy_query(query_tile, x.query.row(sequence.batch, h, row), x.query.row_stride);
      copy_query.partial(x.query_step, rows);
      TileCopy<QueryTile, threads> copy_doutput(query_tile + QueryTile::bytes, x.doutput.row(sequence.batch, h, row),
                                                x.doutput.row_stride);
      copy_doutput.partial(x.doutput_step, rows);
    }
    const std::int64_t first_key = sequence.first_key + step * keys;
    TileCopy<KeyTile, threads> copy_key(key_tile, x.key.row(sequence.batch, g, first_key), x.key.row_stride);
    TileCopy<KeyTile, threads> copy_value(key_tile + to_value, x.value.row(sequence.batch, g, first_key),
                                          x.value.row_stride);
    copy_key.partial(x.key_step, length - step * keys);
    copy_value.partial(x.value_step, length - step * keys);
    cuda::commit_copies();

    float4 statistics[2];  // log_sum_exp and delta of a row, twice: as for two neighbouring queries
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = warp * 16 + lane / 4 + 8 * r;
      const float2 of = row < rows ? *x.statistics_of(p, sequence.batch, h, sequence.first_query + first_row + row)
                                   : make_float2(INFINITY, 0);
      statistics[r] = make_float4(of.x, of.y, of.x, of.y);
    }
    const std::uint32_t query_rows = QueryTile::by_rows(query_tile, lane) + warp * 16 * QueryTile::row_bytes;
    const std::uint32_t key_columns = KeyTile::by_columns(key_tile, lane);
    const std::uint32_t key_rows = KeyTile::by_rows(key_tile, lane);

    const auto take_step = [&]<bool masked>() {
      cuda::wait_copies<0>();
      __syncthreads();
      const int offset = stage * KeyTile::bytes;
      stage ^= 1;
      if (step > first_step) {
        copy_key(x.key_step, stage * KeyTile::bytes);
        copy_value(x.value_step, stage * KeyTile::bytes);
        cuda::commit_copies();
      }
      float scores[1][keys / 8][4] = {}, dscores[1][keys / 8][4] = {};
      multiply_tiles<QueryTile, KeyTile>(scores, query_rows, key_columns + offset);
      multiply_tiles<QueryTile, KeyTile>(dscores, query_rows + QueryTile::bytes, key_columns + offset + to_value);
#pragma unroll
      for (int n = 0; n < keys / 8; ++n) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          weights_and_dscores(scores[0][n][2 * r], scores[0][n][2 * r + 1], dscores[0][n][2 * r],
                              dscores[0][n][2 * r + 1], c, statistics[r]);
        }
      }
      if constexpr (masked) {
        int row = first_row + warp * 16 + lane / 4;
        asm volatile("" : "+r"(row));
        const int from = step * keys + lane % 4 * 2;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const int i = row + 8 * r;
          const int low = i + sequence.begin_offset - from, high = min(i + sequence.end_offset, length) - from;
#pragma unroll
          for (int n = 0; n < keys / 8; ++n) {
#pragma unroll
            for (int e = 0; e < 2; ++e) {
              if (8 * n + e < low || 8 * n + e >= high) dscores[0][n][2 * r + e] = 0;
            }
          }
        }
      }
#pragma unroll
      for (int k = 0; k < keys / 16; ++k) {
        std::uint32_t words[1][4];
        pack_columns<Element>(words, dscores, k);
        multiply<KeyTile>(dquery, words, key_rows + offset, k);
      }
    };
    const int open_from = (max(last_row + sequence.begin_offset, 0) + keys - 1) / keys;
    const int open_until = min(first_row + sequence.end_offset, length) / keys;
    for (int until = max(open_until, first_step);; until = first_step) {
      for (; step >= until; --step) take_step.template operator()<true>();
      for (; step >= open_from; --step) take_step.template operator()<false>();
      if (step < first_step) break;
    }
  }
  Element* const to = x.dquery.row(sequence.batch, h, sequence.first_query + first_row);
  store_through_tile<QueryTile, 1>(query_tile, warp * 16, dquery, p.scale, to, x.dquery.row_stride, rows);
}

}  // namespace heed::kernels::attention
