// Rows that do not lie in one piece: softmax along another axis than the last. Neighbouring rows lie side by side instead,
// so a warp takes 32 rows and reads one element of each at a time, 128 bytes in a piece. The other warps of the block take
// further elements of the same rows.
#include "kernels/softmax/softmax.cuh"

namespace heed::kernels::cuda {
namespace {

constexpr int columns_per_block = 32, strips = 16;

// Merges what the strips of a column found, in the order of the strips; every thread of the column gets it.
template <class Value, class Merge>
__device__ Value merge_strips(Value value, Merge merge) {
  __shared__ Value of_strips[strips][columns_per_block];
  of_strips[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  Value all = of_strips[0][threadIdx.x];
  for (int strip = 1; strip < strips; ++strip) all = merge(all, of_strips[strip][threadIdx.x]);
  return all;
}

// A thread keeps the first elements of its strip; those beyond are read again.
template <class T, class Function>
__global__ void __launch_bounds__(columns_per_block* strips) forward_kernel(const __grid_constant__ Rows<2> rows) {
  constexpr int kept = 16;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * columns_per_block + threadIdx.x;
  const std::int64_t n = row < rows.count ? rows.length : 0;
  const auto at = rows.offsets(row);
  const StridedRow<T> x = rows.row<T>(0, at[0]), y = rows.row<T>(1, at[1]);
  float first[kept];
  RowState state = nothing_read;
#pragma unroll
  for (int k = 0; k < kept; ++k) {
    const std::int64_t i = threadIdx.y + k * strips;
    first[k] = i < n ? x[i] : -infinity<float>;
    state.max = fmaxf(state.max, first[k]);
  }
#pragma unroll
  for (int k = 0; k < kept; ++k) state.sum += exp(first[k] - base_of(state.max));
  for (std::int64_t i = threadIdx.y + kept * strips; i < n; i += strips) state = MergeSums()(state, single(x[i]));
  state = merge_strips(state, MergeSums());

  const float base = base_of(state.max), factor = Function::factor(state.sum);
#pragma unroll
  for (int k = 0; k < kept; ++k) {
    const std::int64_t i = threadIdx.y + k * strips;
    if (i < n) y.set(i, finish<Function>(first[k], base, factor));
  }
  for (std::int64_t i = threadIdx.y + kept * strips; i < n; i += strips) y.set(i, finish<Function>(x[i], base, factor));
}

template <class T, class Function>
__global__ void __launch_bounds__(columns_per_block* strips) backward_kernel(const __grid_constant__ Rows<3> rows) {
  constexpr int kept = 8;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * columns_per_block + threadIdx.x;
  const std::int64_t n = row < rows.count ? rows.length : 0;
  const auto at = rows.offsets(row);
  const StridedRow<T> y = rows.row<T>(0, at[0]), dy = rows.row<T>(1, at[1]), dx = rows.row<T>(2, at[2]);
  float of_y[kept], of_dy[kept], sum = 0;
#pragma unroll
  for (int k = 0; k < kept; ++k) {
    const std::int64_t i = threadIdx.y + k * strips;
    of_y[k] = i < n ? y[i] : 0, of_dy[k] = i < n ? dy[i] : 0;
    sum += Function::term(of_y[k], of_dy[k]);
  }
  for (std::int64_t i = threadIdx.y + kept * strips; i < n; i += strips) sum += Function::term(y[i], dy[i]);
  sum = merge_strips(sum, Sum());
#pragma unroll
  for (int k = 0; k < kept; ++k) {
    const std::int64_t i = threadIdx.y + k * strips;
    if (i < n) dx.set(i, Function::gradient(of_y[k], of_dy[k], sum));
  }
  for (std::int64_t i = threadIdx.y + kept * strips; i < n; i += strips) {
    dx.set(i, Function::gradient(y[i], dy[i], sum));
  }
}

}  // namespace

template <class Function>
bool columns(const View& x, const View& y, int axis, Stream stream) {
  const Rows<2> rows({x, y}, axis);
  return launch_for(x.dtype, [&]<class T>(T) {
    launch({Function::forward, blocks_for(rows.count, columns_per_block), {columns_per_block, strips}, 0, stream},
           &forward_kernel<T, Function>, rows);
    return true;
  });
}

template <class Function>
bool columns_backward(const View& y, const View& dy, const View& dx, int axis, Stream stream) {
  const Rows<3> rows({y, dy, dx}, axis);
  return launch_for(y.dtype, [&]<class T>(T) {
    launch({Function::backward, blocks_for(rows.count, columns_per_block), {columns_per_block, strips}, 0, stream},
           &backward_kernel<T, Function>, rows);
    return true;
  });
}

template Forward columns<Softmax>;
template Forward columns<LogSoftmax>;
template Backward columns_backward<Softmax>;
template Backward columns_backward<LogSoftmax>;

}  // namespace heed::kernels::cuda
