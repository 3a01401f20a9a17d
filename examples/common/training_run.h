// What trainings have in common: steps of the optimiser, progress, the record, and a checkpoint after every epoch.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "examples/common/progress.h"
#include "nn/checkpoint.h"
#include "nn/optim.h"
#include "nn/schedule.h"

namespace heed::examples {

using Figures = std::vector<std::pair<std::string, double>>;  // name and value

struct EpochRecord {
  std::int64_t epoch = 0;  // from 1
  double loss = 0;         // mean over the epoch
  double seconds = 0;      // since the start
  Figures validation;      // where it was measured
};

// What a training leaves beside the weights.
struct TrainingRecord {
  std::vector<EpochRecord> epochs;
  std::vector<double> losses;  // of every step
  double seconds = 0;
  std::int64_t parameters = 0;
};
nlohmann::ordered_json to_json(const TrainingRecord& record);
TrainingRecord record_from_json(const nlohmann::ordered_json& json);

struct TrainingPlan {
  std::string settings;  // as JSON, by which a checkpoint knows its training,
  std::string data;      // and its data
  std::int64_t epochs = 1;
  std::int64_t steps_per_epoch = 1;
  double learning_rate = 1e-3;  // of the parameters whose group says nothing else
  double weight_decay = 0.01;
  double warm_up = 0.05;  // share of the steps over which the learning rate rises; then it falls as a cosine
  double clip_norm = 1;   // 0: no clipping
  double average = 0;     // decay per step of a moving average of the weights; 0: none is kept
  std::string unit = "examples";
  bool quiet = false;
  // A folder that the training is saved in after every epoch, "": nowhere; and whether to go on from what it holds. What
  // was interrupted at any moment then ends with the same weights to the last bit.
  std::filesystem::path checkpoint = {};
  bool resume = false;
  double save_every = 0;  // seconds: saves within epochs too, for long ones. 0: not
};

class TrainingRun {
 public:
  // Reads the checkpoint if the plan says so. Throws heed::Error where it was made with other settings or data.
  TrainingRun(nn::Module& module, const std::vector<nn::ParameterGroup>& groups, TrainingPlan plan);

  std::int64_t first_epoch() const { return static_cast<std::int64_t>(record_.epochs.size()) + 1; }
  // Steps of that epoch which an interrupted training had taken; a plan without save_every needs not ask.
  std::int64_t steps_taken() const { return epoch_steps_; }
  // One step of the optimiser down the gradients of a loss that is the mean over `units` examples.
  void step(const Tensor& loss, std::int64_t units);
  void end_epoch(Figures validation);

  // The largest value of a validation figure so far; -infinity before the first.
  double best(const std::string& figure) const;
  TrainingRecord record() const;
  // Exchanges the module's weights and their moving average, where the plan asks for one.
  void swap_average();
  // Remembers the module's weights in `kept`.
  void keep_weights();

  nn::NamedTensors kept;  // goes into the checkpoint: weights to come back to

 private:
  void resume();
  void save();
  void update_average();
  nn::NamedTensors named_averages() const;

  nn::Module& module_;
  TrainingPlan plan_;
  nn::AdamW optimizer_;
  nn::Schedule schedule_;
  Progress progress_;
  TrainingRecord record_;
  std::vector<std::pair<Tensor, Tensor>> averages_;  // a parameter and its moving average
  double epoch_loss_ = 0;
  std::int64_t epoch_steps_ = 0;
  double saved_ = 0;  // seconds since the start
};

}  // namespace heed::examples
