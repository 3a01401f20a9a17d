// The backward ladder's first rung: weights and their gradients lie in memory, whole, and a thread makes each element of a
// result from them. f32 arithmetic for both dtypes, all features.
#include <algorithm>

#include "kernels/attention/cuda/backward_launch.h"
#include "kernels/attention/cuda/paths.h"
#include "kernels/attention/cuda/scores.cuh"

namespace heed::kernels::attention {
namespace {

constexpr int naive_threads = 256;

template <class T>
__device__ float dot(const T* a, std::int64_t a_stride, const T* b, std::int64_t b_stride, int count) {
  float sum = 0;
  for (int d = 0; d < count; ++d) sum += static_cast<float>(a[d * a_stride]) * static_cast<float>(b[d * b_stride]);
  return sum;
}

// A thread a score: the weight times its dropout factor, and the gradient of the product.
template <class T>
__global__ void naive_gradients(const Problem p, const BackwardOperands<T> x, float* weights, float* dproducts) {
  const int h = blockIdx.y, s = p.first_sequence + blockIdx.z, g = h / p.group;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& q = head.sequence;
  const std::int64_t index = std::int64_t{blockIdx.x} * naive_threads + threadIdx.x;
  if (index >= std::int64_t{q.queries} * q.keys) return;
  const int i = static_cast<int>(index / q.keys), j = static_cast<int>(index % q.keys);
  const std::int64_t row = q.first_query + i, key_row = q.first_key + j;
  const float product = p.scale * dot(x.query.row(q.batch, h, row), x.query.column_stride,
                                      x.key.row(q.batch, g, key_row), x.key.column_stride, p.head_dim);
  const float dweight = dot(x.doutput.row(q.batch, h, row), x.doutput.column_stride, x.value.row(q.batch, g, key_row),
                            x.value.column_stride, p.value_dim);
  const float score = head.score(product, i, j), lse = *x.log_sum_exp.row(q.batch, h, row);
  const float delta = x.statistics_of(p, q.batch, h, row)->y;
  DropoutFactors factors(p);
  const float weight = Head::weight(score, lse), factor = p.dropout ? factors(head.place(i, j)) : 1;
  weights[head.place(i, j)] = weight * factor;
  dproducts[head.place(i, j)] = score == -INFINITY ? 0 : weight * (dweight * factor - delta) * head.cap_slope(product);
}

// A thread an element: dquery[i, d] = scale sum_j dproducts[i, j] key[j, d].
template <class T>
__global__ void naive_dquery(const Problem p, const BackwardOperands<T> x, const float* dproducts) {
  const int h = blockIdx.y, s = p.first_sequence + blockIdx.z, g = h / p.group;
  const Head head(p, p.sequence(s), s, h);
  const Sequence& q = head.sequence;
  const std::int64_t index = std::int64_t{blockIdx.x} * naive_threads + threadIdx.x;
  const int i = static_cast<int>(index / p.head_dim), d = static_cast<int>(index % p.head_dim);
  if (i >= q.queries) return;
  float sum = 0;
  for (int j = 0; j < q.keys; ++j)
    sum += dproducts[head.place(i, j)] *
           static_cast<float>(x.key.row(q.batch, g, q.first_key + j)[d * x.key.column_stride]);
  x.dquery.row(q.batch, h, q.first_query + i)[d * x.dquery.column_stride] = static_cast<T>(p.scale * sum);
}

// A thread an element: result[j, d] = factor sum_i scores[i, j] rows[i, d], over all heads of the group.
template <class T>
__global__ void naive_dkey(const Problem p, const Operand<const T> rows, const Operand<T> result, const float* scores,
                           int columns, float factor) {
  const int g = blockIdx.y, s = p.first_sequence + blockIdx.z;
  const Sequence q = p.sequence(s);
  const std::int64_t index = std::int64_t{blockIdx.x} * naive_threads + threadIdx.x;
  const int j = static_cast<int>(index / columns), d = static_cast<int>(index % columns);
  if (j >= (p.key_starts != nullptr ? q.keys : p.keys)) return;
  float sum = 0;
  for (int h = g * p.group; h < (g + 1) * p.group && j < q.keys; ++h) {
    const Head head(p, q, s, h);
    for (int i = 0; i < q.queries; ++i)
      sum += scores[head.place(i, j)] *
             static_cast<float>(rows.row(q.batch, h, q.first_query + i)[d * rows.column_stride]);
  }
  result.row(q.batch, g, q.first_key + j)[d * result.column_stride] = static_cast<T>(factor * sum);
}

void backward_naive(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                    View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                    const AttentionWorkspace& workspace, Stream stream) {
  if (query.dtype == Dtype::f16) {
    return backward_mma(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue,
                        workspace, stream);
  }
  const char* const name = "attention_backward";
  const Problem p = problem_of(query, key, value, options);
  const std::int64_t queries = options.packed() ? options.longest_queries : p.queries;
  const std::int64_t keys = options.packed() ? options.longest_keys : p.keys;
  const auto tiles = [](std::int64_t count) {
    return static_cast<int>(cuda::divide_up(count, std::int64_t{naive_threads}));
  };
  const auto run = [&]<class T>() {
    const auto x = backward_operands<T>(query, key, value, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey,
                                        dvalue, workspace);
    launch_delta(p, x, log_sum_exp.size(), stream);
    const std::int64_t bytes = std::max<std::int64_t>(log_sum_exp.size() * p.keys, 1) * std::int64_t{sizeof(float)};
    float* const weights = static_cast<float*>(workspace(bytes));
    float* const dproducts = static_cast<float*>(workspace(bytes));
    launch_over(name, tiles(queries * keys), p.heads, p, naive_threads, 0, stream, &naive_gradients<T>, x, weights,
                dproducts);
    launch_over(name, tiles(queries * p.head_dim), p.heads, p, naive_threads, 0, stream, &naive_dquery<T>, x,
                dproducts);
    launch_over(name, tiles(keys * p.head_dim), p.key_heads, p, naive_threads, 0, stream, &naive_dkey<T>, x.query,
                x.dkey, dproducts, p.head_dim, p.scale);
    launch_over(name, tiles(keys * p.value_dim), p.key_heads, p, naive_threads, 0, stream, &naive_dkey<T>, x.doutput,
                x.dvalue, weights, p.value_dim, 1.0f);
  };
  if (query.dtype == Dtype::f32) return run.template operator()<float>();
  run.template operator()<BFloat16>();
}

const Register naive{attention_backward, DeviceType::cuda, "naive", &backward_naive};

}  // namespace
}  // namespace heed::kernels::attention
