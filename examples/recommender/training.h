// Training runs.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "examples/common/training_run.h"
#include "examples/recommender/evaluation.h"
#include "examples/recommender/ranker.h"

namespace heed::examples::recommender {

struct TrainingOptions {
  bool quiet = false;
  std::int64_t validate_every = 0;  // epochs; 0: about five times in all. Never with settings.fit_validation.
  EvaluationSettings validation;    // sequential: how
  // A folder that the training is saved in after every epoch, "": nowhere; and whether to go on from what it holds. What
  // was interrupted at any moment then ends with the same weights to the last bit.
  std::filesystem::path checkpoint = {};
  bool resume = false;
};

// The model is left in evaluation mode. With the same settings, data and seed the losses repeat to the last bit.
TrainingRecord train_sequential(Ranker& ranker, const LeaveOneOut& split, const Settings& settings,
                                const TrainingOptions& options);
// Validates by AUC after every epoch and keeps the weights of the best one.
TrainingRecord train_attentive(Ranker& ranker, const Interactions& data, const GlobalTimeSplit& split,
                               const Settings& settings, const TrainingOptions& options);

// Scores people in batches, for evaluate().
Scorer scorer_of(const Ranker& ranker);

// The logits of a model for labelled events, each given the events of its user before it.
std::vector<float> pointwise_logits(const Ranker& ranker, const Interactions& data, std::span<const Labelled> rows,
                                    const Settings& settings);

}  // namespace heed::examples::recommender
