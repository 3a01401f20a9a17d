// The backward pass in bf16 and f16 on tensor cores: which kernels serve which problem. Those of backward_mma.cuh want aligned rows of
// 32, 64 or 128 columns and neither masks nor ALiBi, softcap or dropout; the general ones take all else.
#include <algorithm>

#include "kernels/attention/cuda/backward_launch.h"
#include "kernels/attention/cuda/backward_mma_dquery.cuh"
#include "kernels/attention/cuda/backward_mma_general.cuh"
#include "kernels/attention/cuda/paths.h"

namespace heed::kernels::attention {
namespace {

// With 128 columns a step of 64 queries takes more registers than there are.
template <class T, int dim>
using Dkey = DkeyTiling<T, dim, dim == 128 ? 32 : 64>;
template <class T, int dim>
using FiveProducts = DkeyTiling<T, dim, 64>;
template <class T, int dim>
using Dquery = DqueryTiling<T, dim, 64>;

// With 256 columns two stages of passing rows are more shared memory than there is.
template <class T, int dim>
using General = GeneralTiling<T, dim, dim == 256 ? 8 : 4, dim >= 128 ? 32 : 64, dim == 256 ? 1 : 2>;

// dquery from its sums in f32, one thread an element.
template <class T>
__global__ void round_dquery(const Problem p, const Operand<T> dquery, const float* sums, std::int64_t count) {
  const std::int64_t index = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= count) return;
  const int column = static_cast<int>(index % p.head_dim);
  const std::int64_t row = index / p.head_dim, bh = row / p.queries;
  dquery.row(static_cast<int>(bh / p.heads), static_cast<int>(bh % p.heads), row % p.queries)[column] =
      T(sums[index] * p.scale);
}

template <class Tiling, class T>
void set_steps(BackwardOperands<T>& x) {
  using QueryCopy = TileCopy<typename Tiling::QueryTile, Tiling::threads>;
  using KeyCopy = TileCopy<typename Tiling::KeyTile, Tiling::threads>;
  x.query_step = QueryCopy::step(x.query.row_stride), x.doutput_step = QueryCopy::step(x.doutput.row_stride);
  x.key_step = KeyCopy::step(x.key.row_stride), x.value_step = KeyCopy::step(x.value.row_stride);
}

template <class T, int dim>
void backward_plain(const Problem& p, const AttentionOptions& o, BackwardOperands<T> x, Stream stream) {
  using KeyTiling = Dkey<T, dim>;
  using QueryTiling = Dquery<T, dim>;
  set_steps<KeyTiling>(x);
  launch_over(backward_name, tiles_of_keys(p, o, KeyTiling::keys), p.key_heads, p, KeyTiling::threads,
              KeyTiling::shared_bytes(false), stream, &dkey_mma<KeyTiling, false>, x, nullptr);
  set_steps<QueryTiling>(x);
  launch_over(backward_name, tiles_of_queries(p, o, QueryTiling::queries), p.heads, p, QueryTiling::threads,
              QueryTiling::shared_bytes, stream, &dquery_mma<QueryTiling>, x);
}

template <class T, int dim>
void backward_atomic(const Problem& p, const AttentionOptions& o, BackwardOperands<T> x, std::int64_t count,
                     const AttentionWorkspace& workspace, Stream stream) {
  using Tiling = FiveProducts<T, dim>;
  float* const sums = static_cast<float*>(workspace(count * std::int64_t{sizeof(float)}));
  cuda::check(cudaMemsetAsync(sums, 0, count * sizeof(float), cuda::native(stream)), backward_name);
  set_steps<Tiling>(x);
  launch_over(backward_name, tiles_of_keys(p, o, Tiling::keys), p.key_heads, p, Tiling::threads,
              Tiling::shared_bytes(true), stream, &dkey_mma<Tiling, true>, x, sums);
  cuda::launch({backward_name, dim3(cuda::blocks_for(count, 256)), dim3(256), 0, stream}, &round_dquery<T>, p, x.dquery,
               sums, count);
}

enum class Path { plain, atomic, general };

template <class T, Path wanted>
void backward_of(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                 View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                 const AttentionWorkspace& workspace, Stream stream) {
  const Problem p = problem_of(query, key, value, options);
  const auto x = backward_operands<T>(query, key, value, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey,
                                      dvalue, workspace);
  launch_delta(p, x, log_sum_exp.size(), stream);
  const bool aligned = all_rows_are_aligned({query, key, value, doutput, dquery, dkey, dvalue});
  const bool is_plain = aligned && p.is_plain() && log_sum_exp.size() > 0 && key.size() > 0;
  with_dim(std::max(p.head_dim, p.value_dim), [&]<int dim>() {
    if constexpr (dim <= 128 && wanted != Path::general) {
      if (is_plain && p.head_dim == dim && p.value_dim == dim) {
        if constexpr (wanted == Path::plain) backward_plain<T, dim>(p, options, x, stream);
        if constexpr (wanted == Path::atomic) backward_atomic<T, dim>(p, options, x, dquery.size(), workspace, stream);
        return;
      }
    }
    launch_general<General<T, dim>>(p, options, x, aligned, stream);
  });
}

// In f16 the other paths are not there: the plain one takes its problems too.
template <Path wanted>
constexpr auto backward = [](View query, auto&&... arguments) {
  const auto run = query.dtype == Dtype::bf16  ? &backward_of<BFloat16, wanted>
                   : query.dtype == Dtype::f16 ? &backward_of<Float16, Path::plain>
                                               : &backward_fma;
  run(query, arguments...);
};

}  // namespace

void backward_mma(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                  View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                  const AttentionWorkspace& workspace, Stream stream) {
  backward<Path::plain>(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue,
                        workspace, stream);
}

void backward_mma_atomic(View query, View key, View value, const AttentionOptions& options, View output,
                         View log_sum_exp, View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                         const AttentionWorkspace& workspace, Stream stream) {
  backward<Path::atomic>(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue,
                         workspace, stream);
}

void backward_mma_pipelined(View query, View key, View value, const AttentionOptions& options, View output,
                            View log_sum_exp, View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                            const AttentionWorkspace& workspace, Stream stream) {
  backward<Path::general>(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue,
                          workspace, stream);
}

}  // namespace heed::kernels::attention
