// Bugs of addresses: out of bounds on every side, misaligned, freed, null, never written, never freed.
#include <cassert>

#include "tests/gpusim/bugs/bugs.h"

__global__ void past_the_end(const float* in, float* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (fixed ? i >= n : i > n) return;
  out[i] = in[i];  // EXPECT past_the_end: out of bounds
}

__global__ void below_the_start(float* out, int n) {
  const int i = threadIdx.x;
  if (i >= n || (fixed && i == 0)) return;
  out[i - 1] = 1;  // EXPECT below_the_start: out of bounds
}

__global__ void off_by_one_row(float* matrix, int rows, int columns) {
  for (int row = threadIdx.y; fixed ? row < rows : row <= rows; row += blockDim.y) {
    for (int column = threadIdx.x; column < columns; column += blockDim.x) {
      matrix[row * columns + column] = 0;  // EXPECT off_by_one_row: out of bounds
    }
  }
}

__global__ void bytes_for_elements(float* data, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) data[i] = 0;  // EXPECT bytes_for_elements: out of bounds
}

__global__ void freed(const float* in, float* out) {
  out[threadIdx.x] = in[threadIdx.x];  // EXPECT freed: out of bounds
}

__global__ void null(float* out) {
  out[threadIdx.x] = 1;  // EXPECT null: null pointer
}

__global__ void misaligned(const float* in, float* out) {
  const float4 four = *reinterpret_cast<const float4*>(in + (fixed ? 4 : 1));  // EXPECT misaligned: misaligned access
  out[threadIdx.x] = four.x + four.w;
}

__global__ void never_written(const float* in, float* out) {
  out[threadIdx.x] = 2 * in[threadIdx.x];  // EXPECT never_written: uninitialised read
}

__global__ void small_dynamic(float* out) {
  extern __shared__ float values[];
  values[threadIdx.x] = 1;  // EXPECT small_dynamic: out of bounds
  out[threadIdx.x] = values[threadIdx.x];
}

__global__ void beyond_shared(float* out) {
  __shared__ float values[64];
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();
  const int next = fixed ? min(threadIdx.x + 1, 63u) : threadIdx.x + 1;
  out[threadIdx.x] = values[next];  // EXPECT beyond_shared: out of bounds
}

__global__ void assertion(int n) {
  assert(threadIdx.x < n);  // EXPECT assertion: trap
}

static void leaked() {
  float* data = nullptr;
  cudaMalloc(&data, 1000);  // EXPECT leaked: leaked allocation
  if (fixed) cudaFree(data);
}

static void copy_too_much() {
  float host[65] = {};
  float* const data = device_floats(64);
  const std::size_t bytes = (fixed ? 64 : 65) * sizeof(float);
  cudaMemcpy(data, host, bytes, cudaMemcpyHostToDevice);  // EXPECT copy_too_much: out of bounds
  cudaFree(data);
}

static void copy_unwritten() {
  float host[64];
  float* const data = device_floats(64, fixed);
  cudaMemcpy(host, data, sizeof host, cudaMemcpyDeviceToHost);  // EXPECT copy_unwritten: uninitialised read
  cudaFree(data);
}

int main(int count, char** arguments) {
  const int n = 64;
  float *in = device_floats(n), *out = device_floats(n), *empty = device_floats(n, fixed);
  const int status = run(count, arguments,
                         {{"past_the_end", [&] { past_the_end<<<2, 64>>>(in, out, n); }},
                          {"below_the_start", [&] { below_the_start<<<1, n>>>(out, n); }},
                          {"off_by_one_row", [&] { off_by_one_row<<<1, dim3(8, 4)>>>(out, 8, 8); }},
                          {"bytes_for_elements",
                           [&] {
                             float* data = nullptr;
                             cudaMalloc(&data, fixed ? n * sizeof(float) : n);
                             bytes_for_elements<<<1, 32>>>(data, n);
                             cudaDeviceSynchronize();
                             cudaFree(data);
                           }},
                          {"freed",
                           [&] {
                             float* data = device_floats(n);
                             if (!fixed) cudaFree(data);
                             freed<<<1, 32>>>(data, out);
                             cudaDeviceSynchronize();
                             if (fixed) cudaFree(data);
                           }},
                          {"null", [&] { null<<<1, 32>>>(fixed ? out : nullptr); }},
                          {"misaligned", [&] { misaligned<<<1, 1>>>(in, out); }},
                          {"never_written", [&] { never_written<<<1, n>>>(empty, out); }},
                          {"small_dynamic", [&] { small_dynamic<<<1, n, fixed ? n * sizeof(float) : n>>>(out); }},
                          {"beyond_shared", [&] { beyond_shared<<<1, n>>>(out); }},
                          {"assertion", [&] { assertion<<<1, 32>>>(fixed ? 32 : 31); }},
                          {"leaked", leaked},
                          {"copy_too_much", copy_too_much},
                          {"copy_unwritten", copy_unwritten}});
  for (float* data : {in, out, empty}) cudaFree(data);
  return status;
}
