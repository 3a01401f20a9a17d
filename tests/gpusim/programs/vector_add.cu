// The first CUDA program of every course: one thread per element, with a guard for the last block; and the same as a
// grid-stride loop, which runs with any grid.
#include "tests/gpusim/programs/verify.h"

__global__ void vector_add(const float* a, const float* b, float* c, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) c[i] = a[i] + b[i];
}

__global__ void saxpy(float alpha, const float* x, float* y, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] = alpha * x[i] + y[i];
}

int main() {
  const int n = 50'001;
  const auto a = random_floats(n, 1), b = random_floats(n, 2);
  const Buffer<float> device_a(a), device_b(b), device_c(n);
  vector_add<<<blocks_for(n, 256), 256>>>(device_a.get(), device_b.get(), device_c.get(), n);
  check(cudaGetLastError());
  std::vector<float> sum(n), scaled(n);
  for (int i = 0; i < n; ++i) {
    sum[i] = a[i] + b[i];
    scaled[i] = std::fma(2.5f, a[i], b[i]);
  }
  verify_close(device_c.download(), sum, 0, "a + b");
  saxpy<<<7, 128>>>(2.5f, device_a.get(), device_b.get(), n);
  verify_close(device_b.download(), scaled, 0, "2.5 a + b");
  std::puts("vector_add: passed");
}
