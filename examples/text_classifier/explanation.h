// Why a classifier says what it says: three views of the same answer, which need not agree.
#pragma once

#include "examples/text_classifier/store.h"

namespace heed::examples::classifier {

struct Explanation {
  std::string text;
  std::vector<std::string> tokens;   // as they stand in the text; [CLS] and [SEP] as such
  std::vector<bool> continues;       // whether a token goes on with the word of the one before
  std::vector<float> probabilities;  // of each class
  std::int64_t predicted = 0;
  // What the pooling gives each token; sums to 1. Empty where the pooling has no weights (cls, max).
  std::vector<float> pooling;
  // [layer][head][from][to]; rows sum to 1. Empty for a bag.
  std::vector<std::vector<std::vector<std::vector<float>>>> attention;
  // Integrated gradients (Sundararajan, Taly and Yan 2017): how much of the log odds of the predicted class each token
  // brings, on the way from a text whose words are all hidden. They sum to the difference of the log odds between the
  // two, but for `residue`, the error of the numerical integral.
  std::vector<float> contributions;
  double difference = 0, residue = 0;
  bool truncated = false;  // the model did not read all of the text
};

Explanation explain(const TrainedClassifier& trained, const std::string& text, std::int64_t steps, Device device);

// BertViz's head_view: {"attention": [{"name", "attn", "left_text", "right_text"}], ...}, and beside it what it does not
// know: text, prediction, pooling, contributions.
nlohmann::ordered_json to_json(const Explanation& explanation, const std::vector<std::string>& labels);

// A page that stands alone. `facts`: name and value of what there is to say about the model.
std::string render_explanations(const std::vector<Explanation>& explanations, const std::vector<std::string>& labels,
                                const std::string& title,
                                const std::vector<std::pair<std::string, std::string>>& facts);

std::vector<std::pair<std::string, std::string>> facts_of(const TrainedClassifier& trained);

}  // namespace heed::examples::classifier
