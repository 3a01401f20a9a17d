// The same unit through the toolkit's own interface: nvcuda::wmma, in f16 with sums in f32, and rows loaded from global
// memory.
#include <cuda_fp16.h>
#include <mma.h>

#include "tests/gpusim/programs/verify.h"

using namespace nvcuda;
constexpr int tile = 16;

__global__ void matmul_wmma(const half* a, const half* b, float* c, int n, int k) {
  const int row = blockIdx.y * tile, column = blockIdx.x * tile;
  wmma::fragment<wmma::matrix_a, tile, tile, tile, half, wmma::row_major> fragment_a;
  wmma::fragment<wmma::matrix_b, tile, tile, tile, half, wmma::row_major> fragment_b;
  wmma::fragment<wmma::accumulator, tile, tile, tile, float> sum;
  wmma::fill_fragment(sum, 0.0f);
  for (int start = 0; start < k; start += tile) {
    wmma::load_matrix_sync(fragment_a, a + row * k + start, k);
    wmma::load_matrix_sync(fragment_b, b + start * n + column, n);
    wmma::mma_sync(sum, fragment_a, fragment_b, sum);
  }
  wmma::store_matrix_sync(c + row * n + column, sum, n, wmma::mem_row_major);
}

int main() {
  const int m = 32, n = 48, k = 64;
  const auto a = random_floats(m * k, 1), b = random_floats(k * n, 2);
  std::vector<half> half_a(a.size()), half_b(b.size());
  for (std::size_t i = 0; i < a.size(); ++i) half_a[i] = __float2half(a[i]);
  for (std::size_t i = 0; i < b.size(); ++i) half_b[i] = __float2half(b[i]);
  std::vector<double> expected(m * n);
  for (int row = 0; row < m; ++row) {
    for (int column = 0; column < n; ++column) {
      for (int i = 0; i < k; ++i) {
        expected[row * n + column] += double(__half2float(half_a[row * k + i])) * __half2float(half_b[i * n + column]);
      }
    }
  }
  const Buffer<half> device_a(half_a), device_b(half_b);
  const Buffer<float> device_c(m * n);
  matmul_wmma<<<dim3(n / tile, m / tile), 32>>>(device_a.get(), device_b.get(), device_c.get(), n, k);
  check(cudaGetLastError());
  verify_close(device_c.download(), expected, 1e-5, "a b");
  std::puts("wmma: passed");
}
