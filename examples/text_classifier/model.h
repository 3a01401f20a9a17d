// The classifier: an encoder, a pooling, and a linear layer.
#pragma once

#include <optional>

#include "examples/text_classifier/settings.h"
#include "nn/bert.h"
#include "nn/tokenizer.h"

namespace heed::examples::classifier {

struct Classified {
  Tensor logits;                  // [batch, classes]
  Tensor pooling;                 // [batch, length]: how much each token counts; undefined for max and cls
  std::vector<Tensor> attention;  // of each layer [batch, heads, length, length], where it was asked for
};

class TextClassifier : public nn::Module {
 public:
  // `bert` describes the encoder, unless that is a bag; `vocabulary` is what a bag has vectors for.
  TextClassifier(const Settings& settings, const nn::BertConfig& bert, std::int64_t vocabulary, std::int64_t classes);

  Classified operator()(const nn::TokenBatch& batch, bool need_weights = false) const {
    return from_words(words(batch.ids), batch, need_weights);
  }
  // The two halves of it: the vectors of the tokens [batch, length, width], and all that follows.
  Tensor words(const Tensor& ids) const;
  Classified from_words(const Tensor& words, const nn::TokenBatch& batch, bool need_weights = false) const;

  std::optional<nn::BertModel> bert;
  std::optional<nn::Embedding> bag;
  std::optional<nn::Linear> scorer;  // attention pooling: a token's score
  nn::Dropout dropout;
  nn::Linear classifier;

 private:
  Tensor pool(const Tensor& hidden, const nn::TokenBatch& batch, Tensor& weights) const;

  std::string pooling_;
  std::int64_t window_;
};

// The encoder that the settings describe, for a vocabulary of this size.
nn::BertConfig tiny_bert(const Settings& settings, std::int64_t vocabulary, std::int64_t pad_id);

}  // namespace heed::examples::classifier
