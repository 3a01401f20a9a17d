// Rungs 6 to 8, for rows that are too long for the registers of a block: the row in shared memory, the row read twice, and
// the row split among many blocks.
#include <algorithm>

#include "kernels/softmax/softmax.cuh"

namespace heed::kernels::cuda {
namespace {

constexpr int block = 512;

// ---- what a thread of the block does with its vectors of a row

template <class T, class Function>
__device__ void write_results(const VectorRow<T>& x, const VectorRow<T>& y, RowState state) {
  const float base = base_of(state.max), factor = Function::factor(state.sum);
  for (std::int64_t v = threadIdx.x; v < x.count(); v += vectors_under_way<T> * blockDim.x) {
    float values[vectors_under_way<T>][vector_width<T>];
#pragma unroll
    for (int b = 0; b < vectors_under_way<T>; ++b) x.load(v + b * blockDim.x, values[b]);
#pragma unroll
    for (int b = 0; b < vectors_under_way<T>; ++b) {
      for (float& value : values[b]) value = finish<Function>(value, base, factor);
      y.store(v + b * blockDim.x, values[b]);
    }
  }
}

template <class T, class Function>
__device__ float sum_of_terms(const VectorRow<T>& y, const VectorRow<T>& dy) {
  float sum = 0;
  for (std::int64_t v = threadIdx.x; v < y.count(); v += vectors_under_way<T> * blockDim.x) {
    float of_y[vectors_under_way<T>][vector_width<T>], of_dy[vectors_under_way<T>][vector_width<T>];
#pragma unroll
    for (int b = 0; b < vectors_under_way<T>; ++b) {
      y.load(v + b * blockDim.x, of_y[b]);
      dy.load(v + b * blockDim.x, of_dy[b]);
    }
#pragma unroll
    for (int b = 0; b < vectors_under_way<T>; ++b) {
      for (int j = 0; j < vector_width<T>; ++j) sum += Function::term(of_y[b][j], of_dy[b][j]);
    }
  }
  return sum;
}

template <class T, class Function>
__device__ void write_gradients(const VectorRow<T>& y, const VectorRow<T>& dy, const VectorRow<T>& dx, float sum) {
  for (std::int64_t v = threadIdx.x; v < y.count(); v += vectors_under_way<T> * blockDim.x) {
    float of_y[vectors_under_way<T>][vector_width<T>], of_dy[vectors_under_way<T>][vector_width<T>];
#pragma unroll
    for (int b = 0; b < vectors_under_way<T>; ++b) {
      y.load(v + b * blockDim.x, of_y[b]);
      dy.load(v + b * blockDim.x, of_dy[b]);
    }
#pragma unroll
    for (int b = 0; b < vectors_under_way<T>; ++b) {
      for (int j = 0; j < vector_width<T>; ++j) of_dy[b][j] = Function::gradient(of_y[b][j], of_dy[b][j], sum);
      dx.store(v + b * blockDim.x, of_dy[b]);
    }
  }
}

// ---- rung 6: a block holds its row in shared memory

// A thread reads back only what it wrote itself, so the row needs no barrier: shared memory serves as more registers.
template <class T, class Function>
__global__ void __launch_bounds__(block, 1) shared_kernel(const __grid_constant__ Rows<2> rows) {
  extern __shared__ uint4 kept[];
  constexpr int width = vector_width<T>;
  const auto at = rows.offsets(blockIdx.x);
  const VectorRow<T> x(rows.row<T>(0, at[0]).data, rows.length);
  const VectorRow<T> y(rows.row<T>(1, at[1]).data, rows.length, x.head);
  const int count = static_cast<int>(x.count());
  float values[width], max = -infinity<float>, sum = 0;
#pragma unroll 4
  for (int v = threadIdx.x; v < count; v += block) {
    x.load(v, values, -infinity<float>);
    for (const float value : values) max = fmaxf(max, value);
    kept[v] = pack_vector<T>(values);
  }
  const float base = base_of(team_max(max, block));
  for (int v = threadIdx.x; v < count; v += block) {
    unpack_vector<T>(kept[v], values);
    for (const float value : values) sum += exp(value - base);
  }
  const float factor = Function::factor(team_sum(sum, block));
  for (int v = threadIdx.x; v < count; v += block) {
    unpack_vector<T>(kept[v], values);
    for (float& value : values) value = finish<Function>(value, base, factor);
    y.store(v, values);
  }
}

// ---- rung 7: a block reads its row twice

template <class T, class Function>
__global__ void __launch_bounds__(block, 1) online_kernel(const __grid_constant__ Rows<2> rows) {
  const auto at = rows.offsets(blockIdx.x);
  const VectorRow<T> x(rows.row<T>(0, at[0]).data, rows.length);
  const VectorRow<T> y(rows.row<T>(1, at[1]).data, rows.length, x.head);
  const RowState state = team_reduce(max_and_sum(x, threadIdx.x, block), block, MergeSums(), nothing_read);
  write_results<T, Function>(x, y, state);
}

template <class T, class Function>
__global__ void __launch_bounds__(block, 1) two_reads_kernel(const __grid_constant__ Rows<3> rows) {
  const auto at = rows.offsets(blockIdx.x);
  const VectorRow<T> y(rows.row<T>(0, at[0]).data, rows.length);
  const VectorRow<T> dy(rows.row<T>(1, at[1]).data, rows.length, y.head);
  const VectorRow<T> dx(rows.row<T>(2, at[2]).data, rows.length, y.head);
  const float sum = team_sum(sum_of_terms<T, Function>(y, dy), block);
  write_gradients<T, Function>(y, dy, dx, sum);
}

// ---- rung 8: a row is split into chunks, and each chunk has a block

// Three launches: every block finds the state of its chunk; a warp per row merges these; every block writes its results.
// Blocks cannot wait for one another, and kernels own no memory, so between the launches the states lie where later the
// results will: each chunk's at the start of the chunk in the output. The second launch replaces them by the state of
// the whole row, so that in the third each block needs its own chunk alone and can overwrite it.

constexpr int max_chunks = 64, chunk_block = 128;  // more and smaller blocks than above

// Chunk c of the row, as a row of its own. Chunks begin where vectors do.
template <class T>
__device__ VectorRow<T> chunk_of(const VectorRow<T>& row, int c, int chunks) {
  const std::int64_t begin = c == 0 ? 0 : row.first(row.count() * c / chunks);
  const std::int64_t end = c + 1 == chunks ? row.length : row.first(row.count() * (c + 1) / chunks);
  return {row.data + begin, end - begin, c == 0 ? row.head : 0};
}

// The state in the first 8 bytes of the chunk, which may begin at any multiple of the element's size.
template <class T>
union Stash {
  RowState state;
  T parts[sizeof(RowState) / sizeof(T)];
};
template <class T>
__device__ void put(const VectorRow<T>& chunk, RowState state) {
  const Stash<T> stash = {.state = state};
#pragma unroll
  for (unsigned i = 0; i < sizeof(RowState) / sizeof(T); ++i) chunk.data[i] = stash.parts[i];
}
template <class T>
__device__ RowState get(const VectorRow<T>& chunk) {
  Stash<T> stash = {.state = {}};
#pragma unroll
  for (unsigned i = 0; i < sizeof(RowState) / sizeof(T); ++i) stash.parts[i] = chunk.data[i];
  return stash.state;
}

// The last operand is the output. Chunks are x's or y's, whose alignment decides where vectors begin.
template <class T>
__global__ void __launch_bounds__(chunk_block) chunk_states_kernel(const __grid_constant__ Rows<2> rows) {
  const auto at = rows.offsets(blockIdx.x);
  const int c = static_cast<int>(blockIdx.y), chunks = static_cast<int>(gridDim.y);
  const VectorRow<T> x(rows.row<T>(0, at[0]).data, rows.length);
  const VectorRow<T> y(rows.row<T>(1, at[1]).data, rows.length, x.head);
  const RowState state = team_reduce(max_and_sum(chunk_of(x, c, chunks), threadIdx.x, chunk_block), chunk_block,
                                     MergeSums(), nothing_read);
  if (threadIdx.x == 0) put(chunk_of(y, c, chunks), state);
}

template <class T, class Function>
__global__ void __launch_bounds__(chunk_block, 1) chunk_sums_kernel(const __grid_constant__ Rows<3> rows) {
  const auto at = rows.offsets(blockIdx.x);
  const int c = static_cast<int>(blockIdx.y), chunks = static_cast<int>(gridDim.y);
  const VectorRow<T> y(rows.row<T>(0, at[0]).data, rows.length);
  const VectorRow<T> dy(rows.row<T>(1, at[1]).data, rows.length, y.head);
  const VectorRow<T> dx(rows.row<T>(2, at[2]).data, rows.length, y.head);
  const float terms = sum_of_terms<T, Function>(chunk_of(y, c, chunks), chunk_of(dy, c, chunks));
  const float sum = team_sum(terms, chunk_block);
  if (threadIdx.x == 0) put(chunk_of(dx, c, chunks), {0, sum});  // sums under one maximum just add up
}

template <class T, int N>
__global__ void merge_chunks_kernel(const __grid_constant__ Rows<N> rows, int chunks) {
  const auto at = rows.offsets(blockIdx.x);
  const VectorRow<T> first(rows.template row<T>(0, at[0]).data, rows.length);
  const VectorRow<T> output(rows.template row<T>(N - 1, at[N - 1]).data, rows.length, first.head);
  const int lane = static_cast<int>(threadIdx.x);
  RowState state = nothing_read;
  for (int c = lane; c < chunks; c += 32) state = MergeSums()(state, get(chunk_of(output, c, chunks)));
  state = team_reduce(state, 32, MergeSums(), nothing_read);
  for (int c = lane; c < chunks; c += 32) put(chunk_of(output, c, chunks), state);
}

template <class T, class Function>
__global__ void __launch_bounds__(chunk_block) chunk_results_kernel(const __grid_constant__ Rows<2> rows) {
  const auto at = rows.offsets(blockIdx.x);
  const int c = static_cast<int>(blockIdx.y), chunks = static_cast<int>(gridDim.y);
  const VectorRow<T> x(rows.row<T>(0, at[0]).data, rows.length);
  const VectorRow<T> y(rows.row<T>(1, at[1]).data, rows.length, x.head);
  const VectorRow<T> output = chunk_of(y, c, chunks);
  const RowState state = get(output);
  __syncthreads();  // all have it before the first result overwrites it
  write_results<T, Function>(chunk_of(x, c, chunks), output, state);
}

template <class T, class Function>
__global__ void __launch_bounds__(chunk_block) chunk_gradients_kernel(const __grid_constant__ Rows<3> rows) {
  const auto at = rows.offsets(blockIdx.x);
  const int c = static_cast<int>(blockIdx.y), chunks = static_cast<int>(gridDim.y);
  const VectorRow<T> y(rows.row<T>(0, at[0]).data, rows.length);
  const VectorRow<T> dy(rows.row<T>(1, at[1]).data, rows.length, y.head);
  const VectorRow<T> dx(rows.row<T>(2, at[2]).data, rows.length, y.head);
  const VectorRow<T> output = chunk_of(dx, c, chunks);
  const float sum = get(output).sum;
  __syncthreads();
  write_gradients<T, Function>(chunk_of(y, c, chunks), chunk_of(dy, c, chunks), output, sum);
}

// As many chunks as make some hundred blocks, each of enough vectors for every thread; below 2 for short rows.
template <class T, int N>
int chunks_of(const Rows<N>& rows) {
  const std::int64_t enough = divide_up(std::int64_t{256}, rows.count);
  return static_cast<int>(
      std::min({enough, rows.template vectors<T>() / (chunk_block * vectors_under_way<T>), std::int64_t{max_chunks}}));
}

// What a block may have of it when it asks.
std::int64_t most_shared_bytes(Stream stream) {
  int bytes = 0;
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, stream.device.index), "softmax");
  return bytes;
}

template <class T, int N>
void merge_chunks(const char* name, const Rows<N>& rows, int chunks, Stream stream) {
  launch({name, blocks_for(rows.count, 1), warp_size, 0, stream}, &merge_chunks_kernel<T, N>, rows, chunks);
}

}  // namespace

template <class Function>
bool row_in_shared_memory(const View& x, const View& y, int axis, Stream stream) {
  const Rows<2> rows({x, y}, axis);
  if (!rows.contiguous()) return false;
  return launch_for(x.dtype, [&]<class T>(T) {
    const std::int64_t bytes = rows.vectors<T>() * 16;
    if (bytes > most_shared_bytes(stream) - 1024) return false;  // which leaves room for what team_reduce needs
    launch({Function::forward, blocks_for(rows.count, 1), block, static_cast<std::size_t>(bytes), stream},
           &shared_kernel<T, Function>, rows);
    return true;
  });
}

template <class Function>
bool online(const View& x, const View& y, int axis, Stream stream) {
  const Rows<2> rows({x, y}, axis);
  if (!rows.contiguous()) return false;
  return launch_for(x.dtype, [&]<class T>(T) {
    launch({Function::forward, blocks_for(rows.count, 1), block, 0, stream}, &online_kernel<T, Function>, rows);
    return true;
  });
}

template <class Function>
bool two_reads_backward(const View& y, const View& dy, const View& dx, int axis, Stream stream) {
  const Rows<3> rows({y, dy, dx}, axis);
  if (!rows.contiguous()) return false;
  return launch_for(y.dtype, [&]<class T>(T) {
    launch({Function::backward, blocks_for(rows.count, 1), block, 0, stream}, &two_reads_kernel<T, Function>, rows);
    return true;
  });
}

// The output keeps the states, so it must not be the input.
template <class Function>
bool split_rows(const View& x, const View& y, int axis, Stream stream) {
  const Rows<2> rows({x, y}, axis);
  if (!rows.contiguous() || y.data == x.data) return false;
  return launch_for(x.dtype, [&]<class T>(T) {
    const int chunks = chunks_of<T>(rows);
    if (chunks < 2) return false;
    const dim3 grid(blocks_for(rows.count, 1), static_cast<unsigned>(chunks));
    launch({Function::forward, grid, chunk_block, 0, stream}, &chunk_states_kernel<T>, rows);
    merge_chunks<T>(Function::forward, rows, chunks, stream);
    launch({Function::forward, grid, chunk_block, 0, stream}, &chunk_results_kernel<T, Function>, rows);
    return true;
  });
}

template <class Function>
bool split_rows_backward(const View& y, const View& dy, const View& dx, int axis, Stream stream) {
  const Rows<3> rows({y, dy, dx}, axis);
  if (!rows.contiguous() || dx.data == y.data || dx.data == dy.data) return false;
  return launch_for(y.dtype, [&]<class T>(T) {
    const int chunks = chunks_of<T>(rows);
    if (chunks < 2) return false;
    const dim3 grid(blocks_for(rows.count, 1), static_cast<unsigned>(chunks));
    launch({Function::backward, grid, chunk_block, 0, stream}, &chunk_sums_kernel<T, Function>, rows);
    merge_chunks<T>(Function::backward, rows, chunks, stream);
    launch({Function::backward, grid, chunk_block, 0, stream}, &chunk_gradients_kernel<T, Function>, rows);
    return true;
  });
}

template Forward row_in_shared_memory<Softmax>;
template Forward row_in_shared_memory<LogSoftmax>;
template Forward online<Softmax>;
template Forward online<LogSoftmax>;
template Forward split_rows<Softmax>;
template Forward split_rows<LogSoftmax>;
template Backward two_reads_backward<Softmax>;
template Backward two_reads_backward<LogSoftmax>;
template Backward split_rows_backward<Softmax>;
template Backward split_rows_backward<LogSoftmax>;

}  // namespace heed::kernels::cuda
