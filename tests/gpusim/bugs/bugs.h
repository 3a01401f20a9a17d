// What the planted bugs share. Each file holds several kernels with one bug each, marked where check mode must report it:
//
//   out[i] = in[i];  // EXPECT past_the_end: out of bounds
//
// is the name by which the program runs the kernel, and the kind of the error (of several, one is enough). A race has two
// places: the other one, which may be reported, too, is marked with ALSO. Compiled with -DFIXED=1 the same kernels
// are right, and check mode must be silent. tests/gpusim/check_bugs runs all of them both ways.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <vector>

constexpr bool fixed = FIXED;

inline float* device_floats(std::size_t n, bool filled = true) {
  float* data = nullptr;
  cudaMalloc(&data, n * sizeof(float));
  if (filled) {
    std::vector<float> numbers(n);
    std::iota(numbers.begin(), numbers.end(), 1.0f);
    cudaMemcpy(data, numbers.data(), n * sizeof(float), cudaMemcpyHostToDevice);
  }
  return data;
}

// Runs the bug that the command line names.
inline int run(int count, char** arguments, const std::map<std::string, std::function<void()>>& bugs) {
  const auto bug = bugs.find(count == 2 ? arguments[1] : "");
  if (bug == bugs.end()) {
    for (const auto& [name, launch] : bugs) std::puts(name.c_str());
    return 2;
  }
  bug->second();
  cudaDeviceSynchronize();
  return 0;
}
