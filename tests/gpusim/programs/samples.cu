// Small programs in the manner of CUDA's samples: bodies that attract each other, the Mandelbrot set, option prices by
// Black and Scholes, a bitonic sort, a sparse matrix times a vector, and sums in double precision by compare-and-swap.
#include <algorithm>

#include "tests/gpusim/programs/verify.h"

__global__ void attract(const float4* bodies, float3* forces, int n) {
  extern __shared__ float4 tile[];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const float4 mine = i < n ? bodies[i] : float4{};
  float3 force{};
  for (int start = 0; start < n; start += blockDim.x) {
    if (start + threadIdx.x < n) tile[threadIdx.x] = bodies[start + threadIdx.x];
    __syncthreads();
    for (int j = 0; j < min(static_cast<int>(blockDim.x), n - start); ++j) {
      const float x = tile[j].x - mine.x, y = tile[j].y - mine.y, z = tile[j].z - mine.z;
      const float inverse = rsqrtf(x * x + y * y + z * z + 0.01f);
      const float strength = tile[j].w * inverse * inverse * inverse;
      force.x += strength * x;
      force.y += strength * y;
      force.z += strength * z;
    }
    __syncthreads();
  }
  if (i < n) forces[i] = force;
}

__global__ void mandelbrot(int* iterations, int size, int limit) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
  if (column >= size || row >= size) return;
  const double cx = -2.0 + 3.0 * column / size, cy = -1.5 + 3.0 * row / size;
  double x = 0, y = 0;
  int count = 0;
  while (count < limit && x * x + y * y < 4) {
    const double next = x * x - y * y + cx;
    y = 2 * x * y + cy;
    x = next;
    ++count;
  }
  iterations[row * size + column] = count;
}

__host__ __device__ float normal(float x) {
  return 0.5f * erfcf(-x * 0.70710678f);
}

__host__ __device__ float call_price(float stock, float strike, float years) {
  const float rate = 0.02f, volatility = 0.3f, root = sqrtf(years);
  const float d1 = (logf(stock / strike) + (rate + 0.5f * volatility * volatility) * years) / (volatility * root);
  return stock * normal(d1) - strike * expf(-rate * years) * normal(d1 - volatility * root);
}

__global__ void black_scholes(const float* stock, float* price, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) price[i] = call_price(stock[i], 20, 0.25f + 0.01f * i);
}

template <int n>
__global__ void bitonic_sort(unsigned* keys) {
  __shared__ unsigned shared[n];
  for (int i = threadIdx.x; i < n; i += blockDim.x) shared[i] = keys[i];
  for (int size = 2; size <= n; size *= 2) {
    for (int stride = size / 2; stride > 0; stride /= 2) {
      __syncthreads();
      for (int pair = threadIdx.x; pair < n / 2; pair += blockDim.x) {
        const int low = 2 * pair - (pair & (stride - 1)), high = low + stride;
        const bool ascending = (low & size) == 0;
        const unsigned a = shared[low], b = shared[high];
        if ((a > b) == ascending) {
          shared[low] = b;
          shared[high] = a;
        }
      }
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) keys[i] = shared[i];
}

// Compressed sparse rows, one warp per row.
__global__ void sparse_product(const int* starts, const int* columns, const float* values, const float* x, float* y,
                               int rows) {
  const int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  float sum = 0;
  for (int i = starts[row] + lane; i < starts[row + 1]; i += 32) sum += values[i] * x[columns[i]];
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffff, sum, offset);
  if (lane == 0) y[row] = sum;
}

__device__ double add_by_swapping(double* address, double value) {
  auto* bits = reinterpret_cast<unsigned long long*>(address);
  unsigned long long old = *bits, assumed;
  do {
    assumed = old;
    old = atomicCAS(bits, assumed, __double_as_longlong(value + __longlong_as_double(assumed)));
  } while (old != assumed);
  return __longlong_as_double(old);
}

__global__ void harmonic(double* sums, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  add_by_swapping(&sums[0], 1.0 / (i + 1));
  atomicAdd(&sums[1], 1.0 / (i + 1));
}

static void test_bodies() {
  const int n = 100;
  const auto random = random_floats(4 * n);
  std::vector<float4> bodies(n);
  for (int i = 0; i < n; ++i) bodies[i] = {random[4 * i], random[4 * i + 1], random[4 * i + 2], 1 + random[4 * i + 3]};
  const Buffer<float4> device(bodies);
  const Buffer<float3> forces(n);
  attract<<<blocks_for(n, 64), 64, 64 * sizeof(float4)>>>(device.get(), forces.get(), n);
  std::vector<float> got;
  std::vector<double> expected;
  for (const float3& force : forces.download()) got.insert(got.end(), {force.x, force.y, force.z});
  for (int i = 0; i < n; ++i) {
    double sum[3] = {};
    for (int j = 0; j < n; ++j) {
      const double d[3] = {double(bodies[j].x) - bodies[i].x, double(bodies[j].y) - bodies[i].y,
                           double(bodies[j].z) - bodies[i].z};
      const double strength = bodies[j].w / std::pow(d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + 0.01, 1.5);
      for (int axis = 0; axis < 3; ++axis) sum[axis] += strength * d[axis];
    }
    expected.insert(expected.end(), sum, sum + 3);
  }
  verify_close(got, expected, 1e-4, "forces");
}

static void test_mandelbrot() {
  const int size = 40, limit = 60;
  const Buffer<int> iterations(size * size);
  mandelbrot<<<dim3(blocks_for(size, 8), blocks_for(size, 8)), dim3(8, 8)>>>(iterations.get(), size, limit);
  const auto counts = iterations.download();
  verify(counts[20 * size + 13] == limit && counts[0] == 1, "inside and outside");
  long sum = 0;
  for (const int count : counts) sum += count;
  verify(sum > 20'000 && sum < 60'000, "the set's size");
}

static void test_options() {
  const auto stock = random_floats(300, 3, 10, 30);
  std::vector<float> expected(stock.size());
  for (std::size_t i = 0; i < stock.size(); ++i)
    expected[i] = call_price(stock[i], 20, 0.25f + 0.01f * static_cast<float>(i));
  const Buffer<float> device(stock), price(stock.size());
  black_scholes<<<blocks_for(stock.size(), 96), 96>>>(device.get(), price.get(), static_cast<int>(stock.size()));
  verify_close(price.download(), expected, 2e-5, "option prices");
}

static void test_sort() {
  constexpr int n = 512;
  std::vector<unsigned> keys(n);
  std::mt19937 generator(11);
  for (unsigned& key : keys) key = generator();
  const Buffer<unsigned> device(keys);
  bitonic_sort<n><<<1, 128>>>(device.get());
  std::sort(keys.begin(), keys.end());
  verify(device.download() == keys, "sorted");
}

static void test_sparse() {
  const int rows = 60, width = 200;
  std::mt19937 generator(13);
  std::vector<int> starts = {0}, columns;
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < width; ++column) {
      if (generator() % 5 == 0) columns.push_back(column);
    }
    starts.push_back(static_cast<int>(columns.size()));
  }
  const auto values = random_floats(columns.size(), 1), x = random_floats(width, 2);
  std::vector<double> expected(rows);
  for (int row = 0; row < rows; ++row) {
    for (int i = starts[row]; i < starts[row + 1]; ++i) expected[row] += double(values[i]) * x[columns[i]];
  }
  const Buffer<int> device_starts(starts), device_columns(columns);
  const Buffer<float> device_values(values), device_x(x), y(rows);
  sparse_product<<<blocks_for(rows * 32, 128), 128>>>(device_starts.get(), device_columns.get(), device_values.get(),
                                                      device_x.get(), y.get(), rows);
  verify_close(y.download(), expected, 1e-5, "sparse product");
}

static void test_double_atomics() {
  const int n = 500;
  double expected = 0;
  for (int i = 0; i < n; ++i) expected += 1.0 / (i + 1);
  const Buffer<double> sums(std::vector<double>{0, 0});
  harmonic<<<blocks_for(n, 64), 64>>>(sums.get(), n);
  verify_close(sums.download(), std::vector<double>{expected, expected}, 1e-13, "sums in double precision");
}

int main() {
  test_bodies();
  test_mandelbrot();
  test_options();
  test_sort();
  test_sparse();
  test_double_atomics();
  std::puts("samples: passed");
}
