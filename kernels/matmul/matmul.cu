// The matrix product by hand: each block makes one tile of c from tiles of a and b in shared memory, so that an element
// of a is fetched once for 16 products instead of once for each. Any strides. It is what the cuBLAS variant falls back on.
#include "kernels/cuda/map.cuh"
#include "kernels/matmul/cuda.h"
#include "kernels/matmul/matmul.h"

namespace heed::kernels {
namespace {

constexpr int tile = 16;

struct Product {
  std::uint32_t row_tiles, column_tiles;
  std::int64_t m, n, k;
  std::int64_t strides[3][2];  // of a, b, c: from row to row, from column to column
  double alpha, beta;
  cuda::Indexer<3> batch;  // a, b, c
};

template <class T>
__global__ void __launch_bounds__(tile* tile) matmul_tiles(Product product, const T* a, const T* b, T* c) {
  using Number = Compute<T>;
  __shared__ Number a_tile[tile][tile], b_tile[tile][tile];
  const std::uint32_t others = blockIdx.x / product.column_tiles;
  const auto start = product.batch(others / product.row_tiles);
  const int i = threadIdx.y, j = threadIdx.x;
  const std::int64_t row = std::int64_t{others % product.row_tiles} * tile + i;
  const std::int64_t column = std::int64_t{blockIdx.x % product.column_tiles} * tile + j;
  const std::int64_t(&strides)[3][2] = product.strides;
  a += start.of[0] + row * strides[0][0];
  b += start.of[1] + column * strides[1][1];

  Number sum = 0;
  for (std::int64_t first = 0; first < product.k; first += tile) {
    const std::int64_t a_column = first + j, b_row = first + i;
    const bool has_a = row < product.m && a_column < product.k, has_b = b_row < product.k && column < product.n;
    a_tile[i][j] = has_a ? cuda::widened(a[a_column * strides[0][1]]) : Number(0);
    b_tile[i][j] = has_b ? cuda::widened(b[b_row * strides[1][0]]) : Number(0);
    __syncthreads();
#pragma unroll
    for (int p = 0; p < tile; ++p) sum += a_tile[i][p] * b_tile[p][j];
    __syncthreads();
  }
  if (row >= product.m || column >= product.n) return;
  T& element = c[start.of[2] + row * strides[2][0] + column * strides[2][1]];
  const Number kept = product.beta == 0 ? Number(0) : Number(product.beta) * cuda::widened(element);
  element = static_cast<T>((product.k == 0 ? Number(0) : Number(product.alpha) * sum) + kept);
}

}  // namespace

void matmul_tiled_cuda(View a, View b, View c, double alpha, double beta, Stream stream) {
  if (c.size() == 0) return;
  const int row = c.rank - 2, column = c.rank - 1;
  const auto batch = loop_nest<3>({a, b, c}, LoopOrder::logical, 2, [&](int axis) { return axis < row; });

  const Product product{
      static_cast<std::uint32_t>(cuda::divide_up(c.shape[row], tile)),
      static_cast<std::uint32_t>(cuda::divide_up(c.shape[column], tile)),
      c.shape[row],
      c.shape[column],
      alpha == 0 ? 0 : a.shape[column],
      {{a.strides[row], a.strides[column]}, {b.strides[row], b.strides[column]}, {c.strides[row], c.strides[column]}},
      alpha,
      beta,
      cuda::Indexer<3>(batch)};
  const std::int64_t blocks = cuda::size_of(batch) * product.row_tiles * product.column_tiles;
  if (blocks > cuda::max_indexed) cuda::fail("matmul", "the product is too large for one launch");
  with_floating_type(c.dtype, [&]<class T>(T) {
    cuda::launch({"matmul", static_cast<unsigned>(blocks), dim3(tile, tile), 0, stream}, &matmul_tiles<T>, product,
                 a.as<const T>(), b.as<const T>(), c.as<T>());
  });
}

namespace {
const Register tiled{matmul, DeviceType::cuda, "tiled", &matmul_tiled_cuda};
}  // namespace
}  // namespace heed::kernels
