// Times kernels on a CUDA device against what the device can do: softmax against a copy of the same bytes, matrix products
// in cuBLAS' floating-point operations per second. Prints JSON. tools/gpu_check runs it.
//
//   gpu [--device cuda:N] [--repeat N]
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "kernels/copy/copy.h"
#include "kernels/cuda/device.h"
#include "kernels/matmul/matmul.h"
#include "kernels/softmax/softmax.h"

namespace {

using namespace heed;
using Json = nlohmann::ordered_json;

class Bench {
 public:
  Bench(Device device, int repeat) : stream_{device, nullptr}, repeat_(repeat) {}

  // The median time of one launch in microseconds: each is measured by events of its own, after two to warm up.
  double microseconds(const std::function<void(Stream)>& launch) const {
    std::vector<double> times;
    for (int i = 0; i < repeat_ + 2; ++i) {
      kernels::cuda::Event begin(stream_.device.index), end(stream_.device.index);
      begin.record(stream_);
      launch(stream_);
      end.record(stream_);
      end.synchronize();
      if (i >= 2) times.push_back(1e3 * end.milliseconds_since(begin));
    }
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    return times[times.size() / 2];
  }

 private:
  Stream stream_;
  int repeat_;
};

double gigabytes_per_second(const Tensor& x, double microseconds) {
  return 2e-3 * static_cast<double>(x.count()) * static_cast<double>(size_of(x.dtype())) / microseconds;
}

// One read and one write of x, as softmax has.
Json softmax_figures(const Bench& bench, Dtype dtype, std::int64_t rows, std::int64_t length) {
  const Tensor x = randn({rows, length}, {dtype}), y = empty_like(x);
  const double copied = bench.microseconds([&](Stream stream) { kernels::copy(x.view(), y.view(), stream); });
  Json variants = Json::object();
  for (const kernels::Variant& variant : kernels::softmax_forward.variants()) {
    if (variant.device != DeviceType::cuda) continue;
    const kernels::ScopedVariant scope(kernels::softmax_forward, DeviceType::cuda, variant.name);
    try {
      const double taken =
          bench.microseconds([&](Stream stream) { kernels::softmax_forward(x.view(), y.view(), 1, stream); });
      variants[variant.name] = {{"microseconds", taken}, {"share_of_copy_rate", copied / taken}};
    } catch (const Error& error) {
      variants[variant.name] = {{"refused", error.what()}};
    }
  }
  const double taken =
      bench.microseconds([&](Stream stream) { kernels::softmax_forward(x.view(), y.view(), 1, stream); });
  return {{"dtype", name_of(dtype)},
          {"rows", rows},
          {"length", length},
          {"copy_gb_per_s", gigabytes_per_second(x, copied)},
          {"softmax_gb_per_s", gigabytes_per_second(x, taken)},
          {"share_of_copy_rate", copied / taken},
          {"variants", variants}};
}

Json matmul_figures(const Bench& bench, Dtype dtype, std::int64_t n) {
  const Tensor a = randn({n, n}, {dtype}), b = randn({n, n}, {dtype}), c = empty_like(a);
  const double taken =
      bench.microseconds([&](Stream stream) { kernels::matmul(a.view(), b.view(), c.view(), 1, 0, stream); });
  const double operations = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  return {{"dtype", name_of(dtype)}, {"n", n}, {"microseconds", taken}, {"tflops", operations / taken / 1e6}};
}

Json attention_figures(const Bench& bench, Dtype dtype, std::int64_t length, std::int64_t head_dim) {
  const NoGrad no_grad;
  const std::int64_t heads = 16, batch = std::max<std::int64_t>(1, 16384 / length);
  const Tensor x = randn({batch, heads, length, head_dim}, {dtype});
  const double taken = bench.microseconds([&](Stream) { scaled_dot_product_attention(x, x, x); });
  const double operations = 4.0 * static_cast<double>(batch * heads * length) * static_cast<double>(length * head_dim);
  return {{"dtype", name_of(dtype)},
          {"batch", batch},
          {"heads", heads},
          {"length", length},
          {"head_dim", head_dim},
          {"microseconds", taken},
          {"tflops", operations / taken / 1e6}};
}

int run(int argc, char** argv) {
  Device device{DeviceType::cuda, 0};
  int repeat = 20;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--device") device = parse_device(argv[i + 1]);
    if (flag == "--repeat") repeat = std::max(1, std::atoi(argv[i + 1]));
  }
  const DefaultDevice scope(device);
  const kernels::cuda::DeviceProperties properties = kernels::cuda::device_properties(device.index);
  const Bench bench(device, repeat);
  Json json{{"device", properties.name},
            {"compute_capability", fmt::format("{}.{}", properties.major, properties.minor)},
            {"memory_bytes", properties.memory_bytes},
            {"softmax", Json::array()},
            {"matmul", Json::array()},
            {"attention", Json::array()}};
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
    for (const std::int64_t length : {64, 256, 1024, 4096, 16384, 65536})
      json["softmax"].push_back(softmax_figures(bench, dtype, (std::int64_t{1} << 26) / length, length));
    for (const std::int64_t n : {1024, 4096}) json["matmul"].push_back(matmul_figures(bench, dtype, n));
    for (const std::int64_t length : {512, 2048, 8192})
      json["attention"].push_back(attention_figures(bench, dtype, length, 64));
  }
  fmt::print("{}\n", json.dump(2));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu: %s\n", error.what());
    return 1;
  }
}
