// Bugs of shared memory: values nobody wrote, and races between the warps of a block.
#include "tests/gpusim/bugs/bugs.h"

constexpr int threads = 128;

__global__ void missing_halo(const float* in, float* out) {
  __shared__ float window[threads + 2];
  window[threadIdx.x + 1] = in[threadIdx.x];
  if (threadIdx.x == 0) {
    window[0] = 0;
    if (fixed) window[threads + 1] = 0;
  }
  __syncthreads();
  out[threadIdx.x] = window[threadIdx.x] + window[threadIdx.x + 2];  // EXPECT missing_halo: uninitialised read
}

// What one warp writes another reads, with no barrier between.
__global__ void reversed(const float* in, float* out) {
  __shared__ float values[threads];
  values[threadIdx.x] = in[threadIdx.x];  // ALSO reversed: shared memory race
  if (fixed) __syncthreads();
  out[threadIdx.x] = values[threads - 1 - threadIdx.x];  // EXPECT reversed: shared memory race, uninitialised read
}

// The next tile is written while other warps may still read the last one.
__global__ void overwritten(const float* in, float* out, int tiles) {
  __shared__ float tile[threads];
  float sum = 0;
  for (int i = 0; i < tiles; ++i) {
    tile[threadIdx.x] = in[i * threads + threadIdx.x];  // EXPECT overwritten: shared memory race
    __syncthreads();
    sum += tile[(threadIdx.x + 64) % threads];  // ALSO overwritten: shared memory race
    if (fixed) __syncthreads();
  }
  out[threadIdx.x] = sum;
}

// All warps leave their sum in the same place.
__global__ void same_place(const float* in, float* out) {
  __shared__ float sums[threads / 32];
  const float value = in[threadIdx.x];
  if (threadIdx.x % 32 == 0) sums[fixed ? threadIdx.x / 32 : 0] = value;  // EXPECT same_place: shared memory race
  __syncthreads();
  if (threadIdx.x == 0) out[0] = sums[0];
}

// A sum by halving whose barrier is missing in the loop.
__global__ void halving(const float* in, float* out) {
  __shared__ float partial[threads];
  partial[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  for (int stride = threads / 2; stride > 0; stride /= 2) {
    if (threadIdx.x < stride)
      partial[threadIdx.x] += partial[threadIdx.x + stride];  // EXPECT halving: shared memory race
    if (fixed) __syncthreads();
  }
  if (threadIdx.x == 0) out[0] = partial[0];
}

// Counting without atomics.
__global__ void counted(float* out) {
  __shared__ int count;
  if (threadIdx.x == 0) count = 0;
  __syncthreads();
  if constexpr (fixed) {
    atomicAdd(&count, 1);
  } else {
    count += 1;  // EXPECT counted: shared memory race
  }
  __syncthreads();
  out[threadIdx.x] = static_cast<float>(count);
}

// One thread writes, all read; the barrier comes too late.
__global__ void announced(const float* in, float* out) {
  __shared__ float scale;
  if (threadIdx.x == 0) scale = in[0];
  if (fixed) __syncthreads();
  out[threadIdx.x] = in[threadIdx.x] * scale;  // EXPECT announced: shared memory race, uninitialised read
}

int main(int count, char** arguments) {
  const int tiles = 4;
  float *in = device_floats(tiles * threads), *out = device_floats(threads);
  const int status = run(count, arguments,
                         {{"missing_halo", [&] { missing_halo<<<1, threads>>>(in, out); }},
                          {"reversed", [&] { reversed<<<1, threads>>>(in, out); }},
                          {"overwritten", [&] { overwritten<<<1, threads>>>(in, out, tiles); }},
                          {"same_place", [&] { same_place<<<1, threads>>>(in, out); }},
                          {"halving", [&] { halving<<<1, threads>>>(in, out); }},
                          {"counted", [&] { counted<<<1, threads>>>(out); }},
                          {"announced", [&] { announced<<<1, threads>>>(in, out); }}});
  cudaFree(in);
  cudaFree(out);
  return status;
}
