// The training step of the sequential recommender at a fixed size, for timing beside the same step in PyTorch
// (pytorch_step.py; compare_step lets the two take turns) and for profiling.
//
//   train_step --steps 10                    one line of JSON per round, a round being started by a line on standard input
//   train_step --profile [--trace FILE]      one step, operation by operation
#include <fmt/format.h>
#include <omp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "engine/profiler.h"
#include "nn/embedding.h"
#include "nn/optim.h"
#include "nn/positional.h"
#include "nn/transformer.h"

namespace {

using namespace heed;

constexpr std::int64_t batch = 128, length = 50, width = 64, layers = 2, heads = 2, items = 3500;
constexpr double dropout_probability = 0.2;

struct Model : nn::Module {
  Model() {
    register_module("items", table);
    register_module("positions", positions);
    register_module("dropout", dropout);
    register_module("encoder", encoder);
  }
  Tensor operator()(const Tensor& history) const {
    const Tensor x = dropout(positions(table(history)));                           // [batch, length, width]
    return linear(encoder(x, {.causal = Causal::top_left}).output, table.weight);  // [batch, length, items]
  }

  nn::Embedding table{items, width};
  nn::LearnedPositions positions{length, width};
  nn::Dropout dropout{dropout_probability};
  nn::TransformerEncoder encoder{width,
                                 heads,
                                 layers,
                                 {.dim_feedforward = 4 * width,
                                  .dropout = dropout_probability,
                                  .activation = nn::Activation::gelu,
                                  .norm_first = true},
                                 true};
};

struct Training {
  Training() {
    manual_seed(1);
    history = randint(0, items, {batch, length});
    target = randint(0, items, {batch * length});
  }
  double step() {
    optimizer.zero_grad();
    const Tensor loss = cross_entropy(model(history).reshape({batch * length, items}), target);
    backward(loss);
    optimizer.step();
    return loss.item<double>();
  }

  Model model;
  nn::AdamW optimizer{model, {.lr = 1e-3, .weight_decay = 0.01}};
  Tensor history, target;
};

double milliseconds_of_step(Training& training) {
  const auto start = std::chrono::steady_clock::now();
  training.step();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Times the training step of a sequential recommender: batch 128, length 50, width 64, 2 layers, 3,500 items.");
  int rounds = 5, steps = 10, threads = 2;
  bool profile = false;
  std::string trace;
  app.add_option("--rounds", rounds, "Rounds, each started by a line on standard input")->capture_default_str();
  app.add_option("--steps", steps, "Steps per round; their median is reported")->capture_default_str();
  app.add_option("--threads", threads, "Threads")->capture_default_str();
  app.add_flag("--profile", profile, "Print one step's operations and kernels instead");
  app.add_option("--trace", trace, "With --profile: write a Chrome trace to this file");
  CLI11_PARSE(app, argc, argv);
  omp_set_num_threads(threads);
  Training training;
  for (int i = 0; i < 3; ++i) training.step();
  if (profile) {
    Profiler profiler;
    training.step();
    fmt::print("{}", profiler.table());
    if (!trace.empty()) profiler.write_trace(trace);
    return 0;
  }
  const std::uint64_t warm = memory_stats().system_allocations;
  std::string line;
  for (int round = 0; round < rounds && std::getline(std::cin, line); ++round) {
    std::vector<double> times;
    for (int i = 0; i < steps; ++i) times.push_back(milliseconds_of_step(training));
    std::nth_element(times.begin(), times.begin() + steps / 2, times.end());
    fmt::print("{{\"ms\": {:.3f}, \"system_allocations\": {}}}\n", times[static_cast<std::size_t>(steps / 2)],
               memory_stats().system_allocations - warm);
    std::fflush(stdout);
  }
}
