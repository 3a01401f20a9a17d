// Training, and looking at what was learned.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "examples/common/training_run.h"
#include "examples/text_classifier/batches.h"
#include "examples/text_classifier/metrics.h"
#include "examples/text_classifier/model.h"

namespace heed::examples::classifier {

struct TrainingOptions {
  bool quiet = false;
  std::filesystem::path checkpoint = {};  // see TrainingPlan
  bool resume = false;
  double save_every = 0;
  Device device = {};
};

// Trains on one corpus and leaves the model, in evaluation mode, with the weights of the epoch that was most often right
// on the other; among equals the first. The same settings, corpora and seed give the same weights to the last bit.
TrainingRecord train(TextClassifier& model, const Settings& settings, const EncodedCorpus& corpus,
                     const EncodedCorpus& dev, const nn::Tokenizer& tokenizer, const TrainingOptions& options);

// The probability of each class for each text, in the order of the texts.
std::vector<std::vector<float>> probabilities(const TextClassifier& model, std::span<const nn::Encoding> texts,
                                              std::int64_t pad_id, Device device);
std::int64_t most_probable(std::span<const float> probabilities);

Evaluation evaluate(const TextClassifier& model, const EncodedCorpus& corpus, std::int64_t pad_id, Device device);

}  // namespace heed::examples::classifier
