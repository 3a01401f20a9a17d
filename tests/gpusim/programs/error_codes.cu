// The errors of the run-time, each with the code that the real one returns, when it returns it: at the launch, at the
// next call, once or for ever.
#include <cassert>
#include <cstring>

#include "tests/gpusim/programs/verify.h"

__global__ void store(int* p) {
  p[threadIdx.x] = 1;
}
__global__ void store_wide(float4* p) {
  *p = float4{1, 2, 3, 4};
}
__global__ void __launch_bounds__(64) bounded(int* p) {
  p[threadIdx.x] = 1;
}
__global__ void dynamic(int* p) {
  extern __shared__ int shared[];
  shared[threadIdx.x] = 1;
  p[threadIdx.x] = shared[threadIdx.x];
}
__global__ void give_up() {
  __trap();
}
__global__ void insist(int value) {
  assert(value == 3);
}
static __device__ int variable;
static int not_a_variable;

static void expect(cudaError_t error, cudaError_t wanted, const char* what,
                   std::source_location where = std::source_location::current()) {
  if (error != wanted) std::printf("%s: %s, not %s\n", what, cudaGetErrorName(error), cudaGetErrorName(wanted));
  verify(error == wanted, what, where);
}

// A launch that is refused: the code is there at once, cudaGetLastError clears it, and the next launch works.
static void expect_refused(cudaError_t wanted, const char* what,
                           std::source_location where = std::source_location::current()) {
  expect(cudaPeekAtLastError(), wanted, what, where);
  expect(cudaGetLastError(), wanted, what, where);
  expect(cudaGetLastError(), cudaSuccess, "cudaGetLastError clears", where);
  expect(cudaDeviceSynchronize(), cudaSuccess, "nothing sticks", where);
}

// A kernel that fails: seen when the host waits, and by every call from then on.
static void expect_sticky(cudaError_t wanted, const char* what,
                          std::source_location where = std::source_location::current()) {
  expect(cudaGetLastError(), cudaSuccess, "the launch itself succeeds", where);
  expect(cudaDeviceSynchronize(), wanted, what, where);
  void* p;
  expect(cudaMalloc(&p, 16), wanted, "later calls fail, too", where);
  expect(cudaGetLastError(), wanted, "it is the last error", where);
  expect(cudaDeviceSynchronize(), wanted, "and stays", where);
  check(cudaDeviceReset());
  expect(cudaGetLastError(), cudaSuccess, "until the device is reset", where);
}

static void launches(int* p) {
  store<<<1, 2048>>>(p);
  expect_refused(cudaErrorInvalidConfiguration, "too many threads");
  store<<<0, 32>>>(p);
  expect_refused(cudaErrorInvalidConfiguration, "an empty grid");
  store<<<dim3(1, 70'000), 32>>>(p);
  expect_refused(cudaErrorInvalidConfiguration, "too high a grid");
  store<<<1, dim3(1, 1, 65)>>>(p);
  expect_refused(cudaErrorInvalidConfiguration, "too deep a block");
  bounded<<<1, 65>>>(p);
  expect_refused(cudaErrorInvalidValue, "more threads than __launch_bounds__ promised");
  dynamic<<<1, 32, 49 << 10>>>(p);
  expect_refused(cudaErrorInvalidValue, "more shared memory than 48 KiB without asking");
  int most = 0;
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
  expect(cudaFuncSetAttribute(dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, most + 1), cudaErrorInvalidValue,
         "asking for too much");
  cudaGetLastError();
  check(cudaFuncSetAttribute(dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
  dynamic<<<1, 32, most>>>(p);
  check(cudaDeviceSynchronize());
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, bounded));
  verify(attributes.maxThreadsPerBlock == 64, "__launch_bounds__ shows in the attributes");
  expect(cudaLaunchKernel(reinterpret_cast<void*>(&launches), dim3(1), dim3(1), nullptr, 0, nullptr),
         cudaErrorInvalidDeviceFunction, "a function of the host");
  cudaGetLastError();
}

static void memory() {
  void* p = nullptr;
  expect(cudaMalloc(&p, std::size_t{1} << 46), cudaErrorMemoryAllocation, "more memory than there is");
  expect(cudaGetLastError(), cudaErrorMemoryAllocation, "it is remembered");
  check(cudaMalloc(&p, 0));
  verify(p == nullptr, "no memory for 0 bytes");
  check(cudaFree(nullptr));
  check(cudaMalloc(&p, 64));
  char host[128] = {};
  expect(cudaMemcpy(p, host, 128, cudaMemcpyHostToDevice), cudaErrorInvalidValue, "a copy past the end");
  expect(cudaMemcpy(host, host + 64, 64, cudaMemcpyHostToDevice), cudaErrorInvalidValue, "a copy to no device memory");
  expect(cudaMemcpy(p, host, 64, static_cast<cudaMemcpyKind>(9)), cudaErrorInvalidMemcpyDirection,
         "an unknown direction");
  expect(cudaMemcpy2D(p, 4, host, 16, 8, 2, cudaMemcpyHostToDevice), cudaErrorInvalidPitchValue,
         "rows longer than the pitch");
  expect(cudaFree(static_cast<char*>(p) + 16), cudaErrorInvalidValue, "freeing the middle");
  check(cudaFree(p));
  expect(cudaFree(p), cudaErrorInvalidValue, "freeing twice");
  expect(cudaFreeHost(host), cudaErrorInvalidValue, "freeing what was never pinned");
  expect(cudaMemcpyToSymbol(variable, host, sizeof(int) + 1), cudaErrorInvalidValue, "more than the symbol holds");
  expect(cudaGetSymbolAddress(&p, not_a_variable), cudaErrorInvalidSymbol, "no symbol");
  cudaPointerAttributes attributes;
  check(cudaPointerGetAttributes(&attributes, host));
  verify(attributes.type == cudaMemoryTypeUnregistered, "the host's own memory");
  check(cudaGetSymbolAddress(&p, variable));
  check(cudaPointerGetAttributes(&attributes, p));
  verify(attributes.type == cudaMemoryTypeDevice, "device memory");
  cudaGetLastError();
}

static void handles() {
  cudaEvent_t event, other;
  check(cudaEventCreate(&event));
  check(cudaEventCreateWithFlags(&other, cudaEventDisableTiming));
  float time;
  expect(cudaEventElapsedTime(&time, event, event), cudaErrorInvalidResourceHandle, "an event never recorded");
  check(cudaEventRecord(event));
  check(cudaEventRecord(other));
  expect(cudaEventElapsedTime(&time, event, other), cudaErrorInvalidResourceHandle, "an event without time");
  check(cudaEventDestroy(event));
  check(cudaEventDestroy(other));
  expect(cudaSetDevice(1), cudaErrorInvalidDevice, "a second device");
  cudaGetLastError();
  verify(std::strcmp(cudaGetErrorString(cudaErrorInvalidValue), "invalid argument") == 0, "texts");
  verify(std::strcmp(cudaGetErrorName(cudaErrorIllegalAddress), "cudaErrorIllegalAddress") == 0, "names");
}

int main() {
  int* p;
  check(cudaMalloc(&p, 1024));
  launches(p);
  check(cudaFree(p));
  memory();
  handles();
  store<<<1, 1>>>(nullptr);
  expect_sticky(cudaErrorIllegalAddress, "a null pointer");
  check(cudaMalloc(&p, 1024));  // the reset took what there was
  store_wide<<<1, 1>>>(reinterpret_cast<float4*>(p + 1));
  expect_sticky(cudaErrorMisalignedAddress, "a misaligned address");
  give_up<<<1, 1>>>();
  expect_sticky(cudaErrorLaunchFailure, "a trap");
  insist<<<1, 1>>>(4);
  expect_sticky(cudaErrorAssert, "an assertion");
  insist<<<1, 1>>>(3);
  check(cudaDeviceSynchronize());
  std::puts("error_codes: passed");
}
