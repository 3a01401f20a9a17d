// Training steps at fixed sizes, for timing beside the same steps in PyTorch (pytorch_step.py; compare_step lets the two take
// turns) and for profiling: the sequential recommender's, and a BERT's of MiniLM's size that learns to tell two classes apart.
//
//   train_step --model bert --steps 8        one line of JSON per round, a round being started by a line on standard input
//   train_step --profile [--trace FILE]      one step, operation by operation
#include <fmt/format.h>
#include <omp.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <ctime>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "engine/profiler.h"
#include "nn/attention.h"
#include "nn/bert.h"
#include "nn/optim.h"
#include "nn/pooling.h"
#include "nn/positional.h"
#include "nn/transformer.h"

namespace {

using namespace heed;

struct Training {
  virtual ~Training() = default;
  virtual double step() = 0;
};

// Batch 128, 50 events each, width 64, 2 layers, 2 heads, full softmax over 3,500 items.
struct Recommender : Training {
  static constexpr std::int64_t batch = 128, length = 50, width = 64, items = 3500;

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
    nn::Dropout dropout{0.2};
    nn::TransformerEncoder encoder{
        width,
        2,
        2,
        {.dim_feedforward = 4 * width, .dropout = 0.2, .activation = nn::Activation::gelu, .norm_first = true},
        true};
  };

  double step() override {
    optimizer.zero_grad();
    const Tensor loss = cross_entropy(model(history).reshape({batch * length, items}), target);
    backward(loss);
    optimizer.step();
    return loss.item<double>();
  }

  Model model;
  nn::AdamW optimizer{model, {.lr = 1e-3, .weight_decay = 0.01}};
  Tensor history = randint(0, items, {batch, length}), target = randint(0, items, {batch * length});
};

// MiniLM: 6 layers, 12 heads, width 384, 30,522 word pieces; batch 32, texts as long as those of SST-2: a round of eight steps
// stands for its eighths, from the shortest to the longest. All weights learn, with clipping, as in the classifier.
struct Bert : Training {
  static constexpr std::int64_t batch = 32, lengths[] = {9, 14, 18, 22, 26, 30, 35, 44};

  struct Model : nn::Module {
    Model() {
      register_module("bert", bert);
      register_module("dropout", dropout);
      register_module("classifier", classifier);
    }
    static nn::BertConfig config() {
      nn::BertConfig config;
      config.hidden_size = 384;
      config.num_hidden_layers = 6;
      config.intermediate_size = 1536;
      return config;
    }

    nn::BertModel bert{config(), false};
    nn::Dropout dropout{0.1};
    nn::Linear classifier{384, 2};
  };

  double step() override {
    const std::int64_t length = lengths[next++ % std::size(lengths)];
    std::vector<std::int64_t> sizes;  // a batch holds texts of about one length
    for (std::int64_t i = 0; i < batch; ++i) sizes.push_back(length - i % 3);
    const Tensor filled = from_vector(sizes, {batch});
    optimizer.zero_grad();
    const Tensor hidden = model.bert(randint(0, 30522, {batch, length}), {.lengths = filled}).hidden;
    const Tensor pooled = nn::mean_pool(hidden, nn::padding_mask(filled, length));
    const Tensor loss = cross_entropy(model.classifier(model.dropout(pooled)), randint(0, 2, {batch}));
    backward(loss);
    optimizer.clip_grad_norm(1);
    optimizer.step();
    return loss.item<double>();
  }

  Model model;
  nn::AdamW optimizer{model, {.lr = 5e-5, .weight_decay = 0.01}};
  std::size_t next = 0;
};

std::unique_ptr<Training> make_training(const std::string& model) {
  manual_seed(1);
  if (model == "bert") return std::make_unique<Bert>();
  return std::make_unique<Recommender>();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times training steps: of a sequential recommender, or of a BERT of MiniLM's size.");
  int rounds = 5, steps = 8, threads = 2;
  bool profile = false;
  std::string model = "recommender", trace;
  app.add_option("--model", model, "recommender or bert")
      ->capture_default_str()
      ->check(CLI::IsMember({"recommender", "bert"}));
  app.add_option("--rounds", rounds, "Rounds, each started by a line on standard input")->capture_default_str();
  app.add_option("--steps", steps, "Steps per round; their mean is reported")->capture_default_str();
  app.add_option("--threads", threads, "Threads")->capture_default_str();
  app.add_flag("--profile", profile, "Print one step's operations and kernels instead");
  app.add_option("--trace", trace, "With --profile: write a Chrome trace to this file");
  CLI11_PARSE(app, argc, argv);
  omp_set_num_threads(threads);
  const std::unique_ptr<Training> training = make_training(model);
  for (int i = 0; i < steps; ++i) training->step();
  if (profile) {
    Profiler profiler;
    training->step();
    fmt::print("{}", profiler.table());
    if (!trace.empty()) profiler.write_trace(trace);
    return 0;
  }
  const std::uint64_t warm = memory_stats().system_allocations;
  std::string line;
  for (int round = 0; round < rounds && std::getline(std::cin, line); ++round) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t processor = std::clock();
    for (int i = 0; i < steps; ++i) training->step();
    const std::chrono::duration<double, std::milli> wall = std::chrono::steady_clock::now() - start;
    const double used = 1e3 * static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC;
    fmt::print("{{\"ms\": {:.3f}, \"processor_ms\": {:.3f}, \"system_allocations\": {}}}\n", wall.count() / steps,
               used / steps, memory_stats().system_allocations - warm);
    std::fflush(stdout);
  }
}
