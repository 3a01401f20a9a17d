// A pipeline of asynchronous copies (cp.async): while a block works on one tile, the next ones are on their way into
// shared memory. Each element is replaced by the mean of itself and the row below it.
#include <cuda_pipeline.h>

#include "tests/gpusim/programs/verify.h"

constexpr int columns = 128, stages = 4;

__global__ void smooth(const float* in, float* out, int rows) {
  __shared__ __align__(16) float tile[stages][columns];
  const int first = blockIdx.x * 16, last = min(first + 16, rows), lane = threadIdx.x;  // 32 threads, 4 columns each
  const auto fetch = [&](int row) {
    if (row <= min(last, rows - 1))
      __pipeline_memcpy_async(&tile[row % stages][4 * lane], &in[row * columns + 4 * lane], 16);
    __pipeline_commit();  // an empty batch where there is no row, so that counting stays simple
  };
  for (int stage = 0; stage < stages - 1; ++stage) fetch(first + stage);
  for (int row = first; row < last; ++row) {
    __pipeline_wait_prior(stages - 3);  // this row and the next are there; later ones may still be on their way
    __syncthreads();
    fetch(row + stages - 1);
    const int below = min(row + 1, rows - 1);
    for (int c = lane; c < columns; c += 32) {
      out[row * columns + c] = 0.5f * (tile[row % stages][c] + tile[below % stages][c]);
    }
    __syncthreads();
  }
}

int main() {
  const int rows = 101;
  const auto in = random_floats(rows * columns);
  std::vector<float> expected(in.size());
  for (int row = 0; row < rows; ++row) {
    for (int c = 0; c < columns; ++c) {
      expected[row * columns + c] = 0.5f * (in[row * columns + c] + in[std::min(row + 1, rows - 1) * columns + c]);
    }
  }
  const Buffer<float> device_in(in), device_out(in.size());
  smooth<<<blocks_for(rows, 16), 32>>>(device_in.get(), device_out.get(), rows);
  check(cudaGetLastError());
  verify_close(device_out.download(), expected, 0, "smoothed");
  std::puts("async_pipeline: passed");
}
