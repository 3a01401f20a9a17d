// The backward pass in bf16 on tensor cores: the launches. What these kernels leave out (masks, ALiBi, softcap, dropout, rows
// that are not aligned, dimensions other than 32, 64 and 128) the plain multiply-adds do.
#include <algorithm>

#include "kernels/attention/cuda/backward_launch.h"
#include "kernels/attention/cuda/backward_mma_dquery.cuh"
#include "kernels/attention/cuda/paths.h"

namespace heed::kernels::attention {
namespace {

// With 128 columns a step of 64 queries takes more registers than there are.
template <int dim>
using Dkey = DkeyTiling<dim, dim == 128 ? 32 : 64>;
template <int dim>
using FiveProducts = DkeyTiling<dim, 64>;
template <int dim>
using Dquery = DqueryTiling<dim, 64>;

// dquery from its sums in f32, one thread an element.
__global__ void round_dquery(const Problem p, const Operand<BFloat16> dquery, const float* sums, std::int64_t count) {
  const std::int64_t index = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= count) return;
  const int column = static_cast<int>(index % p.head_dim);
  const std::int64_t row = index / p.head_dim, bh = row / p.queries;
  dquery.row(static_cast<int>(bh / p.heads), static_cast<int>(bh % p.heads), row % p.queries)[column] =
      BFloat16(sums[index] * p.scale);
}

template <class Tiling>
void set_steps(BackwardOperands<BFloat16>& x, const View& query, const View& key, const View& value,
               const View& doutput) {
  using QueryCopy = TileCopy<typename Tiling::QueryTile, Tiling::threads>;
  using KeyCopy = TileCopy<typename Tiling::KeyTile, Tiling::threads>;
  x.query_step = QueryCopy::step(query.strides[2]), x.doutput_step = QueryCopy::step(doutput.strides[2]);
  x.key_step = KeyCopy::step(key.strides[2]), x.value_step = KeyCopy::step(value.strides[2]);
}

template <bool five_products>
void backward(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
              View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue, const AttentionWorkspace& workspace,
              Stream stream) {
  const Problem p = problem_of(query, key, value, options);
  bool fits = query.dtype == Dtype::bf16 && p.is_plain() && p.head_dim == p.value_dim && log_sum_exp.size() > 0 &&
              key.size() > 0 && (p.head_dim == 32 || p.head_dim == 64 || p.head_dim == 128);
  for (const View& x : {query, key, value, doutput, dquery, dkey, dvalue}) fits = fits && rows_are_aligned(x);
  if (!fits) {
    return backward_fma(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue,
                        workspace, stream);
  }
  const char* const name = "attention_backward";
  auto x = backward_operands<BFloat16>(query, key, value, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey,
                                       dvalue, workspace);
  launch_delta(p, x, log_sum_exp.size(), stream);
  with_dim(p.head_dim, [&]<int dim>() {
    if constexpr (dim <= 128) {
      using KeyTiling = std::conditional_t<five_products, FiveProducts<dim>, Dkey<dim>>;
      float* sums = nullptr;
      const std::int64_t count = dquery.size();
      if constexpr (five_products) {
        sums = static_cast<float*>(workspace(count * std::int64_t{sizeof(float)}));
        cuda::check(cudaMemsetAsync(sums, 0, count * sizeof(float), cuda::native(stream)), name);
      }
      set_steps<KeyTiling>(x, query, key, value, doutput);
      launch_over(name, tiles_of_keys(p, options, KeyTiling::keys), p.key_heads, p, KeyTiling::threads,
                  KeyTiling::shared_bytes(five_products), stream, &dkey_mma<KeyTiling, five_products>, x, sums);
      if constexpr (five_products) {
        cuda::launch({name, dim3(cuda::blocks_for(count, 256)), dim3(256), 0, stream}, &round_dquery, p, x.dquery, sums,
                     count);
      } else {
        using Tiling = Dquery<dim>;
        set_steps<Tiling>(x, query, key, value, doutput);
        launch_over(name, tiles_of_queries(p, options, Tiling::queries), p.heads, p, Tiling::threads,
                    Tiling::shared_bytes, stream, &dquery_mma<Tiling>, x);
      }
    }
  });
}

}  // namespace

void backward_mma(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                  View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                  const AttentionWorkspace& workspace, Stream stream) {
  backward<false>(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue,
                  workspace, stream);
}

void backward_mma_atomic(View query, View key, View value, const AttentionOptions& options, View output,
                         View log_sum_exp, View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                         const AttentionWorkspace& workspace, Stream stream) {
  backward<true>(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue,
                 workspace, stream);
}

}  // namespace heed::kernels::attention
