// Bugs of order: barriers and shuffles that not all threads reach, and asynchronous copies nobody waits for.
#include <cuda_pipeline.h>

#include "tests/gpusim/bugs/bugs.h"

constexpr int threads = 64;

// Half of a warp waits for the other half.
__global__ void half_a_warp(float* out) {
  if (fixed || threadIdx.x % 32 < 16) {
    __syncthreads();  // EXPECT half_a_warp: divergent barrier
  }
  out[threadIdx.x] = 1;
}

// One of the warps passes by.
__global__ void one_warp_passes(const float* in, float* out) {
  __shared__ float values[threads];
  values[threadIdx.x] = in[threadIdx.x];  // ALSO one_warp_passes: shared memory race
  if (fixed || threadIdx.x < 32) __syncthreads();
  out[threadIdx.x] = values[threads - 1 - threadIdx.x];  // EXPECT one_warp_passes: shared memory race
}

// A shuffle of all lanes that half of them do not reach.
__global__ void half_a_shuffle(const float* in, float* out) {
  float value = in[threadIdx.x];
  if (fixed || threadIdx.x % 2 == 0) {
    value += __shfl_xor_sync(0xffffffff, value, 2);  // EXPECT half_a_shuffle: divergent shuffle
  }
  out[threadIdx.x] = value;
}

// The guard lets the last lanes leave before the warp adds up.
__global__ void left_early(const float* in, float* out, int n) {
  const int i = threadIdx.x;
  if (!fixed && i >= n) return;
  float value = i < n ? in[i] : 0;
  for (int offset = 16; offset > 0; offset /= 2)
    value += __shfl_down_sync(0xffffffff, value, offset);  // EXPECT left_early: divergent shuffle
  if (i % 32 == 0) out[i / 32] = value;
}

__global__ void no_wait(const float* in, float* out) {
  __shared__ __align__(16) float tile[threads * 4];
  __pipeline_memcpy_async(&tile[4 * threadIdx.x], &in[4 * threadIdx.x], 16);
  __pipeline_commit();
  if (fixed) __pipeline_wait_prior(0);
  __syncthreads();
  out[threadIdx.x] = tile[threads * 4 - 1 - threadIdx.x];  // EXPECT no_wait: missing async wait
}

// It waits for the batch before the one that is used.
__global__ void wrong_batch(const float* in, float* out) {
  __shared__ __align__(16) float tile[2][threads * 4];
  for (int batch = 0; batch < 2; ++batch) {
    __pipeline_memcpy_async(&tile[batch][4 * threadIdx.x], &in[4 * threadIdx.x], 16);
    __pipeline_commit();
  }
  __pipeline_wait_prior(fixed ? 0 : 1);
  __syncthreads();
  out[threadIdx.x] = tile[1][threadIdx.x];  // EXPECT wrong_batch: missing async wait
}

// It waits for its own copies, but reads those of another warp without a barrier.
__global__ void own_copies(const float* in, float* out) {
  __shared__ __align__(16) float tile[threads * 4];
  __pipeline_memcpy_async(&tile[4 * threadIdx.x], &in[4 * threadIdx.x], 16);  // ALSO own_copies: shared memory race
  __pipeline_commit();
  __pipeline_wait_prior(0);
  if (fixed) __syncthreads();
  out[threadIdx.x] = tile[threads * 4 - 1 - threadIdx.x];  // EXPECT own_copies: uninitialised read, shared memory race
}

int main(int count, char** arguments) {
  float *in = device_floats(threads * 4), *out = device_floats(threads);
  const int status = run(count, arguments,
                         {{"half_a_warp", [&] { half_a_warp<<<1, threads>>>(out); }},
                          {"one_warp_passes", [&] { one_warp_passes<<<1, threads>>>(in, out); }},
                          {"half_a_shuffle", [&] { half_a_shuffle<<<1, threads>>>(in, out); }},
                          {"left_early", [&] { left_early<<<1, threads>>>(in, out, 50); }},
                          {"no_wait", [&] { no_wait<<<1, threads>>>(in, out); }},
                          {"wrong_batch", [&] { wrong_batch<<<1, threads>>>(in, out); }},
                          {"own_copies", [&] { own_copies<<<1, threads>>>(in, out); }}});
  cudaFree(in);
  cudaFree(out);
  return status;
}
