// The forward pass in bf16 and f16: which tiling serves which dimension.
#include <algorithm>

#include "kernels/attention/cuda/forward_mma_general.cuh"
#include "kernels/attention/cuda/launch.h"
#include "kernels/attention/cuda/paths.h"

namespace heed::kernels::attention {
namespace {

// Four warps of 32 queries share every load of K and V between two row tiles; at 128 columns that takes more registers than
// there are, so eight warps of 16 take over. NOTES.md has the figures.
template <class T, int dim>
struct Production;
template <class T>
struct Production<T, 32> {
  using Plain = ForwardTiling<T, 32, 4, 2, 64, 2, true>;
  using General = GeneralForwardTiling<T, 32, 4, 64, 2>;
};
template <class T>
struct Production<T, 64> {
  using Plain = ForwardTiling<T, 64, 4, 2, 96, 2, false>;
  using General = GeneralForwardTiling<T, 64, 4, 64, 2>;
};
template <class T>
struct Production<T, 128> {
  using Plain = ForwardTiling<T, 128, 8, 1, 128, 1, false>;
  using General = GeneralForwardTiling<T, 128, 4, 32, 2>;
};
template <class T>
struct Production<T, 256> {
  using Plain = ForwardTiling<T, 256, 8, 1, 64, 1, false>;
  using General = GeneralForwardTiling<T, 256, 8, 32, 2>;
};

template <class T>
void forward_of(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                const AttentionWorkspace& workspace, Stream stream) {
  const Problem p = problem_of(query, key, value, options);
  ForwardOperands<T> x{forward_operands<T>(query, key, value, output, log_sum_exp)};
  const bool aligned = all_rows_are_aligned({query, key, value, output});
  with_dim(std::max(p.head_dim, p.value_dim), [&]<int dim>() {
    using Plain = typename Production<T, dim>::Plain;
    using General = typename Production<T, dim>::General;
    const int tiles = tiles_of_queries(p, options, General::queries), splits = splits_for(p, options, tiles);
    if (splits == 1 && p.is_plain() && aligned && p.head_dim == dim && p.value_dim == dim) {
      x.query_step = TileCopy<typename Plain::QueryTile, Plain::threads>::step(query.strides[2]);
      x.key_step = TileCopy<typename Plain::KeyTile, Plain::threads>::step(key.strides[2]);
      x.value_step = TileCopy<typename Plain::KeyTile, Plain::threads>::step(value.strides[2]);
      launch_over("attention_forward", tiles_of_queries(p, options, Plain::queries), p.heads, p, Plain::threads,
                  Plain::shared_bytes, stream, &forward_mma_kernel<Plain>, x);
    } else {
      const Shares shares = shares_for(p, splits, log_sum_exp.size(), workspace);
      launch_over("attention_forward", tiles * splits, p.heads, p, General::threads, General::shared_bytes, stream,
                  &forward_mma_general_kernel<General>, x, aligned, shares);
      launch_combine<T>(p, x, shares, stream);
    }
  });
}

}  // namespace

void forward_mma(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                 const AttentionWorkspace& workspace, Stream stream) {
  if (log_sum_exp.size() == 0) return;
  const auto run = query.dtype == Dtype::bf16  ? &forward_of<BFloat16>
                   : query.dtype == Dtype::f16 ? &forward_of<Float16>
                                               : &forward_fma;
  run(query, key, value, options, output, log_sum_exp, workspace, stream);
}

}  // namespace heed::kernels::attention
