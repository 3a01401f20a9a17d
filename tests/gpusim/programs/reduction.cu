// Sums: in shared memory with halving strides, with warp shuffles, with atomics from every block, and with the
// cooperative groups of the toolkit. Also the largest element, by the warp's integer reduction.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>

#include "tests/gpusim/programs/verify.h"

namespace cg = cooperative_groups;

constexpr unsigned threads = 256;

__global__ void sum_shared(const float* x, float* block_sums, int n) {
  extern __shared__ float partial[];
  const unsigned i = blockIdx.x * blockDim.x * 2 + threadIdx.x;
  float mine = i < n ? x[i] : 0;
  if (i + blockDim.x < n) mine += x[i + blockDim.x];
  partial[threadIdx.x] = mine;
  __syncthreads();
  for (unsigned stride = blockDim.x / 2; stride > 0; stride /= 2) {
    if (threadIdx.x < stride) partial[threadIdx.x] += partial[threadIdx.x + stride];
    __syncthreads();
  }
  if (threadIdx.x == 0) block_sums[blockIdx.x] = partial[0];
}

__device__ float warp_sum(float value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(0xffffffff, value, offset);
  return value;
}

__device__ float block_sum(float value) {
  __shared__ float partial[32];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  value = warp_sum(value);
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  value = threadIdx.x < blockDim.x / 32 ? partial[lane] : 0;
  return warp == 0 ? warp_sum(value) : value;
}

__global__ void sum_shuffle(const float* x, float* sum, int n) {
  float mine = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) mine += x[i];
  mine = block_sum(mine);
  if (threadIdx.x == 0) atomicAdd(sum, mine);
}

__global__ void sum_groups(const float* x, float* sum, int n) {
  const auto block = cg::this_thread_block();
  const auto tile = cg::tiled_partition<32>(block);
  float mine = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) mine += x[i];
  mine = cg::reduce(tile, mine, cg::plus<float>());
  if (tile.thread_rank() == 0) atomicAdd(sum, mine);
}

__global__ void largest(const unsigned* x, unsigned* result, int n) {
  unsigned mine = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) mine = max(mine, x[i]);
  mine = __reduce_max_sync(0xffffffff, mine);
  if (threadIdx.x % 32 == 0) atomicMax(result, mine);
}

int main() {
  const int n = 100'003;
  const auto x = random_floats(n);
  double expected = 0;
  for (const float value : x) expected += value;
  const Buffer<float> device_x(x);

  const unsigned blocks = blocks_for(n, 2 * threads);
  const Buffer<float> block_sums(blocks);
  sum_shared<<<blocks, threads, threads * sizeof(float)>>>(device_x.get(), block_sums.get(), n);
  double total = 0;
  for (const float value : block_sums.download()) total += value;
  verify_close<double>({total}, std::vector<double>{expected}, 1e-4, "sum in shared memory");

  for (auto* kernel : {&sum_shuffle, &sum_groups}) {
    const Buffer<float> sum(std::vector<float>{0});
    kernel<<<20, threads>>>(device_x.get(), sum.get(), n);
    verify_close(sum.download(), std::vector<double>{expected}, 1e-3, "sum by shuffles");
  }

  std::vector<unsigned> numbers(n);
  std::mt19937 generator(3);
  unsigned top = 0;
  for (unsigned& number : numbers) top = std::max(top, number = generator());
  const Buffer<unsigned> device_numbers(numbers), result(std::vector<unsigned>{0});
  largest<<<10, threads>>>(device_numbers.get(), result.get(), n);
  verify(result.download()[0] == top, "the largest number");
  std::puts("reduction: passed");
}
