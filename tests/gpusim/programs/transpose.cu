// Transposition, three ways: without shared memory (writes of a warp are scattered), through a tile (both sides
// coalesced, but the tile's columns all lie in one bank), and through a tile one column wider.
#include "tests/gpusim/programs/verify.h"

constexpr int tile_size = 32, block_rows = 8;

__global__ void transpose_naive(float* out, const float* in, int width, int height) {
  const int x = blockIdx.x * tile_size + threadIdx.x, y = blockIdx.y * tile_size + threadIdx.y;
  for (int j = 0; j < tile_size; j += block_rows) {
    if (x < width && y + j < height) out[x * height + y + j] = in[(y + j) * width + x];
  }
}

template <int padding>
__global__ void transpose_tiled(float* out, const float* in, int width, int height) {
  __shared__ float tile[tile_size][tile_size + padding];
  int x = blockIdx.x * tile_size + threadIdx.x, y = blockIdx.y * tile_size + threadIdx.y;
  for (int j = 0; j < tile_size; j += block_rows) {
    if (x < width && y + j < height) tile[threadIdx.y + j][threadIdx.x] = in[(y + j) * width + x];
  }
  __syncthreads();
  x = blockIdx.y * tile_size + threadIdx.x;
  y = blockIdx.x * tile_size + threadIdx.y;
  for (int j = 0; j < tile_size; j += block_rows) {
    if (x < height && y + j < width) out[(y + j) * height + x] = tile[threadIdx.x][threadIdx.y + j];
  }
}

int main() {
  const int width = 200, height = 131;
  const auto in = random_floats(width * height);
  std::vector<float> expected(in.size());
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) expected[x * height + y] = in[y * width + x];
  }
  const Buffer<float> device_in(in);
  const dim3 grid(blocks_for(width, tile_size), blocks_for(height, tile_size)), block(tile_size, block_rows);
  for (auto* kernel : {&transpose_naive, &transpose_tiled<0>, &transpose_tiled<1>}) {
    const Buffer<float> device_out(in.size());
    kernel<<<grid, block>>>(device_out.get(), device_in.get(), width, height);
    check(cudaDeviceSynchronize());
    verify_close(device_out.download(), expected, 0, "transposed");
  }
  std::puts("transpose: passed");
}
