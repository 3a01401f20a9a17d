// A product on tensor cores: ldmatrix brings the operands of mma.sync.m16n8k16 from a swizzled tile of shared memory into
// registers. One warp computes a 16 x 8 block of C = A B, with A [m, k] and B^T [n, k] in bf16 and C in f32.
#include <cuda_bf16.h>

#include "tests/gpusim/programs/verify.h"

using bf16 = __nv_bfloat16;
constexpr int tile_m = 16, tile_n = 8, tile_k = 16;

// 16-byte pieces of a row of 16 numbers: two per row. Swapping them in every other group of four rows spreads the eight
// rows that ldmatrix reads at a time over all banks.
__device__ int swizzled(int row, int piece) {
  return row * tile_k + (piece ^ (row / 4 & 1)) * 8;
}

__device__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

__global__ void matmul_mma(const bf16* a, const bf16* b_transposed, float* c, int n, int k) {
  __shared__ __align__(16) bf16 tile_a[tile_m * tile_k], tile_b[tile_n * tile_k];
  const int lane = threadIdx.x, row = blockIdx.y * tile_m, column = blockIdx.x * tile_n;
  float sum[4] = {};
  for (int start = 0; start < k; start += tile_k) {
    const int r = lane / 2, piece = lane % 2;
    *reinterpret_cast<uint4*>(&tile_a[swizzled(r, piece)]) =
        *reinterpret_cast<const uint4*>(&a[(row + r) * k + start + piece * 8]);
    if (r < tile_n) {
      *reinterpret_cast<uint4*>(&tile_b[swizzled(r, piece)]) =
          *reinterpret_cast<const uint4*>(&b_transposed[(column + r) * k + start + piece * 8]);
    }
    __syncwarp();
    unsigned fa[4], fb[2];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3])
                 : "r"(shared_address(&tile_a[swizzled(lane % 16, lane / 16)])));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(fb[0]), "=r"(fb[1])
                 : "r"(shared_address(&tile_b[swizzled(lane % 8, lane / 8 % 2)])));
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
    __syncwarp();
  }
  // Each lane holds two neighbours of row lane / 4, and two of the row eight below.
  float* out = &c[(row + lane / 4) * n + column + lane % 4 * 2];
  out[0] = sum[0];
  out[1] = sum[1];
  out[8 * n] = sum[2];
  out[8 * n + 1] = sum[3];
}

int main() {
  const int m = 48, n = 40, k = 64;
  const auto a = random_floats(m * k, 1), b = random_floats(n * k, 2);
  std::vector<bf16> half_a(a.size()), half_b(b.size());
  for (std::size_t i = 0; i < a.size(); ++i) half_a[i] = __float2bfloat16(a[i]);
  for (std::size_t i = 0; i < b.size(); ++i) half_b[i] = __float2bfloat16(b[i]);
  std::vector<double> expected(m * n);
  for (int row = 0; row < m; ++row) {
    for (int column = 0; column < n; ++column) {
      for (int i = 0; i < k; ++i) {
        expected[row * n + column] +=
            double(__bfloat162float(half_a[row * k + i])) * __bfloat162float(half_b[column * k + i]);
      }
    }
  }
  const Buffer<bf16> device_a(half_a), device_b(half_b);
  const Buffer<float> device_c(m * n);
  matmul_mma<<<dim3(n / tile_n, m / tile_m), 32>>>(device_a.get(), device_b.get(), device_c.get(), n, k);
  check(cudaGetLastError());
  verify_close(device_c.download(), expected, 1e-5, "a b");
  std::puts("tensor_cores: passed");
}
