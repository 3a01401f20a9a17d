// The gradient of an added mask in bf16 and f16 on tensor cores.
#include <algorithm>

#include "kernels/attention/cuda/backward_mma_general.cuh"
#include "kernels/attention/cuda/mask_gradient.cuh"
#include "kernels/attention/cuda/paths.h"

namespace heed::kernels::attention {
namespace {

// The tiles of dquery_mma_general, and in their place, at the end, the sums.
template <class T, int dim>
struct MaskTiling : GeneralTiling<T, dim, dim == 256 ? 8 : 4, dim == 256 ? 32 : 64, 1> {
  using Base = GeneralTiling<T, dim, dim == 256 ? 8 : 4, dim == 256 ? 32 : 64, 1>;
  static constexpr int pitch = Base::step + 4;
  static constexpr int shared_bytes = std::max(Base::shared_bytes, Base::rows* pitch * 4);
};

template <class Tiling>
__global__ __launch_bounds__(Tiling::threads,
                             1) void mask_gradient_mma_kernel(const Problem p,
                                                              const BackwardOperands<typename Tiling::Element> x,
                                                              const Operand<float> dmask, int batches, int row_tiles,
                                                              bool aligned) {
  using OwnTile = typename Tiling::OwnTile;
  using PassingTile = typename Tiling::PassingTile;
  constexpr int queries = Tiling::rows, keys = Tiling::step, threads = Tiling::threads;
  using Bits = WeightBits<queries, keys>;
  extern __shared__ __align__(1024) unsigned char shared[];
  const std::uint32_t own = cuda::shared_address(shared), passing = own + 2 * OwnTile::bytes;
  auto* const kept = reinterpret_cast<std::uint32_t*>(shared + 2 * OwnTile::bytes + Tiling::kept);
  const int lane = threadIdx.x % 32, own_query = threadIdx.x / 32 * 16 + lane / 4, own_key = lane % 4 * 2;
  const MaskTile<queries, keys> tile(p, row_tiles);
  float sums[keys / 8][4] = {};
  tile.visit(p, dmask, batches, [&](int b, int h, int first_row, int first_key) {
    const int g = p.group == 1 ? h : p.key_head(h), rows = p.queries - first_row, columns = p.keys - first_key;
    load_tile<OwnTile, threads>(own, x.query, x.query.row(b, h, first_row), rows, p.head_dim, aligned);
    load_tile<OwnTile, threads>(own + OwnTile::bytes, x.doutput, x.doutput.row(b, h, first_row), rows, p.value_dim,
                                aligned);
    load_tile<PassingTile, threads>(passing, x.key, x.key.row(b, g, first_key), columns, p.head_dim, aligned);
    load_tile<PassingTile, threads>(passing + PassingTile::bytes, x.value, x.value.row(b, g, first_key), columns,
                                    p.value_dim, aligned);
    float2 statistics[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = own_query + 8 * r;
      statistics[r] = row < rows ? x.statistics_of(p, b, h, first_row)[row] : make_float2(INFINITY, 0);
    }
    cuda::wait_copies<0>();
    __syncthreads();
    visit_sequences<queries, keys>(p, b, h, first_row, first_key, [&](const Head& head, int i, int j) {
      Bits::template load<threads>(kept, head, i, j);  // a mask with a gradient is not boolean: dropout's alone
      if (p.dropout) __syncthreads();
      float weights[1][keys / 8][4] = {}, dscores[1][keys / 8][4] = {};
      const std::uint32_t rows_at = own_rows<Tiling>(own), columns_at = PassingTile::by_columns(passing, lane);
      multiply_tiles<OwnTile, PassingTile>(weights, rows_at, columns_at);
      multiply_tiles<OwnTile, PassingTile>(dscores, rows_at + OwnTile::bytes, columns_at + PassingTile::bytes);
      finish_gradients<false, false>(
          weights, dscores, head, i + own_query, j + own_key, false, [&](int, int e) { return statistics[e / 2]; },
          Bits::allowed_bits,
          [&](int n, int e, int on) {
            const std::uint32_t word = kept[(own_query + e / 2 * 8) * Bits::words + n / 4 + on];
            return (word >> (8 * n + own_key + e % 2) % 32 & 1) != 0;
          });
#pragma unroll
      for (int n = 0; n < keys / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) sums[n][e] += dscores[0][n][e];
      }
      if (p.dropout) __syncthreads();
    });
    __syncthreads();
  });
  const FloatTile all{reinterpret_cast<float*>(shared), Tiling::pitch};
#pragma unroll
  for (int n = 0; n < keys / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) all.row(own_query + e / 2 * 8)[8 * n + own_key + e % 2] = sums[n][e];
  }
  __syncthreads();
  tile.store(p, dmask, all);
}

template <class T>
void mask_gradient_of(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                      View doutput, View dlog_sum_exp, View dmask, const AttentionWorkspace& workspace, Stream stream) {
  if (dmask.size() == 0) return;
  const Problem p = problem_of(query, key, value, options);
  const auto x =
      backward_operands<T>(query, key, value, output, log_sum_exp, doutput, dlog_sum_exp, {}, {}, {}, workspace);
  launch_delta(p, x, log_sum_exp.size(), stream);
  with_dim(std::max(p.head_dim, p.value_dim), [&]<int dim>() {
    using Tiling = MaskTiling<T, dim>;
    MaskTile<Tiling::rows, Tiling::step>::template launch<T>(p, query, x, dmask, Tiling::threads, Tiling::shared_bytes,
                                                             stream, &mask_gradient_mma_kernel<Tiling>,
                                                             all_rows_are_aligned({query, key, value, doutput}));
  });
}

}  // namespace

void mask_gradient_mma(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                       View doutput, View dlog_sum_exp, View dmask, const AttentionWorkspace& workspace,
                       Stream stream) {
  const auto run = query.dtype == Dtype::bf16  ? &mask_gradient_of<BFloat16>
                   : query.dtype == Dtype::f16 ? &mask_gradient_of<Float16>
                                               : &mask_gradient_fma;
  run(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dmask, workspace, stream);
}

}  // namespace heed::kernels::attention
