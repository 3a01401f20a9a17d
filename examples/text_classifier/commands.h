// The verbs of the program. Each prints its result on standard output, and how it is getting on to standard error.
#pragma once

#include "examples/common/output.h"
#include "examples/text_classifier/data.h"
#include "examples/text_classifier/store.h"

namespace heed::examples::classifier {

struct TrainCommand {
  std::string train, dev;  // files; without dev a share of train
  ReadOptions read;
  Settings settings;
  std::string folder;  // where the trained model goes
  bool resume = false;
  double save_every = 20;  // seconds; 0: after epochs alone
  Device device = {};
  Output output;
};
void run(const TrainCommand& command);

struct TestCommand {
  std::string model, data;
  ReadOptions read;
  Device device = {};
  Output output;
};
void run(const TestCommand& command);

struct PredictCommand {
  std::string model;
  std::string input = "-";
  bool json = false;
  std::string target = "-";  // where the lines go
  Device device = {};
};
void run(const PredictCommand& command);

struct ExplainCommand {
  std::string model;
  std::string text;  // or the path of a file, whose lines are explained
  std::int64_t steps = 50;
  Device device = {};
  Output output;
};
void run(const ExplainCommand& command);

struct ExportCommand {
  std::string model, folder;
  Output output;
};
void run(const ExportCommand& command);

struct TokenizeCommand {
  std::string encoder;
  std::string input = "-";
  bool json = false;
  std::string target = "-";
};
void run(const TokenizeCommand& command);

struct DemoCommand {
  std::uint64_t seed = 1;
  Device device = {};
  Output output;
};
void run(const DemoCommand& command);

// ---- What the verbs are made of

// A trained classifier and, unless it is a bag itself, the bag trained beside it.
struct Contest {
  TrainedClassifier trained;
  Evaluation dev;
  std::optional<TrainedClassifier> bag;
  std::optional<Evaluation> bag_dev;
};
Contest train_contest(const Corpus& corpus, const Corpus& dev, const Settings& settings,
                      const TrainingOptions& options);
// Both of them in a table for the terminal.
std::string contest_table(const Contest& contest);

}  // namespace heed::examples::classifier
