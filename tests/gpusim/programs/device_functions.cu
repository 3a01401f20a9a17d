// Calls on the device: functions that are not inlined (one with shared memory of its own, one with the launch's), recursion, pointers to
// functions, virtual functions, and structures passed by value.
#include "tests/gpusim/programs/verify.h"

__device__ __noinline__ float block_sum(float value) {
  __shared__ float partial[64];
  partial[threadIdx.x] = value;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    __syncthreads();
  }
  const float sum = partial[0];
  __syncthreads();
  return sum;
}

__global__ void center(float* x) {
  __shared__ float mine[64];
  mine[threadIdx.x] = x[threadIdx.x];
  const float mean = block_sum(mine[threadIdx.x]) / 64;
  x[threadIdx.x] = mine[threadIdx.x] - mean;
}

// The launch's shared memory, behind what the kernel itself has.
__device__ __noinline__ float neighbour(float value) {
  extern __shared__ float launched[];
  launched[threadIdx.x] = value;
  __syncthreads();
  return launched[(threadIdx.x + 1) % blockDim.x];
}

__global__ void differences(float* x) {
  __shared__ float mine[64];
  mine[threadIdx.x] = x[threadIdx.x];
  const float next = neighbour(2 * mine[threadIdx.x]);
  x[threadIdx.x] = next - 2 * mine[threadIdx.x];
}

__device__ __noinline__ int fibonacci(int n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

__global__ void fibonaccis(int* out) {
  out[threadIdx.x] = fibonacci(threadIdx.x);
}

struct Point {
  float x, y, z;
};

__device__ __noinline__ Point cross(Point a, Point b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

__global__ void crosses(const Point* a, const Point* b, Point* out) {
  out[threadIdx.x] = cross(a[threadIdx.x], b[threadIdx.x]);
}

using Function = float (*)(float);
__device__ float square(float x) {
  return x * x;
}
__device__ float negate(float x) {
  return -x;
}
__device__ float halve(float x) {
  return x / 2;
}
__device__ Function functions[] = {square, negate, halve};

__global__ void apply(const float* x, float* y, int which) {
  y[threadIdx.x] = functions[which](x[threadIdx.x]);
}

struct Shape {
  __device__ virtual float area() const = 0;
};
struct Square : Shape {
  float side;
  __device__ explicit Square(float side) : side(side) {}
  __device__ float area() const override { return side * side; }
};
struct Circle : Shape {
  float radius;
  __device__ explicit Circle(float radius) : radius(radius) {}
  __device__ float area() const override { return 3.0f * radius * radius; }
};

__device__ __noinline__ float area_of(const Shape& shape) {
  return shape.area();
}

__global__ void areas(const float* sizes, float* out) {
  const Square square(sizes[threadIdx.x]);
  const Circle circle(sizes[threadIdx.x]);
  out[threadIdx.x] = area_of(square) + area_of(circle);
}

int main() {
  const auto x = random_floats(64);
  double mean = 0;
  for (const float value : x) mean += value / 64;
  std::vector<double> centered, areas_expected;
  for (const float value : x) {
    centered.push_back(value - mean);
    areas_expected.push_back(4.0 * value * value);
  }
  const Buffer<float> device_x(x), in_place(x), y(64);
  center<<<1, 64>>>(in_place.get());
  verify_close(in_place.download(), centered, 1e-5, "centered");

  const Buffer<float> differing(x);
  differences<<<1, 64, 64 * sizeof(float)>>>(differing.get());
  std::vector<double> differences_expected;
  for (std::size_t i = 0; i < 64; ++i) differences_expected.push_back(2 * x[(i + 1) % 64] - 2 * x[i]);
  verify_close(differing.download(), differences_expected, 1e-6, "shared memory of the launch in a function");

  const Buffer<int> numbers(15);
  fibonaccis<<<1, 15>>>(numbers.get());
  verify(numbers.download() == std::vector<int>{0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377}, "recursion");

  const Buffer<Point> a(std::vector<Point>{{1, 0, 0}, {0, 1, 0}}), b(std::vector<Point>{{0, 1, 0}, {0, 0, 2}}), c(2);
  crosses<<<1, 2>>>(a.get(), b.get(), c.get());
  const auto products = c.download();
  verify(products[0].z == 1 && products[0].x == 0 && products[1].x == 2 && products[1].y == 0, "structures by value");

  const Function host[] = {[](float v) { return v * v; }, [](float v) { return -v; }, [](float v) { return v / 2; }};
  for (int which = 0; which < 3; ++which) {
    apply<<<1, 64>>>(device_x.get(), y.get(), which);
    std::vector<float> expected;
    for (const float value : x) expected.push_back(host[which](value));
    verify_close(y.download(), expected, 0, "pointers to functions");
  }

  areas<<<1, 64>>>(device_x.get(), y.get());
  verify_close(y.download(), areas_expected, 1e-6, "virtual functions");
  std::puts("device_functions: passed");
}
