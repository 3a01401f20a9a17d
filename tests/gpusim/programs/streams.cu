// Copies and kernels in two streams, with pinned memory, events between the streams, a callback, managed memory, symbols
// and two-dimensional copies: the host's side of CUDA.
#include "tests/gpusim/programs/verify.h"

__constant__ float coefficients[4];
__device__ float total;
__managed__ int managed_count = 3;

__global__ void polynomial(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = ((coefficients[3] * x[i] + coefficients[2]) * x[i] + coefficients[1]) * x[i] + coefficients[0];
}

__global__ void add_up(const float* y, int n) {
  if (threadIdx.x == 0) total = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) atomicAdd(&total, y[i]);
}

__global__ void count(int* counter) {
  atomicAdd(counter, managed_count);
}

__global__ void scale_pitched(float* data, std::size_t pitch, int width, int height) {
  const int column = threadIdx.x, row = threadIdx.y;
  if (column < width && row < height)
    reinterpret_cast<float*>(reinterpret_cast<char*>(data) + row * pitch)[column] *= 2;
}

int main() {
  const int n = 4096, chunk = n / 2;
  const float host_coefficients[4] = {1, -2, 0.5f, 0.25f};
  check(cudaMemcpyToSymbol(coefficients, host_coefficients, sizeof host_coefficients));

  float *x, *y;
  check(cudaMallocHost(&x, n * sizeof(float)));
  check(cudaHostAlloc(&y, n * sizeof(float), cudaHostAllocDefault));
  const auto values = random_floats(n);
  std::copy(values.begin(), values.end(), x);

  const Buffer<float> device_x(n), device_y(n);
  cudaStream_t streams[2];
  cudaEvent_t start, done[2];
  check(cudaEventCreate(&start));
  check(cudaEventRecord(start));
  for (int i = 0; i < 2; ++i) {
    check(cudaStreamCreateWithFlags(&streams[i], cudaStreamNonBlocking));
    check(cudaEventCreate(&done[i]));
    const int offset = i * chunk;
    check(cudaMemcpyAsync(device_x.get() + offset, x + offset, chunk * sizeof(float), cudaMemcpyHostToDevice,
                          streams[i]));
    polynomial<<<blocks_for(chunk, 128), 128, 0, streams[i]>>>(device_x.get() + offset, device_y.get() + offset, chunk);
    check(cudaMemcpyAsync(y + offset, device_y.get() + offset, chunk * sizeof(float), cudaMemcpyDeviceToHost,
                          streams[i]));
    check(cudaEventRecord(done[i], streams[i]));
  }
  check(cudaStreamWaitEvent(streams[0], done[1]));
  add_up<<<1, 64, 0, streams[0]>>>(device_y.get(), n);
  bool called = false;
  check(cudaLaunchHostFunc(
      streams[0], [](void* flag) { *static_cast<bool*>(flag) = true; }, &called));
  check(cudaStreamSynchronize(streams[0]));
  check(cudaStreamSynchronize(streams[1]));
  verify(called, "the host function ran");
  verify(cudaStreamQuery(streams[0]) == cudaSuccess && cudaEventQuery(done[0]) == cudaSuccess, "all is done");
  float milliseconds = -1;
  check(cudaEventElapsedTime(&milliseconds, start, done[0]));
  verify(milliseconds >= 0, "time passes");

  std::vector<float> expected(n);
  double sum = 0;
  for (int i = 0; i < n; ++i) {
    expected[i] = std::fma(std::fma(std::fma(0.25f, x[i], 0.5f), x[i], -2.0f), x[i], 1.0f);
    sum += expected[i];
  }
  verify_close(std::vector<float>(y, y + n), expected, 1e-6, "the polynomial");
  float device_total = 0;
  check(cudaMemcpyFromSymbol(&device_total, total, sizeof device_total));
  verify_close<float>({device_total}, std::vector<double>{sum}, 1e-4, "its sum");

  int* counter;
  check(cudaMallocManaged(&counter, sizeof(int)));
  *counter = 0;
  managed_count = 5;
  count<<<3, 32>>>(counter);
  check(cudaDeviceSynchronize());
  verify(*counter == 5 * 96, "managed memory");
  check(cudaFree(counter));

  const int width = 13, height = 7;
  float* pitched;
  std::size_t pitch;
  check(cudaMallocPitch(&pitched, &pitch, width * sizeof(float), height));
  check(cudaMemcpy2D(pitched, pitch, x, width * sizeof(float), width * sizeof(float), height, cudaMemcpyHostToDevice));
  scale_pitched<<<1, dim3(16, 8)>>>(pitched, pitch, width, height);
  std::vector<float> doubled(width * height), twice(width * height);
  check(cudaMemcpy2D(doubled.data(), width * sizeof(float), pitched, pitch, width * sizeof(float), height,
                     cudaMemcpyDeviceToHost));
  for (int i = 0; i < width * height; ++i) twice[i] = 2 * x[i];
  verify_close(doubled, twice, 0, "two-dimensional copies");
  check(cudaFree(pitched));

  for (int i = 0; i < 2; ++i) {
    check(cudaStreamDestroy(streams[i]));
    check(cudaEventDestroy(done[i]));
  }
  check(cudaEventDestroy(start));
  check(cudaFreeHost(x));
  check(cudaFreeHost(y));
  std::puts("streams: passed");
}
