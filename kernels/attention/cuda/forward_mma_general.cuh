// The forward kernel on tensor cores for all that forward_mma leaves out: any strides and dimensions, any scale, softcap,
// masks, ALiBi, dropout. Each warp has 16 queries; keys and values pass by, `keys` at a time, in one or two stages:
//
//   shared memory   Q [queries, dim]   K, V [keys, dim] and two bits for each weight (WeightBits), in each stage
//   registers       S [16, keys], then the weights in its place     O [16, dim], m, l [16]
#pragma once

#include "kernels/attention/cuda/forward_mma.cuh"
#include "kernels/attention/cuda/general.cuh"
#include "kernels/attention/cuda/load_tile.cuh"
#include "kernels/attention/cuda/split.cuh"

namespace heed::kernels::attention {

template <class T, int dim_, int warps_, int keys_, int stages_>
struct GeneralForwardTiling {
  using Element = T;
  static constexpr int dim = dim_;  // head_dim and value_dim, or more: the rest is zeros
  static constexpr int warps = warps_, threads = 32 * warps, row_tiles = 1, queries = 16 * warps;
  static constexpr int keys = keys_, stages = stages_;
  static constexpr int blocks = warps == 4 ? 2 : 1;  // that a multiprocessor shall hold
  using QueryTile = Tile<queries, dim, true, T>;
  using KeyTile = Tile<keys, dim, true, T>;
  static constexpr int kept = 2 * KeyTile::bytes, stage_bytes = kept + WeightBits<queries, keys>::bytes;
  static constexpr int shared_bytes = QueryTile::bytes + stages * stage_bytes;
  static_assert(stage_bytes % 128 == 0 && keys % 32 == 0);
};

// A block's output, of all keys or of its share of them.
template <class Tiling>
__device__ inline void store_general_output(const Problem& p, const ForwardOperands<typename Tiling::Element>& x,
                                            const Sequence& sequence, ForwardState<Tiling>& state,
                                            std::uint32_t query_tile, int first_row, int rows, bool aligned,
                                            const Shares& shares, const BlockShare& share) {
  const int lane = threadIdx.x % 32, warp_row = threadIdx.x / 32 * 16, h = blockIdx.y;
  const std::int64_t first = sequence.first_query + first_row;
  const auto place = [&](int row) { return share_of(p, shares, share.split, sequence.batch, h, first + row); };
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = warp_row + 8 * r + lane / 4;
    float sum = state.sum[0][r];
    sum += __shfl_xor_sync(~0u, sum, 1);
    sum += __shfl_xor_sync(~0u, sum, 2);
    const float factor = sum == 0 ? 0 : p.dropout_scale / sum;
#pragma unroll
    for (int n = 0; n < Tiling::dim / 8; ++n) {
      state.output[0][n][2 * r] *= factor;
      state.output[0][n][2 * r + 1] *= factor;
    }
    if (row < rows && lane % 4 == 0) {
      float* const to =
          shares.splits > 1 ? shares.log_sum_exp + place(row) : x.log_sum_exp.row(sequence.batch, h, first + row);
      *to = log_sum_exp_of(state.largest[0][r], sum);
    }
  }
  if (shares.splits > 1) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = warp_row + 8 * r + lane / 4;
      if (row >= rows) continue;
      float* const to = shares.output + place(row) * p.value_dim + lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < Tiling::dim / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          if (8 * n + lane % 4 * 2 + e < p.value_dim) to[8 * n + e] = state.output[0][n][2 * r + e];
        }
      }
    }
    return;
  }
  store_through_tile<typename Tiling::QueryTile, 1>(query_tile, warp_row, state.output, 1, x.output,
                                                    x.output.row(sequence.batch, h, first), rows, p.value_dim, aligned);
}

template <class Tiling>
__global__ __launch_bounds__(Tiling::threads, Tiling::blocks) void forward_mma_general_kernel(
    const Problem p, const ForwardOperands<typename Tiling::Element> x, bool aligned, const Shares shares) {
  using QueryTile = typename Tiling::QueryTile;
  using KeyTile = typename Tiling::KeyTile;
  constexpr int queries = Tiling::queries, keys = Tiling::keys, threads = Tiling::threads;
  using Bits = WeightBits<queries, keys>;
  extern __shared__ __align__(1024) unsigned char shared[];
  const std::uint32_t query_tile = cuda::shared_address(shared), passing = query_tile + QueryTile::bytes;

  const BlockShare share(shares);
  const int h = blockIdx.y, first_row = share.tile * queries, s = p.first_sequence + blockIdx.z;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& sequence = head.sequence;
  const int rows = min(sequence.queries - first_row, queries), last_row = first_row + rows - 1;
  if (rows <= 0) return;
  const int g = p.group == 1 ? h : p.key_head(h);
  load_tile<QueryTile, threads>(query_tile, x.query, x.query.row(sequence.batch, h, sequence.first_query + first_row),
                                rows, p.head_dim, aligned);

  const int lane = threadIdx.x % 32, own_query = threadIdx.x / 32 * 16 + lane / 4;
  const std::uint32_t query_rows = QueryTile::by_rows(query_tile, lane) + threadIdx.x / 32 * 16 * QueryTile::row_bytes;
  const auto kept_of = [&](int stage) {
    return reinterpret_cast<std::uint32_t*>(shared + QueryTile::bytes + stage * Tiling::stage_bytes + Tiling::kept);
  };
  ForwardState<Tiling> state;

  const auto load = [&](int step, int stage) {
    const std::uint32_t to = passing + stage * Tiling::stage_bytes;
    const int first_key = step * keys, there = sequence.keys - first_key;
    const std::int64_t row = sequence.first_key + first_key;
    load_tile<KeyTile, threads>(to, x.key, x.key.row(sequence.batch, g, row), there, p.head_dim, aligned);
    load_tile<KeyTile, threads>(to + KeyTile::bytes, x.value, x.value.row(sequence.batch, g, row), there, p.value_dim,
                                aligned);
    Bits::template load<threads>(kept_of(stage), head, first_row, first_key);
  };
  // Steps in which all queries exist and may look at all keys.
  const int open_from = (max(sequence.begin(last_row), 0) + keys - 1) / keys;
  const int open_until = rows == queries ? sequence.end(first_row) / keys : 0;
  const auto take = [&](int step, int stage) {
    const std::uint32_t from = passing + stage * Tiling::stage_bytes;
    const std::uint32_t* const kept = kept_of(stage) + own_query * Bits::words;
    // Of the weights of columns 8 n + lane % 4 * 2 and the next, in row 8 r.
    const auto bits = [&](int from, int n, int r) {
      return kept[from + r * 8 * Bits::words + n / 4] >> (8 * n + lane % 4 * 2) % 32;
    };
    float scores[1][keys / 8][4] = {};
    multiply_tiles<QueryTile, KeyTile>(scores, query_rows, KeyTile::by_columns(from, lane));
    scores_of_products<false, true>(
        scores, head, first_row + own_query, step * keys + lane % 4 * 2, step >= open_from && step < open_until,
        [](int, int, float) {}, [&](int n, int e) { return (bits(Bits::allowed_bits, n, e / 2) >> e % 2 & 1) != 0; });
    state.rescale(scores, log2_e);
    const auto drop = [&](int, int n, int r, float& first, float& second) {
      if (!p.dropout) return;
      const std::uint32_t pair = bits(0, n, r);
      if ((pair & 1) == 0) first = 0;
      if ((pair & 2) == 0) second = 0;
    };
#pragma unroll
    for (int k = 0; k < keys / 16; ++k) {
      std::uint32_t weights[1][4];
      state.weights(weights, scores, k, log2_e, drop);
      multiply<KeyTile>(state.output, weights, KeyTile::by_rows(from + KeyTile::bytes, lane), k);
    }
  };
  int first_step = sequence.begin(first_row) / keys, end = (sequence.end(last_row) + keys - 1) / keys;
  share.cut(shares, first_step, end);
  walk<Tiling::stages>(first_step, end, load, take);
  store_general_output<Tiling>(p, x, sequence, state, query_tile, first_row, rows, aligned, shares, share);
}

}  // namespace heed::kernels::attention
