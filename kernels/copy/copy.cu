// Copies and fills. A copy between layouts is a map (map.cuh), and a thread finds its element by division; the transpose
// is the one case worth a kernel of its own.
#include "kernels/copy/copy.h"

#include "kernels/convert.h"
#include "kernels/cuda/map.cuh"

namespace heed::kernels {
namespace {

constexpr auto on_cuda = DeviceType::cuda;

// ---- copy

struct Identity {
  template <class T>
  __device__ T operator()(T x) const {
    return x;
  }
};
template <class To>
struct Convert {
  template <class From>
  __device__ To operator()(From x) const {
    return convert<To>(x);
  }
};

// "map": one thread an element, or a vector of them where both sides are dense.
void copy_map(View from, View to, Stream stream) {
  if (from.dtype == to.dtype) {
    with_width(to.dtype, [&](auto element) {
      using T = decltype(element);
      cuda::map<T, T>("copy", to, {from}, Identity{}, stream);
    });
    return;
  }
  with_type(from.dtype, [&](auto source) {
    using From = decltype(source);
    with_type(to.dtype, [&](auto target) {
      using To = decltype(target);
      if constexpr (!std::is_same_v<From, To>) cuda::map<To, From>("copy", to, {from}, Convert<Compute<To>>{}, stream);
    });
  });
}

constexpr int tile = 32, tile_rows_at_once = 8;

// A transpose cut into tiles: `from` is dense along the rows' axis, `to` along the columns'.
struct Tiles {
  std::uint32_t row_tiles, column_tiles;
  std::uint32_t rows, columns;
  std::int64_t from_stride, to_stride;  // from one column of `from`, one row of `to` to the next
  cuda::Indexer<2> outer;               // the other axes: 0 is `to`
};

// Threads that are neighbours read neighbours, and after the turn in shared memory write neighbours. A row of the tile
// has one element more than it holds, so that a column of it lies in 32 different banks.
template <class T>
__global__ void copy_transposed(T* to, const T* from, Tiles tiles) {
  __shared__ T buffer[tile][tile + 1];
  const std::uint32_t column_tile = blockIdx.x % tiles.column_tiles, others = blockIdx.x / tiles.column_tiles;
  const std::uint32_t first_row = others % tiles.row_tiles * tile, first_column = column_tile * tile;
  const auto offsets = tiles.outer(others / tiles.row_tiles);
  from += offsets.of[1];
  to += offsets.of[0];
  for (std::uint32_t i = threadIdx.y; i < tile; i += tile_rows_at_once) {
    const std::uint32_t row = first_row + threadIdx.x, column = first_column + i;
    if (row < tiles.rows && column < tiles.columns) buffer[i][threadIdx.x] = from[row + column * tiles.from_stride];
  }
  __syncthreads();
  for (std::uint32_t i = threadIdx.y; i < tile; i += tile_rows_at_once) {
    const std::uint32_t row = first_row + i, column = first_column + threadIdx.x;
    if (row < tiles.rows && column < tiles.columns) to[row * tiles.to_stride + column] = buffer[threadIdx.x][i];
  }
}

// The axis along which `from` is dense while `to` is along the innermost; -1 if there is none or no more than a few
// elements long.
int transposed_axis(const LoopNest<2>& nest) {
  const int inner = nest.rank - 1;
  if (nest.strides[0][inner] != 1 || nest.strides[1][inner] <= 1 || nest.shape[inner] < 8) return -1;
  for (int axis = 0; axis < inner; ++axis) {
    if (nest.strides[1][axis] == 1 && nest.shape[axis] >= 8) return axis;
  }
  return -1;
}

LoopNest<2> without_axes(const LoopNest<2>& nest, int a, int b) {
  LoopNest<2> rest;
  for (int axis = 0; axis < nest.rank; ++axis) {
    if (axis == a || axis == b) continue;
    rest.shape[rest.rank] = nest.shape[axis];
    for (int v = 0; v < 2; ++v) rest.strides[v][rest.rank] = nest.strides[v][axis];
    ++rest.rank;
  }
  if (rest.rank == 0) rest.shape[rest.rank++] = 1;
  return rest;
}

// "tiled": transposes tile by tile through shared memory.
void copy_tiled(View from, View to, Stream stream) {
  if (from.dtype != to.dtype || to.size() == 0 || to.size() > cuda::max_indexed) return copy_map(from, to, stream);
  const LoopNest<2> nest = loop_nest<2>({to, from}, LoopOrder::any, 0);
  const int row_axis = transposed_axis(nest), column_axis = nest.rank - 1;
  if (row_axis < 0) return copy_map(from, to, stream);
  const std::int64_t rows = nest.shape[row_axis], columns = nest.shape[column_axis];
  const Tiles tiles{static_cast<std::uint32_t>(cuda::divide_up(rows, tile)),
                    static_cast<std::uint32_t>(cuda::divide_up(columns, tile)),
                    static_cast<std::uint32_t>(rows),
                    static_cast<std::uint32_t>(columns),
                    nest.strides[1][column_axis],
                    nest.strides[0][row_axis],
                    cuda::Indexer<2>(without_axes(nest, row_axis, column_axis))};
  const auto blocks = static_cast<unsigned>(to.size() / (rows * columns)) * tiles.row_tiles * tiles.column_tiles;
  with_width(to.dtype, [&](auto element) {
    using T = decltype(element);
    cuda::launch({"copy", blocks, dim3(tile, tile_rows_at_once), 0, stream}, &copy_transposed<T>, to.as<T>(),
                 from.as<const T>(), tiles);
  });
}

const Register register_copy_map{copy, on_cuda, "map", &copy_map};
const Register register_copy_tiled{copy, on_cuda, "tiled", &copy_tiled, is_default};

// ---- fill

template <class T>
struct Constant {
  T value;
  __device__ T operator()() const { return value; }
};

void fill_map(View y, double value, Stream stream) {
  with_type(y.dtype, [&](auto element) {
    using T = decltype(element);
    cuda::map<T>("fill", y, {}, Constant<Compute<T>>{convert<Compute<T>>(value)}, stream);
  });
}
const Register register_fill{fill, on_cuda, "map", &fill_map, is_default};

// ---- iota

constexpr int threads = 256;

// Rounded twice, as on the CPU: left alone the compiler would make one fused operation of it.
__device__ double stepped(double start, double step, std::int64_t i) {
  return __dadd_rn(start, __dmul_rn(static_cast<double>(i), step));
}
__device__ std::uint64_t stepped(std::uint64_t start, std::uint64_t step, std::int64_t i) {
  return start + static_cast<std::uint64_t>(i) * step;
}

template <class T, class Step>
__global__ void iota_strided(T* y, Step start, Step step, std::int64_t first, std::uint32_t n, cuda::Indexer<1> at) {
  const std::uint32_t i = blockIdx.x * threads + threadIdx.x;
  if (i < n) y[at(i).of[0]] = static_cast<T>(static_cast<Compute<T>>(stepped(start, step, first + i)));
}

void iota_cuda(View y, double start, double step, Stream stream) {
  if (y.size() == 0) return;
  with_type(NumericTypes{}, y.dtype, [&](auto element) {
    using T = decltype(element);
    using Step = std::conditional_t<is_floating_type<T>, double, std::uint64_t>;  // unsigned: wraps without fuss
    const auto converted = [](double value) {
      if constexpr (is_floating_type<T>)
        return value;
      else
        return static_cast<std::uint64_t>(convert<std::int64_t>(value));
    };
    std::int64_t first = 0;
    cuda::for_each_part(loop_nest<1>({y}, LoopOrder::logical, 0), [&](const LoopNest<1>& part, const auto& offsets) {
      const std::int64_t n = cuda::size_of(part);
      cuda::launch({"iota", cuda::blocks_for(n, threads), threads, 0, stream}, &iota_strided<T, Step>,
                   y.as<T>() + offsets[0], converted(start), converted(step), first, static_cast<std::uint32_t>(n),
                   cuda::Indexer<1>(part));
      first += n;
    });
  });
}
const Register register_iota{iota, on_cuda, "strided", &iota_cuda, is_default};

// ---- triangle

struct Triangle {
  cuda::Divider rows, columns;
  std::int64_t strides[2][2];  // of y and x: from row to row, from column to column
  std::int64_t diagonal;
  bool upper;
  cuda::Indexer<2> batch;
};

template <class T>
__global__ void triangle_strided(T* y, const T* x, std::uint32_t n, Triangle triangle) {
  const std::uint32_t i = blockIdx.x * threads + threadIdx.x;
  if (i >= n) return;
  const std::uint32_t line = triangle.columns.quotient(i), column = i - line * triangle.columns.divisor;
  const std::uint32_t matrix = triangle.rows.quotient(line), row = line - matrix * triangle.rows.divisor;
  const auto start = triangle.batch(matrix);
  const std::int64_t distance = std::int64_t{column} - std::int64_t{row};
  const bool keeps = triangle.upper ? distance >= triangle.diagonal : distance <= triangle.diagonal;
  y[start.of[0] + row * triangle.strides[0][0] + column * triangle.strides[0][1]] =
      keeps ? x[start.of[1] + row * triangle.strides[1][0] + column * triangle.strides[1][1]] : T(0);
}

void triangle_cuda(View x, View y, std::int64_t diagonal, bool upper, Stream stream) {
  const std::int64_t size = y.size();
  if (size == 0) return;
  if (size > cuda::max_indexed) cuda::fail("triangle", "more than 2^31 - 1 elements on a CUDA device");
  const int row = y.rank - 2, column = y.rank - 1;
  const auto batch = loop_nest<2>({y, x}, LoopOrder::logical, 0, [&](int axis) { return axis < row; });
  const Triangle triangle{cuda::Divider(y.shape[row]),
                          cuda::Divider(y.shape[column]),
                          {{y.strides[row], y.strides[column]}, {x.strides[row], x.strides[column]}},
                          diagonal,
                          upper,
                          cuda::Indexer<2>(batch)};
  with_width(y.dtype, [&](auto element) {
    using T = decltype(element);
    cuda::launch({"triangle", cuda::blocks_for(size, threads), threads, 0, stream}, &triangle_strided<T>, y.as<T>(),
                 x.as<const T>(), static_cast<std::uint32_t>(size), triangle);
  });
}
const Register register_triangle{triangle, on_cuda, "strided", &triangle_cuda, is_default};

}  // namespace
}  // namespace heed::kernels
