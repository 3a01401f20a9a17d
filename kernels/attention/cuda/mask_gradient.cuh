// What the kernels for the gradient of an added mask have in common. A block has one tile of the mask as it lies in memory, and
// adds up all that share it, axis by axis, in a fixed order: what is broadcast is a loop in the block, not an atomic
// addition.
#pragma once

#include "kernels/attention/cuda/backward_launch.h"
#include "kernels/attention/cuda/fma_tile.cuh"
#include "kernels/attention/cuda/scores.cuh"

namespace heed::kernels::attention {

struct Range {
  int begin, end;
};

// The numbers along an axis of `length` that a block adds up: all if the axis is broadcast, else `own`.
__device__ inline Range summed(std::int64_t stride, int own, int length) {
  return stride == 0 ? Range{0, length} : Range{own, own + 1};
}

// Calls add(head, i, j) for each sequence of batch entry b that the tile of `height` rows from first_row on and `width` columns
// from first_key on has to do with; i and j are the tile's corner as the sequence counts.
template <int height, int width, class Add>
__device__ void visit_sequences(const Problem& p, int b, int h, int first_row, int first_key, Add&& add) {
  const bool packed = p.query_starts != nullptr;
  for (int s = packed ? 0 : b; s < (packed ? p.sequences : b + 1); ++s) {
    const Head head(p, p.sequence(s), s, h);
    const Sequence& q = head.sequence;
    const int i = first_row - q.first_query, j = first_key - q.first_key;
    const int first = max(i, 0), last = min(i + height, q.queries) - 1;
    if (first > last || j >= q.end(last) || j + width <= q.begin(first)) continue;
    add(head, i, j);
  }
}

// The block's tile of `height` rows and `width` columns.
template <int height, int width>
struct MaskTile {
  int row, column, head, batch;

  __device__ MaskTile(const Problem& p, int row_tiles)
      : row(blockIdx.x % row_tiles),
        column(blockIdx.x / row_tiles),
        head(blockIdx.y),
        batch(p.first_sequence + blockIdx.z) {}

  // Calls add(b, h, first row, first column) for all that share the tile.
  template <class Add>
  __device__ void visit(const Problem& p, const Operand<float>& dmask, int batches, Add&& add) const {
    const Range bs = summed(dmask.batch_stride, batch, batches), hs = summed(dmask.head_stride, head, p.heads);
    const Range rows = summed(dmask.row_stride, row, (p.queries + height - 1) / height);
    const Range columns = summed(dmask.column_stride, column, (p.keys + width - 1) / width);
    for (int b = bs.begin; b < bs.end; ++b) {
      for (int h = hs.begin; h < hs.end; ++h) {
        for (int i = rows.begin; i < rows.end; ++i) {
          for (int j = columns.begin; j < columns.end; ++j) add(b, h, i * height, j * width);
        }
      }
    }
  }

  // Writes the tile's sums, which the block has in shared memory, added up along broadcast rows and columns.
  __device__ void store(const Problem& p, const Operand<float>& dmask, const FloatTile& sums) const {
    float* const to = dmask.row(batch, head, row * height) + column * width * dmask.column_stride;
    const bool one_row = dmask.row_stride == 0, one_column = dmask.column_stride == 0;
    const int rows = one_row ? 1 : min(p.queries - row * height, height);
    const int columns = one_column ? 1 : min(p.keys - column * width, width);
    for (int index = threadIdx.x; index < rows * columns; index += blockDim.x) {
      const int r = index / columns, c = index % columns;
      float sum = 0;
      for (int i = r; i < (one_row ? height : r + 1); ++i) {
        for (int j = c; j < (one_column ? width : c + 1); ++j) sum += sums.row(i)[j];
      }
      to[r * dmask.row_stride + c * dmask.column_stride] = sum;
    }
  }

  // A block for each tile; `kernel` takes, after the operands, dmask, the batch's size and how many tiles lie in a column.
  template <class T>
  static void launch(Problem p, const View& query, const BackwardOperands<T>& x, const View& dmask, int threads,
                     int shared_bytes, Stream stream,
                     void (*kernel)(Problem, BackwardOperands<T>, Operand<float>, int, int, bool), bool aligned) {
    const auto distinct = [&](int axis, int length) { return dmask.strides[axis] == 0 ? 1 : length; };
    const int batch = static_cast<int>(query.shape[0]), batches = distinct(0, batch), most = 65535;
    const int row_tiles = distinct(2, cuda::divide_up(p.queries, height));
    const int column_tiles = distinct(3, cuda::divide_up(p.keys, width));
    for (p.first_sequence = 0; p.first_sequence < batches; p.first_sequence += most) {
      const dim3 grid(row_tiles * column_tiles, distinct(1, p.heads), std::min(batches - p.first_sequence, most));
      cuda::launch({"attention_mask_gradient", grid, dim3(threads), static_cast<std::size_t>(shared_bytes), stream},
                   kernel, p, x, operand_of<float>(dmask), batch, row_tiles, aligned);
    }
  }
};

}  // namespace heed::kernels::attention
