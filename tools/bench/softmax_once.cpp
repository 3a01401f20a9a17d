// Launches one variant of softmax once, for a profiler to look at: softmax_once VARIANT ROWS N.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/error.h"
#include "kernels/softmax/softmax.h"

using namespace heed;

int main(int count, char** arguments) try {
  if (count == 2 && std::strcmp(arguments[1], "--list") == 0) {
    kernels::cuda::load_kernels();
    for (const kernels::Variant& variant : kernels::softmax_forward.variants()) {
      if (variant.device == DeviceType::cuda) std::puts(variant.name);
    }
    return 0;
  }
  if (count != 4) throw Error("usage: softmax_once VARIANT ROWS N, or softmax_once --list");
  const std::int64_t rows = std::atoll(arguments[2]), n = std::atoll(arguments[3]);
  const Stream stream{{DeviceType::cuda, 0}, nullptr};
  std::vector<float> x(static_cast<std::size_t>(rows * n));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 2654435761u % 1000) / 100;
  const std::size_t bytes = x.size() * sizeof(float);
  View from{.data = kernels::cuda::allocate(0, bytes), .shape = {rows, n}, .strides = {n, 1}, .rank = 2};
  from.device = stream.device;
  View to = from;
  to.data = kernels::cuda::allocate(0, bytes);
  if (from.data == nullptr || to.data == nullptr) throw Error("no memory");
  kernels::cuda::copy_to_device(from.data, x.data(), bytes, stream);
  const kernels::ScopedVariant scope(kernels::softmax_forward, DeviceType::cuda, arguments[1]);
  kernels::softmax_forward(from, to, 1, stream);
  kernels::cuda::synchronize(stream);
  kernels::cuda::release(0, from.data);
  kernels::cuda::release(0, to.data);
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
