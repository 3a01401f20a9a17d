// Times scaled_dot_product_attention, for comparison beside PyTorch's (attention.py; tools/bench/attention lets the two
// take turns). Each line of standard input is a case in JSON; the answer is a line {"ms": median of its repeats, "mib": the
// most memory that tensors and kernels held}.
//
//   {"pass": "forward", "batch": 4, "heads": 8, "key_heads": 8, "queries": 512, "keys": 512, "dim": 64, "causal": false,
//    "dropout": 0, "padding": "none", "path": "automatic", "dtype": "f32", "repeats": 10}
//
// pass: forward, both (forward and backward), or sgemm (a product of two [dim, dim] matrices). padding: mask (bool
// [batch, 1, 1, keys]) or lengths, both of batch entry b leaving 1 - b / batch of the keys. kernel: a variant's name.
#include <fmt/format.h>
#include <omp.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/allocator.h"
#include "engine/ops.h"
#include "kernels/attention/attention.h"

namespace {

using namespace heed;

bool counts_processor_time = false;

double milliseconds_now() {
  if (counts_processor_time) {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
  }
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double milliseconds_of(const auto& body) {
  const double start = milliseconds_now();
  body();
  return milliseconds_now() - start;
}

double median_of(int repeats, const auto& body) {
  body();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) times.push_back(milliseconds_of(body));
  std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
  return times[static_cast<std::size_t>(repeats / 2)];
}

double time_sgemm(std::int64_t n, int repeats) {
  const Tensor a = rand({n, n}), b = rand({n, n});
  return median_of(repeats, [&] { matmul(a, b); });
}

AttentionOptions options_of(const nlohmann::json& c) {
  const std::int64_t batch = c["batch"], keys = c["keys"];
  AttentionOptions options{.causal = c["causal"] ? Causal::top_left : Causal::none, .dropout = c["dropout"]};
  if (c["path"] == "composed") options.path = AttentionPath::composed;
  std::vector<std::int64_t> lengths;
  for (std::int64_t b = 0; b < batch; ++b) lengths.push_back(keys - keys * b / batch);
  const Tensor key_lengths = from_vector(lengths, {batch});
  if (c["padding"] == "lengths") options.key_lengths = key_lengths;
  if (c["padding"] == "mask")
    options.mask = less(arange(0, static_cast<double>(keys)), key_lengths.reshape({batch, 1, 1, 1}));
  return options;
}

double time_attention(const nlohmann::json& c) {
  const std::int64_t batch = c["batch"], heads = c["heads"], key_heads = c["key_heads"], dim = c["dim"];
  const std::int64_t queries = c["queries"], keys = c["keys"];
  const bool backward = c["pass"] == "both";
  const auto leaf = [&](const Shape& shape) {
    const Tensor x = randn(shape).to(c["dtype"] == "bf16" ? Dtype::bf16 : Dtype::f32).detach();
    if (backward) x.set_requires_grad();
    return x;
  };
  const Tensor query = leaf({batch, heads, queries, dim}), key = leaf({batch, key_heads, keys, dim});
  const Tensor value = leaf({batch, key_heads, keys, dim}), dy = randn({batch, heads, queries, dim}).to(query.dtype());
  const AttentionOptions options = options_of(c);
  return median_of(c["repeats"], [&] {
    const Tensor y = scaled_dot_product_attention(query, key, value, options).output;
    if (backward) grad({y}, {query, key, value}, {dy});
  });
}

double answer(const std::string& line) {
  const nlohmann::json c = nlohmann::json::parse(line);
  if (c["pass"] == "sgemm") return time_sgemm(c["dim"], c["repeats"]);
  const std::string kernel = c.value("kernel", "");
  const kernels::ScopedVariant forward(kernels::attention_forward, DeviceType::cpu, kernel);
  const kernels::ScopedVariant backward(kernels::attention_backward, DeviceType::cpu, kernel);
  return time_attention(c);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times attention, a case per line of standard input; tools/bench/attention drives it.");
  int threads = 2;
  bool lists_variants = false;
  app.add_option("--threads", threads, "Threads")->capture_default_str();
  app.add_flag("--variants", lists_variants, "Print the names of the kernels' variants instead");
  app.add_flag("--processor-time", counts_processor_time, "The time that the processor spent, not that which passed");
  CLI11_PARSE(app, argc, argv);
  omp_set_num_threads(threads);
  if (lists_variants) {
    for (const kernels::Variant& variant : kernels::attention_forward.variants())
      if (variant.device == DeviceType::cpu) fmt::print("{}\n", variant.name);
    return 0;
  }
  for (std::string line; std::getline(std::cin, line);) {
    release_cached_memory();
    reset_peak_memory();
    const double ms = answer(line);
    fmt::print("{{\"ms\": {:.4f}, \"mib\": {:.2f}}}\n", ms, static_cast<double>(memory_stats().peak_bytes) * 0x1p-20);
    std::fflush(stdout);
  }
}
