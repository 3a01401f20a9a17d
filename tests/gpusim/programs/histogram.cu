// A histogram of bytes: atomics on global memory, and privatised ones in shared memory that are added up at the end.
#include "tests/gpusim/programs/verify.h"

constexpr int bins = 256;

__global__ void histogram_global(const unsigned char* data, unsigned* counts, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    atomicAdd(&counts[data[i]], 1u);
}

__global__ void histogram_shared(const unsigned char* data, unsigned* counts, int n) {
  __shared__ unsigned mine[bins];
  for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) mine[bin] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&mine[data[i]], 1u);
  __syncthreads();
  for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) {
    if (mine[bin] > 0) atomicAdd(&counts[bin], mine[bin]);
  }
}

int main() {
  const int n = 60'000;
  std::mt19937 generator(5);
  std::binomial_distribution<int> binomial(255, 0.3);
  std::vector<unsigned char> data(n);
  std::vector<unsigned> expected(bins);
  for (auto& value : data) expected[value = static_cast<unsigned char>(binomial(generator))] += 1;
  const Buffer<unsigned char> device_data(data);
  for (auto* kernel : {&histogram_global, &histogram_shared}) {
    const Buffer<unsigned> counts(bins);
    check(cudaMemset(counts.get(), 0, bins * sizeof(unsigned)));
    kernel<<<16, 192>>>(device_data.get(), counts.get(), n);
    verify(counts.download() == expected, "counts");
  }
  std::puts("histogram: passed");
}
