// The folder of a trained classifier: all it takes to predict, with no other file.
//
//   settings.json       what the model is made of and how it was trained
//   model.safetensors   its weights
//   config.json         the encoder, as transformers describes it (not of a bag)
//   tokenizer.json      vocabulary and flags of the tokenizer, as the tokenizers library describes them
//   labels.json         the classes, in the order of the logits
//   training.json       loss and dev figures, epoch by epoch, and those of the baseline
#pragma once

#include <memory>

#include "examples/text_classifier/training.h"

namespace heed::examples::classifier {

struct TrainedClassifier {
  TrainedClassifier(Settings settings, std::vector<std::string> labels, nn::Tokenizer tokenizer)
      : settings(std::move(settings)), labels(std::move(labels)), tokenizer(std::move(tokenizer)) {}

  Settings settings;
  std::vector<std::string> labels;
  nn::Tokenizer tokenizer;
  nn::BertConfig bert;
  TrainingRecord record;
  std::string baseline = "null";  // figures of the bag on dev, as JSON
  std::unique_ptr<TextClassifier> model;

  nn::Encoding encode(std::string_view text) const { return tokenizer.encode(text, {.max_length = settings.length}); }
};

// Replaces an older model of that name as a whole, never by halves. Throws heed::Error where the folder holds other things.
void save_model(const std::filesystem::path& folder, const TrainedClassifier& trained);
// Throws heed::Error naming the file, and the key where one is at fault. The model is in evaluation mode.
TrainedClassifier load_model(const std::filesystem::path& folder, Device device = {});

// A folder for transformers: config.json, model.safetensors, tokenizer.json, vocab.txt, tokenizer_config.json. With the
// pooling "cls" it is a BertForSequenceClassification; with others a BertModel beside which the head's weights
// ("scorer.*", "classifier.*") stand. Throws heed::Error for a bag.
void export_model(const std::filesystem::path& folder, const TrainedClassifier& trained);

}  // namespace heed::examples::classifier
