// Prefix sums. Within a block: Hillis and Steele's (two buffers), and Blelloch's work-efficient tree. Over any length: the
// sums of the blocks are scanned and added.
#include "tests/gpusim/programs/verify.h"

constexpr int threads = 128;

__global__ void scan_hillis_steele(const int* in, int* out, int n) {
  __shared__ int buffer[2][threads];
  const int t = threadIdx.x, i = blockIdx.x * threads + t;
  int current = 0;
  buffer[0][t] = i < n ? in[i] : 0;
  __syncthreads();
  for (int offset = 1; offset < threads; offset *= 2) {
    buffer[1 - current][t] = buffer[current][t] + (t >= offset ? buffer[current][t - offset] : 0);
    current = 1 - current;
    __syncthreads();
  }
  if (i < n) out[i] = buffer[current][t];
}

// Two elements per thread; exclusive.
__global__ void scan_blelloch(const int* in, int* out, int* block_sums, int n) {
  __shared__ int tree[2 * threads];
  const int t = threadIdx.x, first = blockIdx.x * 2 * threads;
  for (int j = t; j < 2 * threads; j += threads) tree[j] = first + j < n ? in[first + j] : 0;
  int stride = 1;
  for (int pairs = threads; pairs > 0; pairs /= 2, stride *= 2) {
    __syncthreads();
    if (t < pairs) tree[stride * (2 * t + 2) - 1] += tree[stride * (2 * t + 1) - 1];
  }
  __syncthreads();
  if (t == 0) {
    if (block_sums) block_sums[blockIdx.x] = tree[2 * threads - 1];
    tree[2 * threads - 1] = 0;
  }
  for (int pairs = 1; pairs <= threads; pairs *= 2) {
    stride /= 2;
    __syncthreads();
    if (t < pairs) {
      const int left = stride * (2 * t + 1) - 1, right = stride * (2 * t + 2) - 1;
      const int value = tree[left];
      tree[left] = tree[right];
      tree[right] += value;
    }
  }
  __syncthreads();
  for (int j = t; j < 2 * threads; j += threads) {
    if (first + j < n) out[first + j] = tree[j];
  }
}

__global__ void add_block_sums(int* out, const int* sums, int n) {
  const int i = blockIdx.x * 2 * threads + threadIdx.x;
  if (i < n) out[i] += sums[blockIdx.x];
}

int main() {
  const int n = 20'011;
  std::vector<int> in(n), inclusive(n), exclusive(n);
  std::mt19937 generator(7);
  for (int& value : in) value = static_cast<int>(generator() % 100) - 50;
  for (int i = 0, sum = 0; i < n; ++i) {
    exclusive[i] = sum;
    inclusive[i] = sum += in[i];
  }
  const Buffer<int> device_in(in), out(n);

  scan_hillis_steele<<<1, threads>>>(device_in.get(), out.get(), threads);
  std::vector<int> first(threads);
  check(cudaMemcpy(first.data(), out.get(), threads * sizeof(int), cudaMemcpyDeviceToHost));
  verify(first == std::vector<int>(inclusive.begin(), inclusive.begin() + threads), "scan of one block");

  const unsigned blocks = blocks_for(n, 2 * threads);
  const Buffer<int> sums(blocks), scanned(blocks);
  scan_blelloch<<<blocks, threads>>>(device_in.get(), out.get(), sums.get(), n);
  scan_blelloch<<<1, threads>>>(sums.get(), scanned.get(), nullptr, static_cast<int>(blocks));
  add_block_sums<<<blocks, 2 * threads>>>(out.get(), scanned.get(), n);
  check(cudaDeviceSynchronize());
  verify(out.download() == exclusive, "scan over all blocks");
  std::puts("scan: passed");
}
