// The forward kernel on tensor cores for all that forward_mma leaves out: any strides and dimensions, any scale, softcap,
// masks, ALiBi, dropout. The same parts in the plainest order: load K and V, multiply, change the scores, multiply.
#pragma once

#include "kernels/attention/cuda/forward_mma.cuh"
#include "kernels/attention/cuda/load_tile.cuh"
#include "kernels/attention/cuda/split.cuh"

namespace heed::kernels::attention {

template <class Tiling>
__global__ __launch_bounds__(Tiling::threads, Tiling::blocks) void forward_mma_general_kernel(
    const Problem p, const ForwardOperands<typename Tiling::Element> x, bool aligned, const Shares shares) {
  using Element = typename Tiling::Element;
  using QueryTile = typename Tiling::QueryTile;
  using KeyTile = typename Tiling::KeyTile;
  constexpr int keys = Tiling::keys, warp_rows = 16 * Tiling::row_tiles;
  extern __shared__ __align__(1024) unsigned char shared[];
  const std::uint32_t query_tile = cuda::shared_address(shared), key_tile = query_tile + QueryTile::bytes;
  const std::uint32_t value_tile = key_tile + KeyTile::bytes;

  const BlockShare share(shares);
  const int h = blockIdx.y, first_row = share.tile * Tiling::queries, s = p.first_sequence + blockIdx.z;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& sequence = head.sequence;
  const int rows = min(sequence.queries - first_row, Tiling::queries);
  if (rows <= 0) return;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = first_row + warp * warp_rows + lane / 4;  // and 8 r + 16 t further down
  const int g = p.group == 1 ? h : p.key_head(h);
  int first_step = sequence.begin(first_row) / keys, end = (sequence.end(first_row + rows - 1) + keys - 1) / keys;
  share.cut(shares, first_step, end);

  load_tile<QueryTile, Tiling::threads>(
      query_tile, x.query, x.query.row(sequence.batch, h, sequence.first_query + first_row), rows, p.head_dim, aligned);
  const std::uint32_t query_rows = QueryTile::by_rows(query_tile, lane) + warp * warp_rows * QueryTile::row_bytes;
  std::uint32_t query[Tiling::query_in_registers ? Tiling::dim / 16 : 1][Tiling::row_tiles][4];
  if constexpr (Tiling::query_in_registers) {
    cuda::wait_copies<0>();
    __syncthreads();
#pragma unroll
    for (int k = 0; k < Tiling::dim / 16; ++k) load_rows<QueryTile>(query[k], query_rows, k);
  }

  ForwardState<Tiling> state;
  for (int step = end - 1; step >= first_step; --step) {
    const std::int64_t first_key = sequence.first_key + step * keys;
    const int rows_here = sequence.keys - step * keys;
    load_tile<KeyTile, Tiling::threads>(key_tile, x.key, x.key.row(sequence.batch, g, first_key), rows_here, p.head_dim,
                                        aligned);
    load_tile<KeyTile, Tiling::threads>(value_tile, x.value, x.value.row(sequence.batch, g, first_key), rows_here,
                                        p.value_dim, aligned);
    cuda::wait_copies<0>();
    __syncthreads();
    float scores[Tiling::row_tiles][keys / 8][4] = {};
    multiply_query_key<Tiling>(scores, query, query_rows, KeyTile::by_columns(key_tile, lane));
    const int column = step * keys + lane % 4 * 2;  // and e + 8 n further on
#pragma unroll
    for (int t = 0; t < Tiling::row_tiles; ++t) {
#pragma unroll
      for (int n = 0; n < keys / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          float& score = scores[t][n][e];
          score = head.score(p.scale * score, row + 16 * t + e / 2 * 8, column + 8 * n + e % 2);
        }
      }
    }
    state.rescale(scores, log2_e);
    DropoutFactors factors(p);
    const auto drop = [&](int t, int n, int r, float& first, float& second) {
      if (!p.dropout) return;
      const std::uint64_t place = head.place(row + 16 * t + 8 * r, column + 8 * n);
      first *= factors(place);
      second *= factors(place + 1);
    };
#pragma unroll
    for (int k = 0; k < keys / 16; ++k) {
      std::uint32_t weights[Tiling::row_tiles][4];
      state.weights(weights, scores, k, log2_e, drop);
      multiply<KeyTile>(state.output, weights, KeyTile::by_rows(value_tile, lane), k);
    }
    __syncthreads();
  }

#pragma unroll
  for (int t = 0; t < Tiling::row_tiles; ++t) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float sum = state.sum[t][r];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      const float inverse = sum == 0 ? 0 : 1 / sum;
      const int i = row + 16 * t + 8 * r;
      if (i >= sequence.queries) continue;
      const std::int64_t i_row = sequence.first_query + i;
      const std::int64_t at = share_of(p, shares, share.split, sequence.batch, h, i_row);
      Element* const to = x.output.row(sequence.batch, h, i_row);
#pragma unroll
      for (int n = 0; n < Tiling::dim / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int d = 8 * n + lane % 4 * 2 + e;
          const float value = state.output[t][n][2 * r + e] * inverse;
          if (d < p.value_dim && shares.splits == 1) to[d * x.output.column_stride] = Element(value);
          if (d < p.value_dim && shares.splits > 1) shares.output[at * p.value_dim + d] = value;
        }
      }
      float* const lse = shares.splits == 1 ? x.log_sum_exp.row(sequence.batch, h, i_row) : shares.log_sum_exp + at;
      if (lane % 4 == 0) *lse = log_sum_exp_of(state.largest[t][r], sum);
    }
  }
}

}  // namespace heed::kernels::attention
