// What learners of GPU programming solve first, in order: map, zip, a guard for spare threads, two dimensions,
// broadcasting, blocks, shared memory, pooling, dot product, convolution, prefix sum, sums along an axis, matrix product.
// Small sizes, one idea each.
#include <functional>

#include "tests/gpusim/programs/verify.h"

__global__ void map(float* out, const float* a) {
  out[threadIdx.x] = a[threadIdx.x] + 10;
}

__global__ void zip(float* out, const float* a, const float* b) {
  out[threadIdx.x] = a[threadIdx.x] + b[threadIdx.x];
}

__global__ void guarded(float* out, const float* a, int size) {
  if (threadIdx.x < size) out[threadIdx.x] = a[threadIdx.x] + 10;
}

__global__ void map_2d(float* out, const float* a, int size) {
  const int x = threadIdx.x, y = threadIdx.y;
  if (x < size && y < size) out[y * size + x] = a[y * size + x] + 10;
}

__global__ void broadcast(float* out, const float* column, const float* row, int size) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x < size && y < size) out[y * size + x] = column[y] + row[x];
}

// Each element and the two before it.
__global__ void pooling(float* out, const float* a, int size) {
  extern __shared__ float shared[];
  const int i = blockIdx.x * blockDim.x + threadIdx.x, local = threadIdx.x + 2;
  shared[local] = i < size ? a[i] : 0;
  if (threadIdx.x < 2) shared[threadIdx.x] = i >= 2 && i - 2 < size ? a[i - 2] : 0;
  __syncthreads();
  if (i < size) out[i] = shared[local] + shared[local - 1] + shared[local - 2];
}

__global__ void dot(float* out, const float* a, const float* b, int size) {
  __shared__ float products[8];
  const int i = threadIdx.x;
  products[i] = i < size ? a[i] * b[i] : 0;
  __syncthreads();
  if (i != 0) return;
  float sum = 0;
  for (int j = 0; j < 8; ++j) sum += products[j];
  *out = sum;
}

constexpr int block = 8, kernel_size = 4;

__global__ void convolve(float* out, const float* a, const float* kernel, int size, int taps) {
  __shared__ float window[block + kernel_size], weights[kernel_size];
  const int i = blockIdx.x * block + threadIdx.x;
  window[threadIdx.x] = i < size ? a[i] : 0;
  if (threadIdx.x < kernel_size) {
    window[block + threadIdx.x] = i + block < size ? a[i + block] : 0;
    weights[threadIdx.x] = threadIdx.x < taps ? kernel[threadIdx.x] : 0;
  }
  __syncthreads();
  float sum = 0;
  for (int j = 0; j < taps; ++j) sum += window[threadIdx.x + j] * weights[j];
  if (i < size) out[i] = sum;
}

// Sums of blocks, by halving.
__global__ void block_sums(float* out, const float* a, int size) {
  __shared__ float cache[block];
  const int i = blockIdx.x * block + threadIdx.x;
  cache[threadIdx.x] = i < size ? a[i] : 0;
  for (int stride = 1; stride < block; stride *= 2) {
    __syncthreads();
    if (threadIdx.x % (2 * stride) == 0) cache[threadIdx.x] += cache[threadIdx.x + stride];
  }
  if (threadIdx.x == 0) out[blockIdx.x] = cache[0];
}

// One block per row.
__global__ void axis_sum(float* out, const float* a, int size) {
  __shared__ float cache[block];
  cache[threadIdx.x] = threadIdx.x < size ? a[blockIdx.y * size + threadIdx.x] : 0;
  __syncthreads();
  for (int half = block / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) cache[threadIdx.x] += cache[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) out[blockIdx.y] = cache[0];
}

constexpr int side = 3;

__global__ void matmul(float* out, const float* a, const float* b, int size) {
  __shared__ float tile_a[side][side], tile_b[side][side];
  const int x = blockIdx.x * side + threadIdx.x, y = blockIdx.y * side + threadIdx.y;
  float sum = 0;
  for (int start = 0; start < size; start += side) {
    tile_a[threadIdx.y][threadIdx.x] = y < size && start + threadIdx.x < size ? a[y * size + start + threadIdx.x] : 0;
    tile_b[threadIdx.y][threadIdx.x] = x < size && start + threadIdx.y < size ? b[(start + threadIdx.y) * size + x] : 0;
    __syncthreads();
    for (int k = 0; k < side; ++k) sum += tile_a[threadIdx.y][k] * tile_b[k][threadIdx.x];
    __syncthreads();
  }
  if (x < size && y < size) out[y * size + x] = sum;
}

// Runs a puzzle and compares what it wrote with a function of the index.
static void solve(const char* name, int outputs, const std::function<void(float*)>& launch,
                  const std::function<double(int)>& wanted) {
  const Buffer<float> out(outputs);
  launch(out.get());
  check(cudaGetLastError());
  std::vector<double> expected(outputs);
  for (int i = 0; i < outputs; ++i) expected[i] = wanted(i);
  verify_close(out.download(), expected, 1e-6, name);
}

int main() {
  const auto a = random_floats(256, 1), b = random_floats(256, 2);
  const Buffer<float> da(a), db(b);
  const auto in = [](const std::vector<float>& values, int i, int size) {
    return i >= 0 && i < size ? double(values[i]) : 0.0;
  };
  solve(
      "map", 4, [&](float* out) { map<<<1, 4>>>(out, da.get()); }, [&](int i) { return a[i] + 10.0f; });
  solve(
      "zip", 4, [&](float* out) { zip<<<1, 4>>>(out, da.get(), db.get()); }, [&](int i) { return a[i] + b[i]; });
  solve(
      "guard", 5, [&](float* out) { guarded<<<1, 8>>>(out, da.get(), 5); }, [&](int i) { return a[i] + 10.0f; });
  solve(
      "map 2d", 9, [&](float* out) { map_2d<<<1, dim3(4, 4)>>>(out, da.get(), 3); },
      [&](int i) { return a[i] + 10.0f; });
  solve(
      "broadcast", 25, [&](float* out) { broadcast<<<dim3(2, 2), dim3(3, 3)>>>(out, da.get(), db.get(), 5); },
      [&](int i) { return a[i / 5] + b[i % 5]; });
  solve(
      "pooling", 15, [&](float* out) { pooling<<<2, 8, 10 * sizeof(float)>>>(out, da.get(), 15); },
      [&](int i) { return in(a, i, 15) + in(a, i - 1, 15) + in(a, i - 2, 15); });
  solve(
      "dot", 1, [&](float* out) { dot<<<1, 8>>>(out, da.get(), db.get(), 7); },
      [&](int) {
        double sum = 0;
        for (int i = 0; i < 7; ++i) sum += double(a[i]) * b[i];
        return sum;
      });
  solve(
      "convolution", 15, [&](float* out) { convolve<<<2, block>>>(out, da.get(), db.get(), 15, 4); },
      [&](int i) {
        double sum = 0;
        for (int j = 0; j < 4; ++j) sum += in(a, i + j, 15) * b[j];
        return sum;
      });
  solve(
      "prefix sum", 2, [&](float* out) { block_sums<<<2, block>>>(out, da.get(), 15); },
      [&](int i) {
        double sum = 0;
        for (int j = 0; j < block; ++j) sum += in(a, i * block + j, 15);
        return sum;
      });
  solve(
      "axis sum", 4, [&](float* out) { axis_sum<<<dim3(1, 4), block>>>(out, da.get(), 6); },
      [&](int i) {
        double sum = 0;
        for (int j = 0; j < 6; ++j) sum += a[i * 6 + j];
        return sum;
      });
  solve(
      "matmul", 64, [&](float* out) { matmul<<<dim3(3, 3), dim3(side, side)>>>(out, da.get(), db.get(), 8); },
      [&](int i) {
        double sum = 0;
        for (int k = 0; k < 8; ++k) sum += double(a[i / 8 * 8 + k]) * b[k * 8 + i % 8];
        return sum;
      });
  std::puts("puzzles: passed");
}
