// Matrix products: naive, and with square tiles in shared memory. Sizes are no multiples of the tile.
#include "tests/gpusim/programs/verify.h"

__global__ void matmul_naive(const float* a, const float* b, float* c, int m, int n, int k) {
  const int row = blockIdx.y * blockDim.y + threadIdx.y, column = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= m || column >= n) return;
  float sum = 0;
  for (int i = 0; i < k; ++i) sum += a[row * k + i] * b[i * n + column];
  c[row * n + column] = sum;
}

template <int tile>
__global__ void matmul_tiled(const float* a, const float* b, float* c, int m, int n, int k) {
  __shared__ float tile_a[tile][tile], tile_b[tile][tile];
  const int row = blockIdx.y * tile + threadIdx.y, column = blockIdx.x * tile + threadIdx.x;
  float sum = 0;
  for (int start = 0; start < k; start += tile) {
    const int column_a = start + threadIdx.x, row_b = start + threadIdx.y;
    tile_a[threadIdx.y][threadIdx.x] = row < m && column_a < k ? a[row * k + column_a] : 0;
    tile_b[threadIdx.y][threadIdx.x] = row_b < k && column < n ? b[row_b * n + column] : 0;
    __syncthreads();
    for (int i = 0; i < tile; ++i) sum += tile_a[threadIdx.y][i] * tile_b[i][threadIdx.x];
    __syncthreads();
  }
  if (row < m && column < n) c[row * n + column] = sum;
}

int main() {
  const int m = 75, n = 90, k = 67;
  const auto a = random_floats(m * k, 1), b = random_floats(k * n, 2);
  std::vector<double> expected(m * n);
  for (int row = 0; row < m; ++row) {
    for (int column = 0; column < n; ++column) {
      for (int i = 0; i < k; ++i) expected[row * n + column] += double(a[row * k + i]) * b[i * n + column];
    }
  }
  const Buffer<float> device_a(a), device_b(b);
  const auto run = [&](auto kernel, int tile) {
    const Buffer<float> c(m * n);
    kernel<<<dim3(blocks_for(n, tile), blocks_for(m, tile)), dim3(tile, tile)>>>(device_a.get(), device_b.get(),
                                                                                 c.get(), m, n, k);
    check(cudaGetLastError());
    verify_close(c.download(), expected, 1e-5, "a b");
  };
  run(matmul_naive, 16);
  run(matmul_tiled<16>, 16);
  run(matmul_tiled<32>, 32);
  std::puts("matmul: passed");
}
