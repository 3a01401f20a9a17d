// Rungs 1 to 4: from one thread per row to a block per row that reads 16 bytes at a time. All of them read the row three
// times from global memory: for the maximum, for the sum, and for the result.
#include "kernels/softmax/softmax.cuh"

namespace heed::kernels::cuda {
namespace {

// ---- rung 1: a thread per row, any strides, every dtype

template <class T, class Function>
__global__ void thread_per_row_kernel(const __grid_constant__ Rows<2> rows) {
  using S = Compute<T>;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, n = rows.length;
  if (row >= rows.count) return;
  const auto at = rows.offsets(row);
  const StridedRow<T> x = rows.row<T>(0, at[0]), y = rows.row<T>(1, at[1]);
  S max = -infinity<S>;
  for (std::int64_t i = 0; i < n; ++i) max = Max()(max, x[i]);
  const S base = base_of(max);
  S sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += exp(x[i] - base);
  const S factor = Function::factor(sum);
  for (std::int64_t i = 0; i < n; ++i) y.set(i, finish<Function>(x[i], base, factor));
}

template <class T, class Function>
__global__ void thread_per_row_backward_kernel(const __grid_constant__ Rows<3> rows) {
  using S = Compute<T>;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, n = rows.length;
  if (row >= rows.count) return;
  const auto at = rows.offsets(row);
  const StridedRow<T> y = rows.row<T>(0, at[0]), dy = rows.row<T>(1, at[1]), dx = rows.row<T>(2, at[2]);
  S sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += Function::term(y[i], dy[i]);
  for (std::int64_t i = 0; i < n; ++i) dx.set(i, Function::gradient(y[i], dy[i], sum));
}

// ---- rungs 2 and 3: a block per row

// Rung 2 merges in a tree: half of the threads take over the values of the other half, then half of those.
struct Tree {
  template <class T, class Merge>
  static __device__ T block_reduce(T value, Merge merge, T) {
    __shared__ T values[256];
    values[threadIdx.x] = value;
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
      __syncthreads();
      if (threadIdx.x < half) values[threadIdx.x] = merge(values[threadIdx.x], values[threadIdx.x + half]);
    }
    __syncthreads();
    const T result = values[0];
    __syncthreads();  // nobody writes values for the next tree before all have read this one's result
    return result;
  }
};

// Rung 3 leaves that to the registers: 32 threads exchange values without memory, and without waiting for the others.
struct Shuffles {
  template <class T, class Merge>
  static __device__ T block_reduce(T value, Merge merge, T neutral) {
    return team_reduce(value, static_cast<int>(blockDim.x), merge, neutral);
  }
};

template <class Reduction>
__global__ void block_per_row_kernel(const __grid_constant__ Rows<2> rows) {
  const auto at = rows.offsets(blockIdx.x);
  const StridedRow<float> x = rows.row<float>(0, at[0]), y = rows.row<float>(1, at[1]);
  float max = -infinity<float>, sum = 0;
  for (std::int64_t i = threadIdx.x; i < rows.length; i += blockDim.x) max = fmaxf(max, x[i]);
  const float base = base_of(Reduction::block_reduce(max, Max(), -infinity<float>));
  for (std::int64_t i = threadIdx.x; i < rows.length; i += blockDim.x) sum += exp(x[i] - base);
  const float factor = Softmax::factor(Reduction::block_reduce(sum, Sum(), 0.0f));
  for (std::int64_t i = threadIdx.x; i < rows.length; i += blockDim.x) y.set(i, finish<Softmax>(x[i], base, factor));
}

// ---- rung 4: the same in vectors of four floats

__global__ void vectors_kernel(const __grid_constant__ Rows<2> rows) {
  constexpr int width = vector_width<float>;
  const auto at = rows.offsets(blockIdx.x);
  const VectorRow<float> x(rows.row<float>(0, at[0]).data, rows.length);
  const VectorRow<float> y(rows.row<float>(1, at[1]).data, rows.length, x.head);
  const int threads = static_cast<int>(blockDim.x);
  float max = -infinity<float>, sum = 0, values[width];
  for (std::int64_t v = threadIdx.x; v < x.count(); v += threads) {
    x.load(v, values, -infinity<float>);
    for (const float value : values) max = fmaxf(max, value);
  }
  const float base = base_of(team_max(max, threads));
  for (std::int64_t v = threadIdx.x; v < x.count(); v += threads) {
    x.load(v, values, -infinity<float>);
    for (const float value : values) sum += exp(value - base);
  }
  const float factor = Softmax::factor(team_sum(sum, threads));
  for (std::int64_t v = threadIdx.x; v < x.count(); v += threads) {
    x.load(v, values);
    for (float& value : values) value = finish<Softmax>(value, base, factor);
    y.store(v, values);
  }
}

// Launches a kernel of rungs 2 to 4, with 256 threads per row.
bool launch_block_per_row(void (*kernel)(Rows<2>), const View& x, const View& y, int axis, Stream stream) {
  const Rows<2> rows({x, y}, axis);
  if (x.dtype != Dtype::f32 || !rows.contiguous()) return false;
  launch({Softmax::forward, blocks_for(rows.count, 1), 256, 0, stream}, kernel, rows);
  return true;
}

}  // namespace

template <class Function>
bool thread_per_row(const View& x, const View& y, int axis, Stream stream) {
  const Rows<2> rows({x, y}, axis);
  with_floating_type(x.dtype, [&]<class T>(T) {
    launch({Function::forward, blocks_for(rows.count, 128), 128, 0, stream}, &thread_per_row_kernel<T, Function>, rows);
  });
  return true;
}

template <class Function>
bool thread_per_row_backward(const View& y, const View& dy, const View& dx, int axis, Stream stream) {
  const Rows<3> rows({y, dy, dx}, axis);
  with_floating_type(y.dtype, [&]<class T>(T) {
    launch({Function::backward, blocks_for(rows.count, 128), 128, 0, stream},
           &thread_per_row_backward_kernel<T, Function>, rows);
  });
  return true;
}

bool block_per_row(const View& x, const View& y, int axis, Stream stream) {
  return launch_block_per_row(block_per_row_kernel<Tree>, x, y, axis, stream);
}
bool warp_shuffles(const View& x, const View& y, int axis, Stream stream) {
  return launch_block_per_row(block_per_row_kernel<Shuffles>, x, y, axis, stream);
}
bool vectors(const View& x, const View& y, int axis, Stream stream) {
  return launch_block_per_row(vectors_kernel, x, y, axis, stream);
}

template Forward thread_per_row<Softmax>;
template Forward thread_per_row<LogSoftmax>;
template Backward thread_per_row_backward<Softmax>;
template Backward thread_per_row_backward<LogSoftmax>;

}  // namespace heed::kernels::cuda
