// The forward kernel on tensor cores. A block takes `queries` queries of one head, each of its warps 16 row_tiles of them,
// and walks through the keys from the last that any of them may look at to the first, `keys` at a time:
//
//   shared memory   Q [queries, dim]   K [keys, dim]   V [keys, dim]
//   registers       S [rows, keys] = Q K^T, then the weights in its place     O [rows, dim] += weights V     m, l [rows]
//
// While a block multiplies Q and K, its V is on the way; while it takes exponentials and multiplies by V, the next K is. Two
// barriers a step: K has landed and the last V is read; V has landed and K is read. Steps in which some query may not look
// at some key come first, by going backwards, and last, where a window begins: they are a loop of their own, and the loop in
// between has neither masks nor bounds.
//
// Scores stay products until the exponential, which takes scale and log2 e into its one multiply-add:
// weight = 2^(score c - m), with m the largest score so far, times c. It starts at the most negative float instead of
// -inf, so that -inf - m is never NaN; l = 0 tells the queries that look at nothing.
#pragma once

#include "kernels/attention/cuda/forward_operands.cuh"
#include "kernels/attention/cuda/rows_through_tile.cuh"
#include "kernels/attention/cuda/scores.cuh"
#include "kernels/attention/cuda/warp_product.cuh"

namespace heed::kernels::attention {

template <class T, int dim_, int warps_, int row_tiles_, int keys_, int blocks_, bool query_in_registers_>
struct ForwardTiling {
  using Element = T;                // bf16 or f16
  static constexpr int dim = dim_;  // head_dim and value_dim, or more: the rest is zeros
  static constexpr int warps = warps_, threads = 32 * warps;
  static constexpr int row_tiles = row_tiles_;  // a warp's queries, by 16
  static constexpr int queries = 16 * row_tiles * warps;
  static constexpr int keys = keys_;      // a step's
  static constexpr int blocks = blocks_;  // that a multiprocessor shall hold
  static constexpr bool query_in_registers = query_in_registers_;
  using QueryTile = Tile<queries, dim, true, T>;
  using KeyTile = Tile<keys, dim, true, T>;
  static constexpr int shared_bytes = QueryTile::bytes + 2 * KeyTile::bytes;
};

template <class T>
struct ForwardOperands : ForwardOf<T> {
  std::int64_t query_step = 0, key_step = 0, value_step = 0;  // for TileCopy
};

// From the largest score, in units of log 2, and the sum of the exponentials relative to it. In f64, one rounding: in f32
// three of them would be as large as all other errors of the forward.
__device__ inline float log_sum_exp_of(float largest, float sum) {
  constexpr double unit = 1 / double{log2_e};  // undoes exactly what the scores were multiplied by
  return static_cast<float>(largest * unit + static_cast<double>(logf(sum)));
}

// The running softmax of a warp's rows. Lane l has rows l / 4 and l / 4 + 8 of each row tile.
template <class Tiling>
struct ForwardState {
  float output[Tiling::row_tiles][Tiling::dim / 8][4] = {};
  float largest[Tiling::row_tiles][2], sum[Tiling::row_tiles][2] = {};

  __device__ ForwardState() {
    for (int t = 0; t < Tiling::row_tiles; ++t) largest[t][0] = largest[t][1] = most_negative;
  }

  // Takes the maxima of a step's scores into account.
  __device__ void rescale(const float (&scores)[Tiling::row_tiles][Tiling::keys / 8][4], float c) {
#pragma unroll
    for (int t = 0; t < Tiling::row_tiles; ++t) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float x = fmaxf(scores[t][0][2 * r], scores[t][0][2 * r + 1]);
#pragma unroll
        for (int n = 1; n < Tiling::keys / 8; ++n) x = fmaxf(x, fmaxf(scores[t][n][2 * r], scores[t][n][2 * r + 1]));
        x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
        x = fmaxf(x, __shfl_xor_sync(~0u, x, 2));
        const float before = largest[t][r];
        largest[t][r] = fmaxf(before, x * c);
        const float correction = cuda::exp2_approximate(before - largest[t][r]);
        sum[t][r] *= correction;
#pragma unroll
        for (int n = 0; n < Tiling::dim / 8; ++n) {
          output[t][n][2 * r] *= correction;
          output[t][n][2 * r + 1] *= correction;
        }
      }
    }
  }

  // Weights of 16 keys from their scores, packed as the first operand of the product with V. `drop` may change a pair.
  template <class Drop>
  __device__ void weights(std::uint32_t (&words)[Tiling::row_tiles][4],
                          const float (&scores)[Tiling::row_tiles][Tiling::keys / 8][4], int k, float c, Drop&& drop) {
#pragma unroll
    for (int t = 0; t < Tiling::row_tiles; ++t) {
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        const int n = 2 * k + w / 2, r = w % 2;
        float first = cuda::exp2_approximate(scores[t][n][2 * r] * c - largest[t][r]);
        float second = cuda::exp2_approximate(scores[t][n][2 * r + 1] * c - largest[t][r]);
        sum[t][r] += first;
        sum[t][r] += second;
        drop(t, n, r, first, second);
        words[t][w] = cuda::pack<typename Tiling::Element>(first, second);
      }
    }
  }
};

// A warp's scores of one step.
template <class Tiling>
__device__ inline void multiply_query_key(
    float (&scores)[Tiling::row_tiles][Tiling::keys / 8][4],
    std::uint32_t (&query)[Tiling::query_in_registers ? Tiling::dim / 16 : 1][Tiling::row_tiles][4],
    std::uint32_t query_rows, std::uint32_t key_columns) {
#pragma unroll
  for (int k = 0; k < Tiling::dim / 16; ++k) {
    auto& a = query[Tiling::query_in_registers ? k : 0];
    if constexpr (!Tiling::query_in_registers) load_rows<typename Tiling::QueryTile>(a, query_rows, k);
    multiply_transposed<typename Tiling::KeyTile>(scores, a, key_columns, k);
  }
}

// The output goes through the place of the warp's own queries, so that it leaves in pieces of 16 bytes. What is known from
// before the loop is found out again, rather than kept in registers through it.
template <class Tiling>
__device__ inline void store_output(const Problem& p, const ForwardOperands<typename Tiling::Element>& x,
                                    ForwardState<Tiling>& state, std::uint32_t query_tile) {
  using QueryTile = typename Tiling::QueryTile;
  constexpr int warp_rows = 16 * Tiling::row_tiles;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int h = blockIdx.y, first_row = (gridDim.x - 1 - blockIdx.x) * Tiling::queries;
  const Sequence sequence = p.sequence(p.first_sequence + blockIdx.z);
  const int rows = sequence.queries - first_row;
#pragma unroll
  for (int t = 0; t < Tiling::row_tiles; ++t) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = warp * warp_rows + t * 16 + lane / 4 + 8 * r;
      float sum = state.sum[t][r];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      const float inverse = sum == 0 ? 0 : 1 / sum;
#pragma unroll
      for (int n = 0; n < Tiling::dim / 8; ++n) {
        state.output[t][n][2 * r] *= inverse;
        state.output[t][n][2 * r + 1] *= inverse;
      }
      if (lane % 4 == 0 && row < rows)
        *x.log_sum_exp.row(sequence.batch, h, sequence.first_query + first_row + row) =
            log_sum_exp_of(state.largest[t][r], sum);
    }
  }
  typename Tiling::Element* const to = x.output.row(sequence.batch, h, sequence.first_query + first_row);
  store_through_tile<QueryTile, Tiling::row_tiles>(query_tile, warp * warp_rows, state.output, 1, to,
                                                   x.output.row_stride, rows);
}

// The plain case: rows aligned and exactly Tiling::dim wide, and Problem::is_plain().
template <class Tiling>
__global__ __launch_bounds__(Tiling::threads, Tiling::blocks) void forward_mma_kernel(
    const Problem p, const ForwardOperands<typename Tiling::Element> x) {
  using QueryTile = typename Tiling::QueryTile;
  using KeyTile = typename Tiling::KeyTile;
  constexpr int keys = Tiling::keys, warp_rows = 16 * Tiling::row_tiles;
  extern __shared__ __align__(1024) unsigned char shared[];
  const std::uint32_t query_tile = cuda::shared_address(shared), key_tile = query_tile + QueryTile::bytes;
  const std::uint32_t value_tile = key_tile + KeyTile::bytes;

  // Blocks with the last queries, which causality gives most keys, start first. What all threads of a warp share is taken
  // from lane 0: the compiler then keeps it in registers that a warp shares.
  const int h = blockIdx.y, first_row = (gridDim.x - 1 - blockIdx.x) * Tiling::queries;
  const Sequence sequence = p.sequence(p.first_sequence + blockIdx.z);
  const int rows = min(sequence.queries - first_row, Tiling::queries);
  if (rows <= 0) return;
  const int length = __shfl_sync(~0u, sequence.keys, 0);
  const int lane = threadIdx.x % 32, warp = __shfl_sync(~0u, threadIdx.x / 32, 0);

  const int begin = max(first_row + sequence.begin_offset, 0), last_row = first_row + rows - 1;
  const int end = min(last_row + sequence.end_offset, length);
  const int first_step = begin / keys;
  int step = (end + keys - 1) / keys - 1;
  ForwardState<Tiling> state;
  const float c = p.scale * log2_e;

  if (end > begin) {
    const int g = p.group == 1 ? h : p.key_head(h);
    {
      TileCopy<QueryTile, Tiling::threads> copy(
          query_tile, x.query.row(sequence.batch, h, sequence.first_query + first_row), x.query.row_stride);
      copy.partial(x.query_step, rows);
    }
    const std::int64_t first_key = sequence.first_key + step * keys;
    TileCopy<KeyTile, Tiling::threads> copy_key(key_tile, x.key.row(sequence.batch, g, first_key), x.key.row_stride);
    TileCopy<KeyTile, Tiling::threads> copy_value(value_tile, x.value.row(sequence.batch, g, first_key),
                                                  x.value.row_stride);
    copy_key.partial(x.key_step, length - step * keys);
    cuda::commit_copies();

    const std::uint32_t query_rows = QueryTile::by_rows(query_tile, lane) + warp * warp_rows * QueryTile::row_bytes;
    const std::uint32_t key_columns = KeyTile::by_columns(key_tile, lane);
    const std::uint32_t value_rows = KeyTile::by_rows(value_tile, lane);
    std::uint32_t query[Tiling::query_in_registers ? Tiling::dim / 16 : 1][Tiling::row_tiles][4];
    if constexpr (Tiling::query_in_registers) {
      cuda::wait_copies<0>();
      __syncthreads();
#pragma unroll
      for (int k = 0; k < Tiling::dim / 16; ++k) load_rows<QueryTile>(query[k], query_rows, k);
    }

    const auto take_step = [&]<bool masked>() {
      cuda::wait_copies<0>();
      __syncthreads();
      if constexpr (masked) {
        copy_value.partial(x.value_step, length - step * keys);
      } else {
        copy_value(x.value_step);
      }
      cuda::commit_copies();
      float scores[Tiling::row_tiles][keys / 8][4] = {};
      multiply_query_key<Tiling>(scores, query, query_rows, key_columns);
      if constexpr (masked) {
        int row = first_row + warp * warp_rows + lane / 4;
        asm volatile("" : "+r"(row));  // or the bounds are computed before the loop and kept in registers
        const int from = step * keys + lane % 4 * 2;
#pragma unroll
        for (int t = 0; t < Tiling::row_tiles; ++t) {
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            const int i = row + t * 16 + 8 * r;
            const int low = i + sequence.begin_offset - from, high = min(i + sequence.end_offset, length) - from;
#pragma unroll
            for (int n = 0; n < keys / 8; ++n) {
              if (n * 8 < low || n * 8 >= high) scores[t][n][2 * r] = -INFINITY;
              if (n * 8 + 1 < low || n * 8 + 1 >= high) scores[t][n][2 * r + 1] = -INFINITY;
            }
          }
        }
      }
      cuda::wait_copies<0>();
      __syncthreads();
      if (step > first_step) {
        copy_key(x.key_step);
        cuda::commit_copies();
      }
      state.rescale(scores, c);
#pragma unroll
      for (int k = 0; k < keys / 16; ++k) {
        std::uint32_t weights[Tiling::row_tiles][4];
        state.weights(weights, scores, k, c, [](int, int, int, float&, float&) {});
        multiply<KeyTile>(state.output, weights, value_rows, k);
      }
    };
    // Whole steps in which everybody may look at everything lie in [open_from, open_until).
    const int open_from = (max(last_row + sequence.begin_offset, 0) + keys - 1) / keys;
    const int open_until = min(first_row + sequence.end_offset, length) / keys;
    for (int until = max(open_until, first_step);; until = first_step) {
      for (; step >= until; --step) take_step.template operator()<true>();
      for (; step >= open_from; --step) take_step.template operator()<false>();
      if (step < first_step) break;
    }
  }

  store_output<Tiling>(p, x, state, query_tile);
}

}  // namespace heed::kernels::attention
