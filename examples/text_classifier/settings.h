// What a classifier is made of and how it is trained: one flat record, kept as JSON beside the weights and in presets/.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace heed::examples::classifier {

struct Settings {
  // "tiny": a BERT of its own, trained from scratch on a vocabulary learned from the training texts. "bag": the average
  // of the tokens' vectors. Anything else: a folder with a pretrained BERT.
  std::string encoder = "tiny";

  // ---- Architecture
  std::int64_t layers = 2;         // tiny
  std::int64_t heads = 4;          // tiny
  std::int64_t width = 64;         // tiny, bag: of embeddings and hidden states
  std::int64_t hidden = 128;       // tiny: of the feed-forward layers
  std::int64_t vocabulary = 8000;  // tiny, bag: word pieces at most
  std::int64_t min_frequency = 2;  // tiny, bag: pieces are joined that occur together this often
  bool lowercase = true;           // tiny, bag
  std::int64_t length = 128;  // tokens of a text that the model reads, the two around it included; more are cut off
  std::int64_t window = -1;   // >= 0: a token attends only to those at most this far away
  // How a text becomes one vector: "attention" (a linear score per token, softmax, weighted sum), "cls" (the first token,
  // through BERT's pooler), "mean" or "max" over the tokens.
  std::string pooling = "attention";
  double dropout = 0.1;            // of the encoder
  double attention_dropout = 0.1;  // on the encoder's attention weights
  double pooled_dropout = 0.1;     // on the text's vector
  double piece_dropout = 0;        // probability that training passes over a word piece and takes smaller ones
  double word_dropout = 0;         // share of the tokens that a training step reads as unknown

  // ---- Training
  bool frozen = false;  // the encoder keeps its weights
  std::int64_t epochs = 10;
  std::int64_t batch = 32;  // texts
  double learning_rate = 1e-3;
  double head_learning_rate = 0;  // of what comes after the encoder; 0: as learning_rate
  double layer_decay = 1;         // by which the learning rate falls from each layer to the one below it
  double weight_decay = 0.01;
  double warm_up = 0.1;  // share of the steps over which the learning rate rises; then it falls as a cosine
  double clip_norm = 1;  // 0: no clipping
  // Judged and kept is a moving average of the weights with this decay per step (Polyak and Juditsky 1992); 0: the weights
  // themselves.
  double average = 0;
  double label_smoothing = 0;
  bool balanced = false;      // the loss weighs every class alike, however rare it is
  std::int64_t patience = 0;  // stop after this many epochs in a row without a better one on dev; 0: never
  double dev_share = 0.1;     // of the training data that becomes dev where there is no --dev
  std::uint64_t seed = 1;
};

// Unknown keys and wrong types throw heed::Error naming the key; what is missing keeps the value it has in `base`.
Settings settings_from_json(const nlohmann::json& json, Settings base = {});
nlohmann::json to_json(const Settings& settings);
std::string to_json_text(const Settings& settings);  // in one line

// Throws heed::Error naming the setting that makes no sense.
void check_settings(const Settings& settings);

// The settings of the baseline trained beside: a bag of the same tokens.
Settings bag_of(const Settings& settings);

}  // namespace heed::examples::classifier
