// The gradient of an added mask by plain multiply-adds, in f32 for both dtypes.
#include <algorithm>

#include "kernels/attention/cuda/backward_fma.cuh"
#include "kernels/attention/cuda/mask_gradient.cuh"
#include "kernels/attention/cuda/paths.h"

namespace heed::kernels::attention {
namespace {

template <class Tiling, class T>
__device__ void add_head(float (&sums)[Tiling::m][Tiling::n], const BackwardTiles& tiles, const Problem& p,
                         const BackwardOperands<T>& x, int b, int h, int first_row, int first_key) {
  const int g = p.group == 1 ? h : p.key_head(h);
  load_floats<Tiling::queries, Tiling::dim>(tiles.query, x.query, x.query.row(b, h, first_row), p.queries - first_row,
                                            p.head_dim);
  load_floats<Tiling::queries, Tiling::dim>(tiles.doutput, x.doutput, x.doutput.row(b, h, first_row),
                                            p.queries - first_row, p.value_dim);
  load_floats<Tiling::keys, Tiling::dim>(tiles.key, x.key, x.key.row(b, g, first_key), p.keys - first_key, p.head_dim);
  load_floats<Tiling::keys, Tiling::dim>(tiles.value, x.value, x.value.row(b, g, first_key), p.keys - first_key,
                                         p.value_dim);
  load_statistics<Tiling>(tiles, p, x, b, h, first_row, p.queries - first_row);
  __syncthreads();
  visit_sequences<Tiling::queries, Tiling::keys>(p, b, h, first_row, first_key, [&](const Head& head, int i, int j) {
    float weights[Tiling::m][Tiling::n], dscores[Tiling::m][Tiling::n];
    score_gradients<Tiling, false>(tiles, p, head, i, j, weights, dscores);
#pragma unroll
    for (int r = 0; r < Tiling::m; ++r) {
#pragma unroll
      for (int c = 0; c < Tiling::n; ++c) sums[r][c] += dscores[r][c];
    }
  });
  __syncthreads();
}

template <class T, class Tiling>
__global__ __launch_bounds__(fma_threads, 1) void mask_gradient_kernel(const Problem p, const BackwardOperands<T> x,
                                                                       const Operand<float> dmask, int batches,
                                                                       int row_tiles, bool) {
  extern __shared__ __align__(16) float shared_floats[];
  const BackwardTiles tiles = backward_tiles<Tiling>(shared_floats);
  const MaskTile<Tiling::queries, Tiling::keys> tile(p, row_tiles);
  float sums[Tiling::m][Tiling::n] = {};
  tile.visit(p, dmask, batches, [&](int b, int h, int first_row, int first_key) {
    add_head<Tiling>(sums, tiles, p, x, b, h, first_row, first_key);
  });
  store_tile(tiles.dscores, sums);
  __syncthreads();
  tile.store(p, dmask, tiles.dscores);
}

}  // namespace

void mask_gradient_fma(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                       View doutput, View dlog_sum_exp, View dmask, const AttentionWorkspace& workspace,
                       Stream stream) {
  if (query.dtype == Dtype::f16) {
    return mask_gradient_mma(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dmask, workspace,
                             stream);
  }
  if (dmask.size() == 0) return;
  const Problem p = problem_of(query, key, value, options);
  const auto run = [&]<class T>() {
    const auto x =
        backward_operands<T>(query, key, value, output, log_sum_exp, doutput, dlog_sum_exp, {}, {}, {}, workspace);
    launch_delta(p, x, log_sum_exp.size(), stream);
    with_dim(std::max(p.head_dim, p.value_dim), [&]<int dim>() {
      using Tiling = BackwardFmaTiling<dim>;
      MaskTile<Tiling::queries, Tiling::keys>::template launch<T>(p, query, x, dmask, fma_threads, Tiling::shared_bytes,
                                                                  stream, &mask_gradient_kernel<T, Tiling>, false);
    });
  };
  if (query.dtype == Dtype::f32) return run.template operator()<float>();
  run.template operator()<BFloat16>();
}

}  // namespace heed::kernels::attention
