// Convolution with the filter in constant memory and a tile with its halo in shared memory; a five-point stencil in
// steps; a filter whose size is known only at run time, with local arrays.
#include "tests/gpusim/programs/verify.h"

constexpr int radius = 2, width = 2 * radius + 1, tile = 16, padded = tile + 2 * radius;
__constant__ float filter[width][width];

__global__ void convolve(const float* in, float* out, int columns, int rows) {
  __shared__ float window[padded][padded];
  const int column = blockIdx.x * tile + threadIdx.x, row = blockIdx.y * tile + threadIdx.y;
  for (int y = threadIdx.y; y < padded; y += tile) {
    for (int x = threadIdx.x; x < padded; x += tile) {
      const int from_column = static_cast<int>(blockIdx.x) * tile + x - radius,
                from_row = static_cast<int>(blockIdx.y) * tile + y - radius;
      const bool inside = from_column >= 0 && from_column < columns && from_row >= 0 && from_row < rows;
      window[y][x] = inside ? in[from_row * columns + from_column] : 0;
    }
  }
  __syncthreads();
  if (column >= columns || row >= rows) return;
  float sum = 0;
#pragma unroll
  for (int y = 0; y < width; ++y) {
#pragma unroll
    for (int x = 0; x < width; ++x) sum += filter[y][x] * window[threadIdx.y + y][threadIdx.x + x];
  }
  out[row * columns + column] = sum;
}

__global__ void heat_step(const float* __restrict__ in, float* __restrict__ out, int columns, int rows) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= columns || y >= rows) return;
  const int i = y * columns + x;
  const bool edge = x == 0 || y == 0 || x == columns - 1 || y == rows - 1;
  out[i] = edge ? in[i] : in[i] + 0.2f * (in[i - 1] + in[i + 1] + in[i - columns] + in[i + columns] - 4 * in[i]);
}

// The median of a window, by insertion into an array that is indexed at run time: local memory.
__global__ void median(const float* in, float* out, int n, int reach) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float sorted[16];
  int count = 0;
  for (int j = max(0, i - reach); j <= min(n - 1, i + reach); ++j) {
    int at = count++;
    for (; at > 0 && sorted[at - 1] > in[j]; --at) sorted[at] = sorted[at - 1];
    sorted[at] = in[j];
  }
  out[i] = sorted[count / 2];
}

int main() {
  const int columns = 50, rows = 37, n = columns * rows;
  const auto in = random_floats(n), weights = random_floats(width * width, 2);
  check(cudaMemcpyToSymbol(filter, weights.data(), sizeof filter));
  const Buffer<float> device_in(in), device_out(n), other(in);
  const dim3 grid(blocks_for(columns, tile), blocks_for(rows, tile)), block(tile, tile);

  convolve<<<grid, block>>>(device_in.get(), device_out.get(), columns, rows);
  std::vector<double> expected(n);
  for (int i = 0; i < n; ++i) {
    for (int y = -radius; y <= radius; ++y) {
      for (int x = -radius; x <= radius; ++x) {
        const int c = i % columns + x, r = i / columns + y;
        if (c >= 0 && c < columns && r >= 0 && r < rows) {
          expected[i] += double(weights[(y + radius) * width + x + radius]) * in[r * columns + c];
        }
      }
    }
  }
  verify_close(device_out.download(), expected, 1e-5, "convolution");

  float *now = other.get(), *next = device_out.get();
  std::vector<double> heat(in.begin(), in.end()), later(n);
  for (int step = 0; step < 10; ++step) {
    heat_step<<<dim3(blocks_for(columns, 32), blocks_for(rows, 4)), dim3(32, 4)>>>(now, next, columns, rows);
    std::swap(now, next);
    for (int i = 0; i < n; ++i) {
      const int x = i % columns, y = i / columns;
      const bool edge = x == 0 || y == 0 || x == columns - 1 || y == rows - 1;
      later[i] =
          edge ? heat[i]
               : heat[i] + 0.2 * (heat[i - 1] + heat[i + 1] + heat[i - columns] + heat[i + columns] - 4 * heat[i]);
    }
    std::swap(heat, later);
  }
  verify_close(other.download(), heat, 1e-5, "heat after ten steps");

  median<<<blocks_for(n, 64), 64>>>(device_in.get(), device_out.get(), n, 5);
  std::vector<float> medians(n);
  for (int i = 0; i < n; ++i) {
    std::vector<float> around(in.begin() + std::max(0, i - 5), in.begin() + std::min(n - 1, i + 5) + 1);
    std::sort(around.begin(), around.end());
    medians[i] = around[around.size() / 2];
  }
  verify_close(device_out.download(), medians, 0, "median");
  std::puts("stencils: passed");
}
