// Times every variant of the CPU kernels on the shapes that the examples train with: a new variant of a slot named here
// is timed without a line being added. Google Benchmark's flags apply, say
//
//   kernels --benchmark_filter='softmax_forward/.*' --benchmark_repetitions=5 --benchmark_report_aggregates_only=true
//
// "bytes_per_second" counts every operand read or written once, "flops" multiplications and additions: beside the
// figures of `copy` and `matmul` they say what bounds a kernel.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <functional>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "kernels/copy/copy.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gather/gather.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/matmul/matmul.h"
#include "kernels/random/random.h"
#include "kernels/reduce/reduce.h"
#include "kernels/softmax/softmax.h"

namespace {

using namespace heed;

struct Workload {
  const kernels::KernelSlot* slot;
  std::string shape;             // as it is named
  std::vector<Tensor> operands;  // kept alive; what counts as bytes
  std::function<void()> launch;
  double flops = 0;
};

constexpr Stream cpu = {};

// A kernel on x and y, and on whatever comes after them.
template <class Signature, class... More>
Workload of(const kernels::Kernel<Signature>& kernel, const Tensor& x, const Tensor& y, const More&... more) {
  return {&kernel, fmt::format("{}", fmt::join(x.shape(), "x")), {x, y}, [&kernel, x, y, more...] {
            kernel(x.view(), y.view(), more..., cpu);
          }};
}

Workload product(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k) {
  const Tensor a = randn({batch, m, k}), b = randn({batch, k, n}), c = empty({batch, m, n});
  return {&kernels::matmul,
          fmt::format("{}x{}x{}x{}", batch, m, n, k),
          {a, b, c},
          [=] { kernels::matmul(a.view(), b.view(), c.view(), 1, 0, cpu); },
          2.0 * static_cast<double>(batch * m * n * k)};
}

Workload normalisation(std::int64_t rows, std::int64_t n) {
  const Tensor x = randn({rows, n}), y = empty({rows, n}), weight = ones({n}), bias = zeros({n});
  const Tensor mean = empty({rows}), rstd = empty({rows});
  return {&kernels::layer_norm_forward, fmt::format("{}x{}", rows, n), {x, y}, [=] {
            kernels::layer_norm_forward(x.view(), weight.view(), bias.view(), y.view(), mean.view(), rstd.view(), 1e-5,
                                        cpu);
          }};
}

Workload lookup(std::int64_t rows, std::int64_t width, std::int64_t count) {
  const Tensor table = randn({rows, width}), index = randint(0, rows, {count}), y = empty({count, width});
  return {&kernels::index_select, fmt::format("{} of {}x{}", count, rows, width), {index, y, y}, [=] {
            kernels::index_select(table.view(), 0, index.view(), y.view(), cpu);
          }};
}

std::vector<Workload> workloads() {
  std::vector<Workload> all;
  for (const Shape& shape : {Shape{6400, 64}, Shape{12800, 50}, Shape{1024, 1024}, Shape{8, 131072}}) {
    const Tensor x = randn(shape), y = empty(shape);
    all.push_back(of(kernels::copy, x, y));
    all.push_back(of(kernels::exp, x, y));
    all.push_back(of(kernels::gelu, x, y));
    all.push_back(of(kernels::softmax_forward, x, y, 1));
    all.push_back(of(kernels::log_softmax_forward, x, y, 1));
    all.push_back(of(kernels::reduce_sum, x, empty({shape[0], 1})));
    all.push_back(of(kernels::reduce_sum, x, empty({1, shape[1]})));
    all.push_back(of(kernels::dropout, x, y, 0.1, std::uint64_t{1}, std::uint64_t{0}));
    all.push_back(normalisation(shape[0], shape[1]));
  }
  all.push_back(product(1, 6400, 3500, 64));
  all.push_back(product(1, 6400, 64, 64));
  all.push_back(product(256, 50, 50, 32));
  all.push_back(product(1, 512, 512, 512));
  all.push_back(lookup(3500, 64, 6400));
  return all;
}

void run(benchmark::State& state, const Workload& work, const char* variant) {
  const kernels::ScopedVariant chosen(*work.slot, DeviceType::cpu, variant);
  for (auto _ : state) {
    work.launch();
    benchmark::ClobberMemory();
  }
  double bytes = 0;
  for (const Tensor& x : work.operands)
    bytes += static_cast<double>(x.count()) * static_cast<double>(size_of(x.dtype()));
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes * static_cast<double>(state.iterations())));
  if (work.flops > 0)
    state.counters["flops"] = benchmark::Counter(work.flops, benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  manual_seed(1);
  const std::vector<Workload> all = workloads();
  for (const Workload& work : all) {
    for (const kernels::Variant& variant : work.slot->variants()) {
      if (variant.device != DeviceType::cpu) continue;
      const std::string name = fmt::format("{}/{}/{}", work.slot->name(), work.shape, variant.name);
      benchmark::RegisterBenchmark(name.c_str(), run, work, variant.name)->UseRealTime();
    }
  }
  benchmark::RunSpecifiedBenchmarks();
}
