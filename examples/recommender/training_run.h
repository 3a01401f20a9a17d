// What the trainings of both models have in common: steps of the optimiser, progress, the record, and a checkpoint after
// every epoch.
#pragma once

#include "examples/recommender/progress.h"
#include "examples/recommender/training.h"
#include "nn/optim.h"
#include "nn/schedule.h"

namespace heed::recommender {

using Figures = std::vector<std::pair<std::string, double>>;  // name and value

class TrainingRun {
 public:
  // Reads the checkpoint if options say so. Throws heed::Error where it was made with other settings or data.
  TrainingRun(nn::Module& module, const Settings& settings, const TrainingOptions& options, const Interactions& data,
              std::int64_t steps_per_epoch, const std::string& unit);

  std::int64_t first_epoch() const { return static_cast<std::int64_t>(record_.epochs.size()) + 1; }
  // One step of the optimiser down the gradients of a loss that is the mean over `units` events.
  void step(const Tensor& loss, std::int64_t units);
  void end_epoch(Figures validation);

  // The largest value of a validation figure so far; -infinity before the first.
  double best(const std::string& figure) const;
  TrainingRecord record() const;

  nn::NamedTensors kept;  // goes into the checkpoint: weights to come back to

 private:
  void resume();
  void save() const;

  nn::Module& module_;
  const Settings& settings_;
  const TrainingOptions& options_;
  std::string data_;  // by which a checkpoint knows its data
  nn::AdamW optimizer_;
  nn::Schedule schedule_;
  Progress progress_;
  TrainingRecord record_;
  double epoch_loss_ = 0;
  std::int64_t epoch_steps_ = 0;
};

}  // namespace heed::recommender
