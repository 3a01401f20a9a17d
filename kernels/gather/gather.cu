// Reading and adding by index. Nothing here adds by float atomics: whoever adds to an element adds all that belongs to it,
// in the order of the contract, so the bits never vary.
#include "kernels/gather/gather.h"

#include "kernels/cuda/rows.cuh"

namespace heed::kernels::cuda {
namespace {

constexpr int block = 256;

// Indices, i64 or i32.
struct Indices {
  const void* data;
  bool wide;
  explicit Indices(const View& view) : data(view.data), wide(view.dtype == Dtype::i64) {}
  __device__ std::int64_t operator[](std::int64_t offset) const {
    return wide ? static_cast<const std::int64_t*>(data)[offset] : static_cast<const std::int32_t*>(data)[offset];
  }
};

// What is added up, as the CPU adds it: a half is rounded at every addition.
template <class T>
__device__ T plus(T sum, T term) {
  return narrowed<T>(widened(sum) + widened(term));
}

// ---- index_select and gather: a thread per element of y

// Positions of y, index and x, where x's stride along `axis` counts only as a factor of the index.
template <class T>
__global__ void __launch_bounds__(block)
    select_kernel(const __grid_constant__ Positions<3> positions, Indices indices, std::int64_t step) {
  const std::int64_t number = static_cast<std::int64_t>(blockIdx.x) * block + threadIdx.x;
  if (number >= positions.count) return;
  const auto at = positions.offsets(number);
  const T* const x = static_cast<const T*>(positions.data[2]) + at[2] + indices[at[1]] * step;
  static_cast<T*>(positions.data[0])[at[0]] = *x;
}

// The elements of a view taken together in sixteens of bytes along its last axis with stride 1, if they can be: then x and y
// are such views, and index, which is the same for all of them, drops out along that axis.
bool widen(View& y, View& index, View& x, int axis) {
  const std::int64_t together = vector_bytes / static_cast<std::int64_t>(size_of(x.dtype));
  int inner = -1;
  for (int i = 0; i < y.rank; ++i) {
    if (i != axis && y.shape[i] > 1 && y.strides[i] == 1 && x.strides[i] == 1 && index.strides[i] == 0) inner = i;
  }
  if (together == 1 || inner < 0 || y.shape[inner] % together != 0 || !is_aligned(x.data) || !is_aligned(y.data)) {
    return false;
  }
  for (int i = 0; i < y.rank; ++i) {
    const bool matters = i != inner && (y.shape[i] > 1 || i == axis);
    if (matters && (y.strides[i] % together != 0 || x.strides[i] % together != 0)) return false;
  }
  for (View* view : {&y, &x}) {
    for (int i = 0; i < y.rank; ++i) {
      if (i != inner) view->strides[i] /= together;
    }
  }
  for (View* view : {&y, &index, &x}) view->shape[inner] /= together;
  return true;
}

// index has y's shape here.
template <bool try_vectors>
void select(const char* name, View x, int axis, View index, View y, Stream stream) {
  if (y.size() == 0) return;
  const bool widened = try_vectors && widen(y, index, x, axis);
  const std::int64_t step = x.strides[axis];
  x.strides[axis] = 0;
  const Positions<3> positions({y, index, x}, [](int) { return true; });
  const auto run = [&]<class T>(T) {
    launch({name, blocks_for(positions.count, block), block, 0, stream}, &select_kernel<T>, positions, Indices(index),
           step);
  };
  widened ? run(uint4{}) : with_width(x.dtype, run);
}

// The index along an axis, as one that has an element for every position.
View spread(const View& index, const View& y, int axis) {
  View all = y;
  all.data = index.data;
  all.dtype = index.dtype;
  for (int i = 0; i < y.rank; ++i) all.strides[i] = i == axis ? index.strides[0] : 0;
  return all;
}

template <bool try_vectors>
void index_select_cuda(View x, int axis, View index, View y, Stream stream) {
  select<try_vectors>(index_select.name(), x, axis, spread(index, y, axis), y, stream);
}
void gather_cuda(View x, int axis, View index, View y, Stream stream) {
  select<false>(gather.name(), x, axis, index, y, stream);
}

// ---- index_add: a block owns some rows of y, and looks through the whole index for what belongs to them

constexpr int warps = block / warp_size;
constexpr int rows_per_warp = 4, owned_rows = rows_per_warp * warps;
constexpr int columns_per_lane = 4, owned_columns = columns_per_lane * warp_size;
constexpr int tile = 1024;  // positions of the index that are looked at together
constexpr std::uint8_t foreign = 255;
constexpr int terms_under_way = 4;  // read together, and added in order

// The columns are the positions of y and source beside the axis; a row of y is named by the index.
template <class T>
__global__ void __launch_bounds__(block, 1) index_add_kernel(const __grid_constant__ Rows<2> columns, Indices indices,
                                                             std::int64_t n, std::int64_t index_step) {
  __shared__ std::uint8_t owner[tile];          // which of the block's rows a position of the tile names
  __shared__ unsigned named[tile / warp_size];  // for each 32 of them whether they name any
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.x) * owned_rows;
  const std::int64_t strips = divide_up(columns.count, owned_columns);
  for (std::int64_t strip = blockIdx.y; strip < strips; strip += gridDim.y) {
    T* y[columns_per_lane];
    const T* source[columns_per_lane];
    bool exists[columns_per_lane];
#pragma unroll
    for (int c = 0; c < columns_per_lane; ++c) {
      const std::int64_t column = strip * owned_columns + c * warp_size + lane;
      exists[c] = column < columns.count;
      const auto at = columns.offsets(exists[c] ? column : 0);
      y[c] = static_cast<T*>(columns.data[0]) + at[0] + (first_row + warp * rows_per_warp) * columns.steps[0];
      source[c] = static_cast<const T*>(columns.data[1]) + at[1];
    }
    T sums[rows_per_warp][columns_per_lane];
    bool touched[rows_per_warp] = {};

    for (std::int64_t start = 0; start < n; start += tile) {
      __syncthreads();  // the last tile has been read
      for (int i = threadIdx.x; i < tile; i += block) {
        const std::int64_t row = start + i < n ? indices[(start + i) * index_step] - first_row : -1;
        const bool own = row >= 0 && row < owned_rows;
        owner[i] = own ? static_cast<std::uint8_t>(row) : foreign;
        const unsigned any = __ballot_sync(whole_warp, own);
        if (lane == 0) named[i / warp_size] = any;
      }
      __syncthreads();
      unsigned groups = __ballot_sync(whole_warp, named[lane] != 0);
      for (; groups != 0; groups &= groups - 1) {
        const int group = __ffs(groups) - 1, row = owner[group * warp_size + lane] - warp * rows_per_warp;
#pragma unroll
        for (int r = 0; r < rows_per_warp; ++r) {
          unsigned positions = __ballot_sync(whole_warp, row == r);
          if (positions != 0 && !touched[r]) {
            touched[r] = true;
#pragma unroll
            for (int c = 0; c < columns_per_lane; ++c) {
              if (exists[c]) sums[r][c] = y[c][r * columns.steps[0]];
            }
          }
          while (positions != 0) {
            T terms[terms_under_way][columns_per_lane];
            const int count = min(__popc(positions), terms_under_way);
#pragma unroll
            for (int t = 0; t < terms_under_way; ++t) {
              if (t >= count) break;
              const std::int64_t from = (start + group * warp_size + __ffs(positions) - 1) * columns.steps[1];
              positions &= positions - 1;
#pragma unroll
              for (int c = 0; c < columns_per_lane; ++c) {
                if (exists[c]) terms[t][c] = source[c][from];
              }
            }
#pragma unroll
            for (int t = 0; t < terms_under_way; ++t) {
              if (t >= count) break;
#pragma unroll
              for (int c = 0; c < columns_per_lane; ++c) {
                if (exists[c]) sums[r][c] = plus(sums[r][c], terms[t][c]);
              }
            }
          }
        }
      }
    }
#pragma unroll
    for (int r = 0; r < rows_per_warp; ++r) {
#pragma unroll
      for (int c = 0; c < columns_per_lane; ++c) {
        if (touched[r] && exists[c]) y[c][r * columns.steps[0]] = sums[r][c];
      }
    }
  }
}

void index_add_owned_rows(View y, int axis, View index, View source, Stream stream) {
  if (source.size() == 0 || y.size() == 0) return;
  const Rows<2> columns({y, source}, axis);
  const std::int64_t strips = divide_up(columns.count, std::int64_t{owned_columns});
  const dim3 grid(blocks_for(y.shape[axis], owned_rows), static_cast<unsigned>(std::min<std::int64_t>(strips, 65'535)));
  with_type(SignedTypes(), y.dtype, [&]<class T>(T) {
    launch({index_add.name(), grid, block, 0, stream}, &index_add_kernel<T>, columns, Indices(index), index.shape[0],
           index.strides[0]);
  });
}

// A thread per column goes through the whole index: simple, and slow where there are few columns.
template <class T>
__global__ void __launch_bounds__(block)
    index_add_by_column_kernel(const __grid_constant__ Rows<2> columns, Indices indices, std::int64_t n,
                               std::int64_t index_step) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * block + threadIdx.x;
  if (column >= columns.count) return;
  const auto at = columns.offsets(column);
  T* const y = static_cast<T*>(columns.data[0]) + at[0];
  const T* const source = static_cast<const T*>(columns.data[1]) + at[1];
  for (std::int64_t i = 0; i < n; ++i) {
    T& sum = y[indices[i * index_step] * columns.steps[0]];
    sum = plus(sum, source[i * columns.steps[1]]);
  }
}

void index_add_by_column(View y, int axis, View index, View source, Stream stream) {
  if (source.size() == 0 || y.size() == 0) return;
  const Rows<2> columns({y, source}, axis);
  with_type(SignedTypes(), y.dtype, [&]<class T>(T) {
    launch({index_add.name(), blocks_for(columns.count, block), block, 0, stream}, &index_add_by_column_kernel<T>,
           columns, Indices(index), index.shape[0], index.strides[0]);
  });
}

// ---- scatter_add: no two lines along the axis meet, so each is added by a thread, or by a warp

template <class T>
__global__ void __launch_bounds__(block)
    thread_per_line_kernel(const __grid_constant__ Rows<3> lines, Indices indices) {  // index, y, source
  const std::int64_t line = static_cast<std::int64_t>(blockIdx.x) * block + threadIdx.x;
  if (line >= lines.count) return;
  const auto at = lines.offsets(line);
  T* const y = static_cast<T*>(lines.data[1]) + at[1];
  const T* const source = static_cast<const T*>(lines.data[2]) + at[2];
  for (std::int64_t i = 0; i < lines.length; ++i) {
    T& sum = y[indices[at[0] + i * lines.steps[0]] * lines.steps[1]];
    sum = plus(sum, source[i * lines.steps[2]]);
  }
}

// 32 positions at a time. Lanes with the same target take turns, the lowest first.
template <class T>
__global__ void __launch_bounds__(block) warp_per_line_kernel(const __grid_constant__ Rows<3> lines, Indices indices) {
  const std::int64_t line = static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  if (line >= lines.count) return;  // the whole warp
  const int lane = threadIdx.x % warp_size;
  const auto at = lines.offsets(line);
  T* const y = static_cast<T*>(lines.data[1]) + at[1];
  const T* const source = static_cast<const T*>(lines.data[2]) + at[2];
  for (std::int64_t start = 0; start < lines.length; start += warp_size) {
    const std::int64_t i = start + lane;
    const bool exists = i < lines.length;
    const long long target = exists ? indices[at[0] + i * lines.steps[0]] : -1;
    const T term = exists ? source[i * lines.steps[2]] : T();
    const unsigned peers = __match_any_sync(whole_warp, target);
    const int turn = __popc(peers & ((1u << lane) - 1));
    for (int round = 0; __any_sync(whole_warp, exists && turn >= round); ++round) {
      if (exists && turn == round) y[target * lines.steps[1]] = plus(y[target * lines.steps[1]], term);
      __syncwarp();  // the next lane with this target reads what this one wrote
    }
  }
}

enum class PerLine { thread, warp, by_layout };

// A warp reads a line that lies in one piece; side by side, threads read lines whose elements lie apart.
template <PerLine choice>
void scatter_add_cuda(View y, int axis, View index, View source, Stream stream) {
  if (index.size() == 0) return;
  const Rows<3> lines({index, y, source}, axis);
  const bool warp = choice == PerLine::warp || (choice == PerLine::by_layout && lines.steps[0] == 1);
  with_type(SignedTypes(), y.dtype, [&]<class T>(T) {
    launch({scatter_add.name(), blocks_for(lines.count, warp ? warps : block), block, 0, stream},
           warp ? &warp_per_line_kernel<T> : &thread_per_line_kernel<T>, lines, Indices(index));
  });
}

// ---- index_range

__global__ void start_range_kernel(long long* range, std::int64_t step) {
  range[0] = std::numeric_limits<std::int64_t>::max();
  range[step] = std::numeric_limits<std::int64_t>::min();
}

struct Range {
  long long least, greatest;
};
struct MergeRanges {
  __device__ Range operator()(Range a, Range b) const { return {min(a.least, b.least), max(a.greatest, b.greatest)}; }
};

// The order in which blocks come is of no matter: these are whole numbers.
__global__ void __launch_bounds__(block) index_range_kernel(const __grid_constant__ Positions<1> positions,
                                                            Indices indices, long long* range, std::int64_t step) {
  constexpr Range none = {std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()};
  Range own = none;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * block + threadIdx.x; i < positions.count;
       i += static_cast<std::int64_t>(gridDim.x) * block) {
    const long long value = indices[positions.offsets(i)[0]];
    own = MergeRanges()(own, {value, value});
  }
  own = team_reduce(own, block, MergeRanges(), none);
  if (threadIdx.x != 0) return;
  atomicMin(&range[0], own.least);
  atomicMax(&range[step], own.greatest);
}

void index_range_cuda(View index, View range, Stream stream) {
  const Positions<1> positions({index}, [](int) { return true; });
  launch({index_range.name(), 1, 1, 0, stream}, &start_range_kernel, range.as<long long>(), range.strides[0]);
  const unsigned blocks = std::min(blocks_for(positions.count, block * 4), 256u);
  launch({index_range.name(), blocks, block, 0, stream}, &index_range_kernel, positions, Indices(index),
         range.as<long long>(), range.strides[0]);
}

constexpr DeviceType gpu = DeviceType::cuda;
const Register variants[] = {
    {index_select, gpu, "elements", &index_select_cuda<false>},
    {index_select, gpu, "vectors", &index_select_cuda<true>, is_default},
    {index_add, gpu, "thread_per_column", &index_add_by_column},
    {index_add, gpu, "owned_rows", &index_add_owned_rows, is_default},
    {gather, gpu, "elements", &gather_cuda, is_default},
    {scatter_add, gpu, "thread_per_line", &scatter_add_cuda<PerLine::thread>},
    {scatter_add, gpu, "warp_per_line", &scatter_add_cuda<PerLine::warp>},
    {scatter_add, gpu, "by_layout", &scatter_add_cuda<PerLine::by_layout>, is_default},
    {index_range, gpu, "atomics", &index_range_cuda, is_default},
};

}  // namespace
}  // namespace heed::kernels::cuda
