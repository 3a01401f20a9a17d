// The forward pass of f32 on tensor cores, each product in three of tf32: x = big + small with big the nearest tf32, and
//
//   a b = big_a big_b + big_a small_b + small_a big_b      (small_a small_b, about 2^-22 of it, is dropped)
//
// Not the default: tensor cores need not round their sums as f32 arithmetic does, which no simulator shows. A warp has 16
// queries; the scores leave the first product as the second wants them, if its keys are taken in another order: a lane
// holds the scores of keys 2 (l%4) and the next, and a first operand's columns l%4 and l%4 + 4, so it is those two keys'
// values that go to rows l%4 and l%4 + 4 of the second operand.
#include <algorithm>
#include <bit>

#include "kernels/attention/cuda/fma_tile.cuh"
#include "kernels/attention/cuda/forward_mma.cuh"
#include "kernels/attention/cuda/launch.h"
#include "kernels/attention/cuda/paths.h"

namespace heed::kernels::attention {
namespace {

template <int dim_>
struct Tf32Tiling {
  static constexpr int dim = dim_, row_tiles = 1, queries = 16 * fma_threads / 32, keys = 32;
  static constexpr int pitch = dim + 4;  // so that the words of a fragment lie in different banks
  static constexpr int shared_bytes = 4 * pitch * (queries + 2 * keys);
};

// A number as the sum of two tf32.
struct Split {
  std::uint32_t big, small;
  __device__ explicit Split(float x)
      : big(cuda::round_tf32(x)), small(cuda::round_tf32(x - std::bit_cast<float>(big))) {
    if (!isfinite(x)) small = 0;
  }
};

__device__ inline void multiply_split(float (&c)[4], const Split (&a)[4], Split b0, Split b1) {
  const std::uint32_t big[4] = {a[0].big, a[1].big, a[2].big, a[3].big};
  const std::uint32_t small[4] = {a[0].small, a[1].small, a[2].small, a[3].small};
  cuda::mma_tf32(c, small, b0.big, b1.big);
  cuda::mma_tf32(c, big, b0.small, b1.small);
  cuda::mma_tf32(c, big, b0.big, b1.big);
}

// What splitting makes NaN of: an infinity times the small part of a finite number.
template <int dim>
__device__ float dot(const float* a, const float* b) {
  float sum = 0;
  for (int d = 0; d < dim; ++d) sum += a[d] * b[d];
  return sum;
}

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
  const int group = threadIdx.x % 32 / 4, member = threadIdx.x % 4, warp_row = threadIdx.x / 32 * 16;
  load_floats<queries, dim>(query_tile, x.query, x.query.row(q.batch, h, q.first_query + first_row), rows, p.head_dim);

  ForwardState<Tiling> state;
  const int end = q.end(first_row + rows - 1);
  for (int first_key = q.begin(first_row) / keys * keys; first_key < end; first_key += keys) {
    load_floats<keys, dim>(key_tile, x.key, x.key.row(q.batch, g, q.first_key + first_key), q.keys - first_key,
                           p.head_dim);
    load_floats<keys, dim>(value_tile, x.value, x.value.row(q.batch, g, q.first_key + first_key), q.keys - first_key,
                           p.value_dim);
    __syncthreads();
    float scores[1][keys / 8][4] = {};
#pragma unroll 4
    for (int d = 0; d < dim; d += 8) {
      const float* const low = query_tile.row(warp_row + group) + d + member;
      const float* const high = low + 8 * Tiling::pitch;
      const Split a[4] = {Split(low[0]), Split(high[0]), Split(low[4]), Split(high[4])};
#pragma unroll
      for (int n = 0; n < keys / 8; ++n) {
        const float* const b = key_tile.row(8 * n + group) + d + member;
        multiply_split(scores[0][n], a, Split(b[0]), Split(b[4]));
      }
    }
#pragma unroll
    for (int n = 0; n < keys / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int i = first_row + warp_row + group + e / 2 * 8, j = first_key + 8 * n + 2 * member + e % 2;
        float product = scores[0][n][e];
        if (isnan(product))
          product = dot<dim>(query_tile.row(warp_row + group + e / 2 * 8), key_tile.row(j - first_key));
        scores[0][n][e] = log2_e * head.score(p.scale * product, i, j);
      }
    }
    state.rescale(scores, 1);
    DropoutFactors factors(p);
#pragma unroll
    for (int n = 0; n < keys / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float& weight = scores[0][n][e];
        weight = cuda::exp2_approximate(weight - state.largest[0][e / 2]);
        state.sum[0][e / 2] += weight;
        const int i = first_row + warp_row + group + e / 2 * 8, j = first_key + 8 * n + 2 * member + e % 2;
        if (p.dropout) weight *= factors(head.place(i, j));
      }
      const float(&w)[4] = scores[0][n];
      const Split a[4] = {Split(w[0]), Split(w[2]), Split(w[1]), Split(w[3])};
      const float* const b = value_tile.row(8 * n + 2 * member) + group;
#pragma unroll
      for (int c = 0; c < dim / 8; ++c)
        multiply_split(state.output[0][c], a, Split(b[8 * c]), Split(b[8 * c + Tiling::pitch]));
    }
    __syncthreads();
  }

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float sum = state.sum[0][r];
    sum += __shfl_xor_sync(~0u, sum, 1);
    sum += __shfl_xor_sync(~0u, sum, 2);
    const float inverse = sum == 0 ? 0 : 1 / sum;
    const int row = warp_row + group + 8 * r;
    if (row >= rows) continue;
    float* const to = x.output.row(q.batch, h, q.first_query + first_row + row);
#pragma unroll
    for (int c = 0; c < dim / 8; ++c) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int d = 8 * c + 2 * member + e;
        if (d < p.value_dim) to[d * x.output.column_stride] = state.output[0][c][2 * r + e] * inverse;
      }
    }
    if (member == 0)
      *x.log_sum_exp.row(q.batch, h, q.first_query + first_row + row) = state.largest[0][r] * ln_2 + logf(sum);
  }
}

void forward_tf32(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                  const AttentionWorkspace& workspace, Stream stream) {
  const Problem p = problem_of(query, key, value, options);
  const int dim = std::max(p.head_dim, p.value_dim);
  if (query.dtype != Dtype::f32 || dim > 128 || log_sum_exp.size() == 0)
    return forward_mma(query, key, value, options, output, log_sum_exp, workspace, stream);
  const auto run = [&]<int width>() {
    using Tiling = Tf32Tiling<width>;
    launch_over("attention_forward", tiles_of_queries(p, options, Tiling::queries), p.heads, p, fma_threads,
                Tiling::shared_bytes, stream, &forward_tf32_kernel<Tiling>,
                forward_operands<float>(query, key, value, output, log_sum_exp));
  };
  if (dim <= 32) return run.template operator()<32>();
  if (dim <= 64) return run.template operator()<64>();
  run.template operator()<128>();
}

const Register tf32{attention_forward, DeviceType::cuda, "tf32x3", &forward_tf32};

}  // namespace
}  // namespace heed::kernels::attention
