// A cooperative launch: all blocks of the grid meet at a barrier, here between the steps of a relaxation. And what
// kernels print.
#include <cooperative_groups.h>

#include "tests/gpusim/programs/verify.h"

namespace cg = cooperative_groups;

// Jacobi's iteration for the steady heat of a rod whose ends are held at 0 and 1.
__global__ void relax(float* now, float* next, int n, int steps) {
  const auto grid = cg::this_grid();
  for (int step = 0; step < steps; ++step) {
    for (unsigned i = grid.thread_rank(); i < n; i += grid.size()) {
      next[i] = i == 0 || i == n - 1 ? now[i] : 0.5f * (now[i - 1] + now[i + 1]);
    }
    grid.sync();
    float* const other = now;
    now = next;
    next = other;
  }
}

__global__ void greet() {
  printf("block %d of %d, thread %d: %s %.3f %c\n", blockIdx.x, gridDim.x, threadIdx.x, "hello", 0.5 * threadIdx.x,
         'x');
}

int main() {
  int n = 66, steps = 400;
  std::vector<float> rod(n), other(n);
  rod[n - 1] = 1;
  Buffer<float> now(rod), next(n);
  float *now_pointer = now.get(), *next_pointer = next.get();
  void* arguments[] = {&now_pointer, &next_pointer, &n, &steps};
  check(cudaLaunchCooperativeKernel(reinterpret_cast<void*>(relax), dim3(4), dim3(32), arguments, 0, nullptr));
  for (int step = 0; step < steps; ++step) {
    for (int i = 0; i < n; ++i) other[i] = i == 0 || i == n - 1 ? rod[i] : 0.5f * (rod[i - 1] + rod[i + 1]);
    std::swap(rod, other);
  }
  verify_close(now.download(), rod, 0, "the rod after all steps");

  int per_multiprocessor = 0, multiprocessors = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_multiprocessor, relax, 32, 0));
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
  const unsigned too_many = static_cast<unsigned>(per_multiprocessor * multiprocessors) + 1;
  verify(cudaLaunchCooperativeKernel(reinterpret_cast<void*>(relax), dim3(too_many), dim3(32), arguments, 0, nullptr) ==
             cudaErrorCooperativeLaunchTooLarge,
         "a grid that cannot be resident at once");
  cudaGetLastError();

  greet<<<2, 2>>>();
  check(cudaDeviceSynchronize());
  std::puts("grid_sync: passed");
}
