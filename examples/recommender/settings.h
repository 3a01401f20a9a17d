// What a model is made of and how it is trained: one flat record, kept as JSON beside the weights and in presets/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace heed::examples::recommender {

struct Settings {
  std::string model = "sequential";  // or "attentive"

  // ---- Architecture
  std::int64_t length = 50;   // events of history that a model looks at
  std::int64_t width = 64;    // of embeddings and hidden states
  std::int64_t layers = 2;    // sequential
  std::int64_t heads = 2;     // sequential
  std::int64_t hidden = 256;  // of the feed-forward layers; of the layer before the logit in the attentive model
  bool attention = true;  // false: every event of the history gets the same weight, mean pooling instead of attention
  // sequential: by which the score of an event falls per step back in time, one number per head (ALiBi, arXiv
  // 2108.12409). Empty: the model learns a vector per position instead.
  std::vector<double> recency_slopes = {};
  // sequential, loss "softmax": learn how much likelier, or unlikelier, an item is to be met again (after RepeatNet, arXiv
  // 1812.02646). Where nobody meets anything twice this comes close to leaving out what was seen.
  bool repeat_aware = false;
  double dropout = 0.2;
  double attention_dropout = 0;  // on the attention weights

  // ---- Loss
  // sequential: "softmax" over all items; against shared `negatives` drawn uniformly per batch: "sampled" softmax, "bce"
  // (SASRec) or "gbce" (gSASRec, arXiv 2308.07192, with its calibration t = gbce_calibration).
  std::string loss = "softmax";
  std::int64_t negatives = 1024;
  double gbce_calibration = 0.75;
  double label_smoothing = 0;
  double like_from = 4;  // attentive: a rating from here on is a like

  // ---- Training
  std::int64_t epochs = 20;
  std::int64_t batch_events = 3200;  // a batch holds about as many events (attentive: examples)
  double learning_rate = 1e-3;
  double weight_decay = 0.01;
  double warm_up = 0.05;        // share of the steps over which the learning rate rises; then it falls as a cosine
  double clip_norm = 1;         // 0: no clipping
  bool shuffle_ties = false;    // sequential: events of one moment come in a new order every epoch
  bool fit_validation = false;  // train on the second-last events too, once everything was tuned on them
  std::uint64_t seed = 1;
};

// Unknown keys and wrong types throw heed::Error naming the key; what is missing keeps the value it has in `base`.
Settings settings_from_json(const nlohmann::json& json, Settings base = {});
nlohmann::json to_json(const Settings& settings);
std::string to_json_text(const Settings& settings);  // in one line

// Throws heed::Error naming the setting that makes no sense.
void check_settings(const Settings& settings);

}  // namespace heed::examples::recommender
