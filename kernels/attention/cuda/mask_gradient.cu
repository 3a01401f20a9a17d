// The gradient of an added mask, in f32 for both dtypes. A block has one tile of the mask as it lies in memory, and adds up all
// that share it, axis by axis, in a fixed order: what is broadcast is a loop in the block, not an atomic addition.
#include <algorithm>

#include "kernels/attention/cuda/backward_fma.cuh"
#include "kernels/attention/cuda/backward_launch.h"
#include "kernels/attention/cuda/paths.h"

namespace heed::kernels::attention {
namespace {

struct Range {
  int begin, end;
};

// The numbers along an axis of `length` that a block adds up: all if the axis is broadcast, else `own`.
__device__ Range summed(std::int64_t stride, int own, int length) {
  return stride == 0 ? Range{0, length} : Range{own, own + 1};
}

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
  const bool packed = p.query_starts != nullptr;
  for (int s = packed ? 0 : b; s < (packed ? p.sequences : b + 1); ++s) {
    const Head head(p, p.sequence(s), s, h);
    const Sequence& q = head.sequence;
    const int i = first_row - q.first_query, j = first_key - q.first_key;  // of the tile's corner
    const int first = max(i, 0), last = min(i + Tiling::queries, q.queries) - 1;
    if (first > last || j >= q.end(last) || j + Tiling::keys <= q.begin(first)) continue;
    float weights[Tiling::m][Tiling::n], dscores[Tiling::m][Tiling::n];
    score_gradients<Tiling, false>(tiles, p, head, i, j, weights, dscores);
#pragma unroll
    for (int r = 0; r < Tiling::m; ++r) {
#pragma unroll
      for (int c = 0; c < Tiling::n; ++c) sums[r][c] += dscores[r][c];
    }
  }
  __syncthreads();
}

// Writes a tile's sums, added up along broadcast rows and columns.
template <class Tiling>
__device__ void store_sums(const float (&sums)[Tiling::m][Tiling::n], const FloatTile& tile,
                           const Operand<float>& dmask, float* to, int rows, int columns) {
  const bool one_row = dmask.row_stride == 0, one_column = dmask.column_stride == 0;
  store_tile(tile, sums);
  __syncthreads();
  const int height = one_row ? 1 : min(rows, Tiling::queries), width = one_column ? 1 : min(columns, Tiling::keys);
  for (int index = threadIdx.x; index < height * width; index += fma_threads) {
    const int row = index / width, column = index % width;
    float sum = 0;
    for (int i = row; i < (one_row ? Tiling::queries : row + 1); ++i) {
      for (int j = column; j < (one_column ? Tiling::keys : column + 1); ++j) sum += tile.row(i)[j];
    }
    to[row * dmask.row_stride + column * dmask.column_stride] = sum;
  }
}

template <class T, class Tiling>
__global__ __launch_bounds__(fma_threads, 1) void mask_gradient_kernel(const Problem p, const BackwardOperands<T> x,
                                                                       const Operand<float> dmask, int batch,
                                                                       int row_tiles) {
  constexpr int queries = Tiling::queries, keys = Tiling::keys;
  extern __shared__ __align__(16) float shared_floats[];
  const BackwardTiles tiles = backward_tiles<Tiling>(shared_floats);
  const int own_row = blockIdx.x % row_tiles, own_column = blockIdx.x / row_tiles;
  const int own_head = blockIdx.y, own_batch = p.first_sequence + blockIdx.z;
  const Range batches = summed(dmask.batch_stride, own_batch, batch),
              heads = summed(dmask.head_stride, own_head, p.heads);
  const Range rows = summed(dmask.row_stride, own_row, (p.queries + queries - 1) / queries);
  const Range columns = summed(dmask.column_stride, own_column, (p.keys + keys - 1) / keys);
  float sums[Tiling::m][Tiling::n] = {};
  for (int b = batches.begin; b < batches.end; ++b) {
    for (int h = heads.begin; h < heads.end; ++h) {
      for (int i = rows.begin; i < rows.end; ++i) {
        for (int j = columns.begin; j < columns.end; ++j)
          add_head<Tiling>(sums, tiles, p, x, b, h, i * queries, j * keys);
      }
    }
  }
  float* const to = dmask.row(own_batch, own_head, own_row * queries) + own_column * keys * dmask.column_stride;
  store_sums<Tiling>(sums, tiles.dscores, dmask, to, p.queries - own_row * queries, p.keys - own_column * keys);
}

}  // namespace

void mask_gradient_fma(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                       View doutput, View dlog_sum_exp, View dmask, const AttentionWorkspace& workspace,
                       Stream stream) {
  if (dmask.size() == 0) return;
  const char* const name = "attention_mask_gradient";
  Problem p = problem_of(query, key, value, options);
  const auto run = [&]<class T>() {
    const auto x =
        backward_operands<T>(query, key, value, output, log_sum_exp, doutput, dlog_sum_exp, {}, {}, {}, workspace);
    launch_delta(p, x, log_sum_exp.size(), stream);
    with_dim(std::max(p.head_dim, p.value_dim), [&]<int dim>() {
      using Tiling = BackwardFmaTiling<dim>;
      const auto distinct = [&](int axis, int length) { return dmask.strides[axis] == 0 ? 1 : length; };
      const int batch = static_cast<int>(query.shape[0]), batches = distinct(0, batch), most = 65535;
      const int row_tiles = distinct(2, cuda::divide_up(p.queries, Tiling::queries));
      const int column_tiles = distinct(3, cuda::divide_up(p.keys, Tiling::keys));
      for (p.first_sequence = 0; p.first_sequence < batches; p.first_sequence += most) {
        const dim3 grid(row_tiles * column_tiles, distinct(1, p.heads), std::min(batches - p.first_sequence, most));
        cuda::launch({name, grid, dim3(fma_threads), Tiling::shared_bytes, stream}, &mask_gradient_kernel<T, Tiling>, p,
                     x, operand_of<float>(dmask), batch, row_tiles);
      }
    });
  };
  if (query.dtype == Dtype::f32) return run.template operator()<float>();
  if (query.dtype == Dtype::f16) return run.template operator()<Float16>();
  run.template operator()<BFloat16>();
}

}  // namespace heed::kernels::attention
