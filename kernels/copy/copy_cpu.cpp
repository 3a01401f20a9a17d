#include "kernels/copy/copy.h"

#include <cstring>

#include "kernels/convert.h"
#include "kernels/cpu/loops.h"
#include "kernels/cpu/parallel.h"

namespace heed::kernels {
namespace {

constexpr auto cpu = DeviceType::cpu;

// ---- copy

template <class To, class From>
void convert_block(std::int64_t, std::int64_t n, To* to, const From* from) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = convert<To>(from[i]);
}

// "reference": element by element through the general loop; the only variant that converts.
void copy_reference(View from, View to, Stream) {
  if (from.dtype == to.dtype) {
    with_width(to.dtype, [&]<class T>(T) {
      map_blocks<T, T>(LoopOrder::any, to, {from}, [](std::int64_t, std::int64_t n, T* to, const T* from) {
        if (to != from) std::copy(from, from + n, to);
      });
    });
    return;
  }
  with_compute_type(AllComputeTypes{}, from.dtype, [&]<class From>(From) {
    with_compute_type(AllComputeTypes{}, to.dtype, [&]<class To>(To) {
      map_blocks<To, From>(LoopOrder::any, to, {from}, &convert_block<To, From>);
    });
  });
}

// The axis, other than the innermost, along which `from` is contiguous while `to` is along the innermost; -1 if none.
int transposed_axis(const LoopNest<2>& nest) {
  const int inner = nest.rank - 1;
  if (nest.strides[1][inner] != 1 || nest.strides[0][inner] <= 1) return -1;
  for (int axis = 0; axis < inner; ++axis) {
    if (nest.strides[0][axis] == 1) return axis;
  }
  return -1;
}

// Tile by tile through a buffer: from is read and to is written a whole cache line or more at a time. Without the
// buffer, the lines of a matrix whose width is a power of two would push each other out of the cache.
template <class T>
void copy_transposed(const View& from, const View& to, const LoopNest<2>& nest, int row_axis) {
  constexpr std::int64_t tile = 32;
  const int column_axis = nest.rank - 1;
  const std::int64_t rows = nest.shape[row_axis], columns = nest.shape[column_axis];
  const std::int64_t from_stride = nest.strides[0][column_axis], to_stride = nest.strides[1][row_axis];
  const std::int64_t row_tiles = (rows + tile - 1) / tile;

  // The loop that remains: the other axes, then row_axis in steps of one tile.
  std::int64_t shape[max_rank], from_strides[max_rank], to_strides[max_rank];
  std::int64_t count = 1;
  int rank = 0;
  for (int axis = 0; axis < column_axis; ++axis) {
    if (axis == row_axis) continue;
    shape[rank] = nest.shape[axis];
    from_strides[rank] = nest.strides[0][axis];
    to_strides[rank] = nest.strides[1][axis];
    count *= shape[rank++];
  }
  shape[rank] = row_tiles;
  from_strides[rank] = tile;
  to_strides[rank] = tile * to_stride;
  count *= row_tiles;
  ++rank;

  parallel_for(count, std::max<std::int64_t>(chunk_elements / (tile * columns), 1),
               [&](std::int64_t begin, std::int64_t end) {
                 T buffer[tile][tile + 1];
                 LoopCursor at(shape, rank, begin);
                 for (; begin < end; ++begin, at.advance_in_run(1)) {
                   const T* source = from.as<T>() + at.offset(from_strides);
                   T* target = to.as<T>() + at.offset(to_strides);
                   const std::int64_t tile_rows = std::min(tile, rows - at.index[rank - 1] * tile);
                   for (std::int64_t first = 0; first < columns; first += tile) {
                     const std::int64_t tile_columns = std::min(tile, columns - first);
                     for (std::int64_t c = 0; c < tile_columns; ++c) {
                       std::memcpy(buffer[c], source + (first + c) * from_stride, tile_rows * sizeof(T));
                     }
                     for (std::int64_t r = 0; r < tile_rows; ++r) {
                       T* row = target + r * to_stride + first;
                       for (std::int64_t c = 0; c < tile_columns; ++c) row[c] = buffer[c][r];
                     }
                   }
                 }
               });
}

// "blocked": transposes tile by tile.
void copy_blocked(View from, View to, Stream stream) {
  if (from.dtype == to.dtype && to.size() > 0) {
    const LoopNest<2> nest = loop_nest<2>({from, to}, LoopOrder::any, 1);
    if (const int axis = transposed_axis(nest); axis >= 0) {
      with_width(to.dtype, [&]<class T>(T) { copy_transposed<T>(from, to, nest, axis); });
      return;
    }
  }
  copy_reference(from, to, stream);
}

const Register register_copy_reference{copy, cpu, "reference", &copy_reference};
const Register register_copy_blocked{copy, cpu, "blocked", &copy_blocked, is_default};

// ---- fill, iota

void fill_reference(View y, double value, Stream) {
  with_compute_type(AllComputeTypes{}, y.dtype, [&]<class C>(C) {
    const C converted = convert<C>(value);
    map_blocks<C>(LoopOrder::any, y, {}, [=](std::int64_t, std::int64_t n, C* y) { std::fill(y, y + n, converted); });
  });
}
const Register register_fill{fill, cpu, "reference", &fill_reference, is_default};

void iota_reference(View y, double start, double step, Stream) {
  with_compute_type(NumericComputeTypes{}, y.dtype, [&]<class C>(C) {
    map_blocks<C>(LoopOrder::logical, y, {}, [=](std::int64_t position, std::int64_t n, C* y) {
      if constexpr (std::is_integral_v<C>) {
        const auto first = static_cast<std::uint64_t>(convert<std::int64_t>(start));  // unsigned: wraps without fuss
        const auto by = static_cast<std::uint64_t>(convert<std::int64_t>(step));
        for (std::int64_t i = 0; i < n; ++i)
          y[i] = static_cast<C>(first + static_cast<std::uint64_t>(position + i) * by);
      } else {
        for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<C>(start + static_cast<double>(position + i) * step);
      }
    });
  });
}
const Register register_iota{iota, cpu, "reference", &iota_reference, is_default};

// ---- triangle

void triangle_reference(View x, View y, std::int64_t diagonal, bool upper, Stream) {
  const std::int64_t rows = y.shape[y.rank - 2], columns = y.shape[y.rank - 1];
  if (y.size() == 0) return;
  const std::int64_t x_stride = x.strides[y.rank - 1], y_stride = y.strides[y.rank - 1];
  with_width(y.dtype, [&]<class T>(T) {
    parallel_for(y.size() / columns, std::max<std::int64_t>(chunk_elements / columns, 1),
                 [&](std::int64_t begin, std::int64_t end) {
                   LoopCursor at(y.shape, y.rank - 1, begin);
                   for (; begin < end; ++begin, at.advance_in_run(1)) {
                     const T* in = x.as<T>() + at.offset(x.strides);
                     T* out = y.as<T>() + at.offset(y.strides);
                     const std::int64_t row = begin % rows;
                     // Columns [0, split) lie on one side of the diagonal, [split, columns) on the other. (`diagonal`
                     // may be huge.)
                     const std::int64_t onset = std::clamp(diagonal, -rows, columns) + row + (upper ? 0 : 1);
                     const std::int64_t split = std::clamp<std::int64_t>(onset, 0, columns);
                     const auto keep = [&](std::int64_t first, std::int64_t last) {
                       for (std::int64_t c = first; c < last; ++c) out[c * y_stride] = in[c * x_stride];
                     };
                     const auto zero = [&](std::int64_t first, std::int64_t last) {
                       for (std::int64_t c = first; c < last; ++c) out[c * y_stride] = 0;
                     };
                     if (upper) {
                       zero(0, split);
                       keep(split, columns);
                     } else {
                       keep(0, split);
                       zero(split, columns);
                     }
                   }
                 });
  });
}
const Register register_triangle{triangle, cpu, "reference", &triangle_reference, is_default};

}  // namespace
}  // namespace heed::kernels
