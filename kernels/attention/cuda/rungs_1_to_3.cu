// The forward ladder's first rungs, in f32 arithmetic for both dtypes and with all features; NOTES.md says what each teaches.
//   1  naive   three kernels, a thread an element: scores to memory, weights in their place, output
//   2  tiled   the same three, the products by tiles in shared memory, a warp a row for the softmax
//   3  fa1     one kernel that never holds all scores: keys in the outer loop, as in the first FlashAttention
#include <algorithm>

#include "kernels/attention/cuda/fma_tile.cuh"
#include "kernels/attention/cuda/forward_operands.cuh"
#include "kernels/attention/cuda/launch.h"
#include "kernels/attention/cuda/paths.h"
#include "kernels/attention/cuda/scores.cuh"

namespace heed::kernels::attention {
namespace {

constexpr int naive_threads = 256;

// ---- 1: naive

template <class T>
__global__ void naive_scores(const Problem p, const ForwardOf<T> x, float* scores) {
  const int h = blockIdx.y, s = p.first_sequence + blockIdx.z;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& q = head.sequence;
  const std::int64_t index = std::int64_t{blockIdx.x} * naive_threads + threadIdx.x;
  const int i = q.keys == 0 ? q.queries : static_cast<int>(index / q.keys),
            j = static_cast<int>(index - std::int64_t{i} * q.keys);
  if (i >= q.queries) return;
  const T* const query = x.query.row(q.batch, h, q.first_query + i);
  const T* const key = x.key.row(q.batch, h / p.group, q.first_key + j);
  float product = 0;
  for (int d = 0; d < p.head_dim; ++d)
    product += static_cast<float>(query[d * x.query.column_stride]) * static_cast<float>(key[d * x.key.column_stride]);
  scores[head.place(i, j)] = head.score(p.scale * product, i, j);
}

// A thread a row: from scores to weights, with dropout.
template <class T>
__global__ void naive_softmax(const Problem p, const ForwardOf<T> x, float* scores) {
  const int h = blockIdx.y, s = p.first_sequence + blockIdx.z;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& q = head.sequence;
  const int i = blockIdx.x * naive_threads + threadIdx.x;
  if (i >= q.queries) return;
  float* const row = scores + head.place(i, 0);
  float largest = -INFINITY;
  double total = 0;  // one thread adds them all up, one by one
  for (int j = 0; j < q.keys; ++j) largest = fmaxf(largest, row[j]);
  const float from = largest == -INFINITY ? 0 : largest;
  for (int j = 0; j < q.keys; ++j) total += row[j] = expf(row[j] - from);
  DropoutFactors factors(p);
  const float sum = static_cast<float>(total), inverse = sum == 0 ? 0 : 1 / sum;
  for (int j = 0; j < q.keys; ++j) row[j] *= inverse * (p.dropout ? factors(head.place(i, j)) : 1);
  *x.log_sum_exp.row(q.batch, h, q.first_query + i) = from + logf(sum);
}

template <class T>
__global__ void naive_output(const Problem p, const ForwardOf<T> x, const float* weights) {
  const int h = blockIdx.y, s = p.first_sequence + blockIdx.z;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& q = head.sequence;
  const std::int64_t index = std::int64_t{blockIdx.x} * naive_threads + threadIdx.x;
  const int i = static_cast<int>(index / p.value_dim), d = static_cast<int>(index % p.value_dim);
  if (i >= q.queries) return;
  const float* const row = weights + head.place(i, 0);
  float sum = 0;
  for (int j = 0; j < q.keys; ++j)
    sum += row[j] * static_cast<float>(x.value.row(q.batch, h / p.group, q.first_key + j)[d * x.value.column_stride]);
  x.output.row(q.batch, h, q.first_query + i)[d * x.output.column_stride] = static_cast<T>(sum);
}

// ---- 2: tiled

template <class T, class Tiling>
__global__ __launch_bounds__(fma_threads, 1) void tiled_scores(const Problem p, const ForwardOf<T> x, float* scores,
                                                               int row_tiles) {
  constexpr int m = Tiling::m, n = Tiling::n, queries = Tiling::queries, keys = Tiling::keys;
  extern __shared__ __align__(16) float shared_floats[];
  const FloatTile query_tile{shared_floats, Tiling::pitch}, key_tile{query_tile.row(queries), Tiling::pitch};
  const int h = blockIdx.y, s = p.first_sequence + blockIdx.z;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& q = head.sequence;
  const int first_row = blockIdx.x % row_tiles * queries, first_key = blockIdx.x / row_tiles * keys;
  if (first_row >= q.queries || first_key >= q.keys) return;
  load_floats<queries, Tiling::dim>(query_tile, x.query, x.query.row(q.batch, h, q.first_query + first_row),
                                    q.queries - first_row, p.head_dim);
  load_floats<keys, Tiling::dim>(key_tile, x.key, x.key.row(q.batch, h / p.group, q.first_key + first_key),
                                 q.keys - first_key, p.head_dim);
  __syncthreads();
  float products[m][n];
  multiply_rows<Tiling::dim>(products, query_tile, key_tile);
#pragma unroll
  for (int r = 0; r < m; ++r) {
    const int i = first_row + thread_y() * m + r;
#pragma unroll
    for (int c = 0; c < n; ++c) {
      const int j = first_key + thread_x() + 16 * c;
      if (i < q.queries && j < q.keys) scores[head.place(i, j)] = head.score(p.scale * products[r][c], i, j);
    }
  }
}

// A warp a row.
template <class T>
__global__ void tiled_softmax(const Problem p, const ForwardOf<T> x, float* scores) {
  const int h = blockIdx.y, s = p.first_sequence + blockIdx.z, lane = threadIdx.x % 32;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& q = head.sequence;
  const int i = blockIdx.x * (naive_threads / 32) + threadIdx.x / 32;
  if (i >= q.queries) return;
  float* const row = scores + head.place(i, 0);
  float largest = -INFINITY, sum = 0;
  for (int j = lane; j < q.keys; j += 32) largest = fmaxf(largest, row[j]);
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, mask));
  const float from = largest == -INFINITY ? 0 : largest;
  for (int j = lane; j < q.keys; j += 32) sum += row[j] = expf(row[j] - from);
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(~0u, sum, mask);
  DropoutFactors factors(p);
  const float inverse = sum == 0 ? 0 : 1 / sum;
  for (int j = lane; j < q.keys; j += 32) row[j] *= inverse * (p.dropout ? factors(head.place(i, j)) : 1);
  if (lane == 0) *x.log_sum_exp.row(q.batch, h, q.first_query + i) = from + logf(sum);
}

template <class T, class Tiling>
__global__ __launch_bounds__(fma_threads, 1) void tiled_output(const Problem p, const ForwardOf<T> x,
                                                               const float* weights) {
  constexpr int dim = Tiling::dim, queries = Tiling::queries, keys = Tiling::keys;
  extern __shared__ __align__(16) float shared_floats[];
  const FloatTile value_tile{shared_floats, dim}, weights_tile{value_tile.row(keys), Tiling::weights_pitch};
  const int h = blockIdx.y, s = p.first_sequence + blockIdx.z, first_row = blockIdx.x * queries;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& q = head.sequence;
  if (first_row >= q.queries) return;
  const Operand<const float> all{weights, 0, 0, p.keys, 1};
  float output[Tiling::m][dim / 16] = {};
  for (int first_key = 0; first_key < q.keys; first_key += keys) {
    load_floats<queries, keys>(weights_tile, all, weights + head.place(first_row, first_key), q.queries - first_row,
                               q.keys - first_key);
    load_floats<keys, dim>(value_tile, x.value, x.value.row(q.batch, h / p.group, q.first_key + first_key),
                           q.keys - first_key, p.value_dim);
    __syncthreads();
    add_product<dim, keys>(output, weights_tile, value_tile);
    __syncthreads();
  }
  store_rows<dim>(x.output, x.output.row(q.batch, h, q.first_query + first_row), output, 1, q.queries - first_row,
                  p.value_dim);
}

// ---- 3: keys in the outer loop

// A block a head. Output, maximum and sum of every query so far lie in memory and are read and written once a step of keys.
template <class T, class Tiling>
__global__ __launch_bounds__(fma_threads, 1) void fa1_kernel(const Problem p, const ForwardOf<T> x, float* outputs,
                                                             float2* states) {
  constexpr int dim = Tiling::dim, m = Tiling::m, n = Tiling::n, queries = Tiling::queries, keys = Tiling::keys;
  extern __shared__ __align__(16) float shared_floats[];
  const FloatTile query_tile{shared_floats, Tiling::pitch};
  const FloatTile key_tile{query_tile.row(queries), Tiling::pitch};
  const FloatTile value_tile{key_tile.row(keys), dim};
  const FloatTile weights_tile{value_tile.row(keys), Tiling::weights_pitch};
  const int h = blockIdx.y, s = p.first_sequence + blockIdx.z;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& q = head.sequence;
  const std::int64_t first = (std::int64_t{q.batch} * p.heads + h) * p.queries + q.first_query;
  for (int first_key = 0; first_key == 0 || first_key < q.keys; first_key += keys) {
    load_floats<keys, dim>(key_tile, x.key, x.key.row(q.batch, h / p.group, q.first_key + first_key),
                           q.keys - first_key, p.head_dim);
    load_floats<keys, dim>(value_tile, x.value, x.value.row(q.batch, h / p.group, q.first_key + first_key),
                           q.keys - first_key, p.value_dim);
    for (int first_row = 0; first_row < q.queries; first_row += queries) {
      load_floats<queries, dim>(query_tile, x.query, x.query.row(q.batch, h, q.first_query + first_row),
                                q.queries - first_row, p.head_dim);
      __syncthreads();
      float scores[m][n], output[m][dim / 16] = {};
      multiply_rows<dim>(scores, query_tile, key_tile);
      DropoutFactors factors(p);
#pragma unroll
      for (int r = 0; r < m; ++r) {
        const int i = first_row + thread_y() * m + r;
        const bool there = i < q.queries;
        const float2 before = there && first_key > 0 ? states[first + i] : make_float2(-INFINITY, 0);
        float most = before.x, sum = 0;
#pragma unroll
        for (int j = 0; j < n; ++j) {
          scores[r][j] = head.score(p.scale * scores[r][j], i, first_key + thread_x() + 16 * j);
          most = fmaxf(most, scores[r][j]);
        }
        most = row_max(most);
        const float from = most == -INFINITY ? 0 : most, correction = expf(before.x - from);
#pragma unroll
        for (int j = 0; j < n; ++j) {
          scores[r][j] = expf(scores[r][j] - from);
          sum += scores[r][j];
          if (p.dropout) scores[r][j] *= factors(head.place(i, first_key + thread_x() + 16 * j));
        }
        sum = row_sum(sum) + before.y * correction;
        __syncwarp();
        if (there && thread_x() == 0) states[first + i] = make_float2(most, sum);
#pragma unroll
        for (int c = 0; c < dim / 16; ++c)
          if (there && first_key > 0) output[r][c] = correction * outputs[(first + i) * dim + fma_column<dim>(c)];
      }
      store_tile(weights_tile, scores);
      __syncthreads();
      add_product<dim, keys>(output, weights_tile, value_tile);
      const bool last = first_key + keys >= q.keys;
#pragma unroll
      for (int r = 0; r < m; ++r) {
        const int i = first_row + thread_y() * m + r;
        if (i >= q.queries) continue;
        const float2 state = states[first + i];
        const float factor = !last ? 1 : state.y == 0 ? 0 : 1 / state.y;
#pragma unroll
        for (int c = 0; c < dim / 16; ++c) {
          const int column = fma_column<dim>(c);
          if (!last) outputs[(first + i) * dim + column] = output[r][c];
          if (last && column < p.value_dim)
            x.output.row(q.batch, h, q.first_query + i)[column * x.output.column_stride] =
                static_cast<T>(output[r][c] * factor);
        }
        if (last && thread_x() == 0) {
          const float from = state.x == -INFINITY ? 0 : state.x;
          *x.log_sum_exp.row(q.batch, h, q.first_query + i) = from + logf(state.y);
        }
      }
      __syncthreads();
    }
  }
}

// ---- launches

enum class Rung { naive, tiled, fa1 };

template <Rung rung, class T>
void run(const Problem& p, const AttentionOptions& o, const ForwardOf<T>& x, const AttentionWorkspace& workspace,
         std::int64_t rows, Stream stream) {
  const char* const name = "attention_forward";
  const auto floats = [&](std::int64_t count) {
    return static_cast<float*>(workspace(std::max<std::int64_t>(count, 1) * std::int64_t{sizeof(float)}));
  };
  const std::int64_t longest_queries = o.packed() ? o.longest_queries : p.queries;
  const std::int64_t longest_keys = o.packed() ? o.longest_keys : p.keys;
  const auto tiles = [](std::int64_t count, std::int64_t of) { return static_cast<int>(cuda::divide_up(count, of)); };
  if constexpr (rung == Rung::naive) {
    float* const scores = floats(rows * p.keys);
    launch_over(name, tiles(longest_queries * longest_keys, naive_threads), p.heads, p, naive_threads, 0, stream,
                &naive_scores<T>, x, scores);
    launch_over(name, tiles(longest_queries, naive_threads), p.heads, p, naive_threads, 0, stream, &naive_softmax<T>, x,
                scores);
    launch_over(name, tiles(longest_queries * p.value_dim, naive_threads), p.heads, p, naive_threads, 0, stream,
                &naive_output<T>, x, scores);
    return;
  }
  with_dim(std::max(p.head_dim, p.value_dim), [&]<int dim>() {
    using Tiling = ForwardFmaTiling<dim>;
    const int row_tiles = tiles(longest_queries, Tiling::queries);
    if constexpr (rung == Rung::tiled) {
      float* const scores = floats(rows * p.keys);
      launch_over(name, row_tiles * tiles(longest_keys, Tiling::keys), p.heads, p, fma_threads, Tiling::shared_bytes,
                  stream, &tiled_scores<T, Tiling>, x, scores, row_tiles);
      launch_over(name, tiles(longest_queries, naive_threads / 32), p.heads, p, naive_threads, 0, stream,
                  &tiled_softmax<T>, x, scores);
      launch_over(name, row_tiles, p.heads, p, fma_threads, Tiling::shared_bytes, stream, &tiled_output<T, Tiling>, x,
                  scores);
    } else {
      float* const outputs = floats(rows * dim);
      launch_over(name, 1, p.heads, p, fma_threads, Tiling::shared_bytes, stream, &fa1_kernel<T, Tiling>, x, outputs,
                  reinterpret_cast<float2*>(floats(2 * rows)));
    }
  });
}

template <Rung rung>
void forward(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
             const AttentionWorkspace& workspace, Stream stream) {
  if (log_sum_exp.size() == 0) return;
  if (query.dtype == Dtype::f16) return forward_mma(query, key, value, options, output, log_sum_exp, workspace, stream);
  const Problem p = problem_of(query, key, value, options);
  const auto of = [&]<class T>() {
    run<rung>(p, options, forward_operands<T>(query, key, value, output, log_sum_exp), workspace, log_sum_exp.size(),
              stream);
  };
  if (query.dtype == Dtype::f32) return of.template operator()<float>();
  of.template operator()<BFloat16>();
}

const Register naive{attention_forward, DeviceType::cuda, "naive", &forward<Rung::naive>};
const Register tiled{attention_forward, DeviceType::cuda, "tiled", &forward<Rung::tiled>};
const Register fa1{attention_forward, DeviceType::cuda, "fa1", &forward<Rung::fa1>};

}  // namespace
}  // namespace heed::kernels::attention
