// What simulating costs: a few kernels of the usual kinds, large enough to measure. Run it with tools/gpusim/run --time,
// in each mode; the argument names the kernel.
#include <cuda_bf16.h>

#include <functional>
#include <map>
#include <string>

#include "tests/gpusim/programs/verify.h"

// Elementwise, memory-bound on a GPU.
__global__ void saxpy(float alpha, const float* x, float* y, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] = alpha * x[i] + y[i];
}

// A row per block: shuffles, shared memory, exp.
__global__ void softmax(const float* x, float* y, int columns) {
  __shared__ float partial[32];
  const float* row = x + blockIdx.x * columns;
  const auto reduce = [&](float value, auto combine) {
    for (int offset = 16; offset > 0; offset /= 2) value = combine(value, __shfl_xor_sync(0xffffffff, value, offset));
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    value = partial[0];
    for (int warp = 1; warp < blockDim.x / 32; ++warp) value = combine(value, partial[warp]);
    __syncthreads();
    return value;
  };
  float largest = -INFINITY, sum = 0;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) largest = fmaxf(largest, row[i]);
  largest = reduce(largest, [](float a, float b) { return fmaxf(a, b); });
  for (int i = threadIdx.x; i < columns; i += blockDim.x) sum += expf(row[i] - largest);
  sum = reduce(sum, [](float a, float b) { return a + b; });
  for (int i = threadIdx.x; i < columns; i += blockDim.x) y[blockIdx.x * columns + i] = expf(row[i] - largest) / sum;
}

// A tile of 64 x 64 per block of 256 threads, each with 4 x 4 of it in registers. n is a multiple of 64.
__global__ void sgemm(const float* a, const float* b, float* c, int n) {
  __shared__ float tile_a[16][64], tile_b[16][64];
  const int x = threadIdx.x % 16, y = threadIdx.x / 16, row = blockIdx.y * 64, column = blockIdx.x * 64;
  float sum[4][4] = {};
  for (int start = 0; start < n; start += 16) {
    for (int i = threadIdx.x; i < 16 * 64; i += 256) {
      tile_a[i % 16][i / 16] = a[(row + i / 16) * n + start + i % 16];
      tile_b[i / 64][i % 64] = b[(start + i / 64) * n + column + i % 64];
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      float left[4], right[4];
      for (int i = 0; i < 4; ++i) left[i] = tile_a[k][4 * y + i];
      for (int j = 0; j < 4; ++j) right[j] = tile_b[k][4 * x + j];
      for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) sum[i][j] += left[i] * right[j];
      }
    }
    __syncthreads();
  }
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) c[(row + 4 * y + i) * n + column + 4 * x + j] = sum[i][j];
  }
}

// Nothing but mma.sync.
__global__ void tensor(float* out, int rounds) {
  float sum[4] = {};
  unsigned a[4] = {threadIdx.x, 0x3f803f80, 0x3f803f80, 0x3f803f80}, b[2] = {0x3f803f80, 0x3f003f00};
  for (int i = 0; i < rounds; ++i) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum[0] + sum[1] + sum[2] + sum[3];
}

// Integer work with divergent branches.
__global__ void collatz(int* longest, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int steps = 0;
  for (unsigned long long x = i + 1; x != 1; ++steps) x = x % 2 == 0 ? x / 2 : 3 * x + 1;
  atomicMax(longest, steps);
}

int main(int count, char** arguments) {
  const int n = 1 << 20;
  const Buffer<float> x(random_floats(n, 1)), y(random_floats(n, 2)), z(std::vector<float>(n, 0.0f));
  const Buffer<int> longest(std::vector<int>{0});
  const std::map<std::string, std::function<void()>> kernels = {
      {"saxpy", [&] { saxpy<<<256, 256>>>(2, x.get(), y.get(), n); }},
      {"softmax", [&] { softmax<<<1024, 128>>>(x.get(), z.get(), 1024); }},
      {"sgemm", [&] { sgemm<<<dim3(4, 4), 256>>>(x.get(), y.get(), z.get(), 256); }},
      {"tensor", [&] { tensor<<<64, 128>>>(z.get(), 100); }},
      {"collatz", [&] { collatz<<<64, 256>>>(longest.get(), 16'384); }}};
  const auto kernel = kernels.find(count > 1 ? arguments[1] : "");
  if (kernel == kernels.end()) {
    for (const auto& [name, launch] : kernels) std::puts(name.c_str());
    return 2;
  }
  const int times = count > 2 ? std::atoi(arguments[2]) : 10;
  for (int i = 0; i < times; ++i) kernel->second();
  check(cudaDeviceSynchronize());
}
