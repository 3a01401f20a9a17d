// What the example programs share: calls that must succeed, buffers, and comparisons that NaN fails.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <source_location>
#include <vector>

inline void check(cudaError_t error, std::source_location where = std::source_location::current()) {
  if (error == cudaSuccess) return;
  std::printf("%s:%u: %s\n", where.file_name(), where.line(), cudaGetErrorString(error));
  std::exit(1);
}

inline void verify(bool holds, const char* what, std::source_location where = std::source_location::current()) {
  if (holds) return;
  std::printf("%s:%u: FAILED: %s\n", where.file_name(), where.line(), what);
  std::exit(1);
}

// |value - expected| <= tolerance * max(1, |expected|); a NaN on either side fails.
template <class T, class U>
void verify_close(const std::vector<T>& values, const std::vector<U>& expected, double tolerance, const char* what,
                  std::source_location where = std::source_location::current()) {
  verify(values.size() == expected.size(), what, where);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double wanted = double(expected[i]), difference = std::fabs(double(values[i]) - wanted);
    if (difference <= tolerance * std::fmax(1.0, std::fabs(wanted))) continue;
    std::printf("%s:%u: FAILED: %s: element %zu is %.9g, not %.9g\n", where.file_name(), where.line(), what, i,
                double(values[i]), wanted);
    std::exit(1);
  }
}

// Device memory for n values.
template <class T>
class Buffer {
 public:
  explicit Buffer(std::size_t n) : size_(n) { check(cudaMalloc(&data_, n * sizeof(T))); }
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    check(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* get() const { return data_; }
  std::vector<T> download() const {
    std::vector<T> values(size_);
    check(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  std::size_t size_;
};

inline std::vector<float> random_floats(std::size_t n, unsigned seed = 1, float low = -1, float high = 1) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> values(n);
  for (float& value : values) value = uniform(generator);
  return values;
}

inline unsigned blocks_for(std::size_t n, unsigned threads) {
  return static_cast<unsigned>((n + threads - 1) / threads);
}
