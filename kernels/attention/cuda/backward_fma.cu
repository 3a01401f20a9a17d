// The backward pass by plain multiply-adds: the launches.
#include <algorithm>

#include "kernels/attention/cuda/backward_fma.cuh"
#include "kernels/attention/cuda/backward_launch.h"
#include "kernels/attention/cuda/paths.h"

namespace heed::kernels::attention {
namespace {

template <class T>
void backward_of(const Problem& p, const AttentionOptions& o, const BackwardOperands<T>& x, Stream stream) {
  with_dim(std::max(p.head_dim, p.value_dim), [&]<int dim>() {
    using Tiling = BackwardFmaTiling<dim>;
    launch_over("attention_backward", tiles_of_keys(p, o, Tiling::keys), p.key_heads, p, fma_threads,
                Tiling::shared_bytes, stream, &dkey_fma_kernel<T, Tiling>, x);
    launch_over("attention_backward", tiles_of_queries(p, o, Tiling::queries), p.heads, p, fma_threads,
                Tiling::shared_bytes, stream, &dquery_fma_kernel<T, Tiling>, x);
  });
}

}  // namespace

void backward_fma(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                  View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                  const AttentionWorkspace& workspace, Stream stream) {
  if (query.dtype == Dtype::f16) {
    return backward_mma(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue,
                        workspace, stream);
  }
  const Problem p = problem_of(query, key, value, options);
  const auto run = [&]<class T>() {
    const auto x = backward_operands<T>(query, key, value, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey,
                                        dvalue, workspace);
    launch_delta(p, x, log_sum_exp.size(), stream);
    backward_of(p, options, x, stream);
  };
  if (query.dtype == Dtype::f32) return run.template operator()<float>();
  run.template operator()<BFloat16>();
}

}  // namespace heed::kernels::attention
