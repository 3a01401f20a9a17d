// The verbs of the program. Each prints its result on standard output, and how it is getting on to standard error.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "examples/common/output.h"
#include "examples/recommender/evaluation.h"
#include "examples/recommender/readers.h"
#include "examples/recommender/settings.h"
#include "examples/recommender/store.h"

namespace heed::examples::recommender {

// Where the data come from: files, or without a path the simulated cinema.
struct DataOptions {
  std::string path;
  ReadOptions read;
};
Interactions read_data(const DataOptions& options);

struct TrainCommand {
  DataOptions data;
  Settings settings;
  std::string folder;  // where the trained model goes
  bool resume = false;
  Output output;
  EvaluationSettings validation;
};
void run(const TrainCommand& command);

struct EvaluateCommand {
  std::string model;
  DataOptions data;  // without a path: the data the model was trained on
  EvaluationSettings settings;
  Output output;
};
void run(const EvaluateCommand& command);

// recommend and explain: for whom, and how many.
struct PersonOptions {
  std::optional<std::string> user;
  std::string history;  // item ids, separated by commas, oldest first
  std::string ignored;  // item ids that the model must not look at
};
struct RecommendCommand {
  std::string model;
  DataOptions data;
  PersonOptions person;
  std::int64_t k = 10;
  bool include_seen = false;
  bool explain = false;
  Output output;
};
void run(const RecommendCommand& command);

struct CompareCommand {
  DataOptions data;
  Settings settings;
  EvaluationSettings evaluation;
  Output output;
};
void run(const CompareCommand& command);

struct DemoCommand {
  std::uint64_t seed = 1;
  Output output;
};
void run(const DemoCommand& command);

}  // namespace heed::examples::recommender
