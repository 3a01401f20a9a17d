#include "examples/text_classifier/model.h"

#include <limits>

#include "engine/ops.h"
#include "nn/pooling.h"

namespace heed::examples::classifier {
namespace {

bool is_bag(const Settings& settings) {
  return settings.encoder == "bag";
}

}  // namespace

nn::BertConfig tiny_bert(const Settings& settings, std::int64_t vocabulary, std::int64_t pad_id) {
  nn::BertConfig config;
  config.vocab_size = vocabulary;
  config.hidden_size = settings.width;
  config.num_hidden_layers = settings.layers;
  config.num_attention_heads = settings.heads;
  config.intermediate_size = settings.hidden;
  config.hidden_dropout_prob = settings.dropout;
  config.attention_probs_dropout_prob = settings.attention_dropout;
  config.max_position_embeddings = settings.length;
  config.pad_token_id = pad_id;
  return config;
}

TextClassifier::TextClassifier(const Settings& settings, const nn::BertConfig& config, std::int64_t vocabulary,
                               std::int64_t classes)
    : dropout(settings.pooled_dropout),
      classifier(is_bag(settings) ? settings.width : config.hidden_size, classes),
      pooling_(settings.pooling),
      window_(settings.window) {
  if (is_bag(settings)) {
    register_module("bag", bag.emplace(vocabulary, settings.width));
    nn::init::normal(bag->weight, 0, 0.1);
  } else {
    register_module("bert", bert.emplace(config, pooling_ == "cls"));
  }
  if (pooling_ == "attention") register_module("scorer", scorer.emplace(config.hidden_size, 1));
  register_module("dropout", dropout);
  register_module("classifier", classifier);
  for (nn::Linear* head : {&classifier, scorer ? &*scorer : nullptr}) {
    if (head == nullptr) continue;
    nn::init::normal(head->weight, 0, 0.02);  // as BERT's heads start
    nn::init::constant(head->bias, 0);
  }
}

Tensor TextClassifier::words(const Tensor& ids) const {
  return bag ? (*bag)(ids) : bert->embeddings.word_embeddings(ids);
}

Tensor TextClassifier::pool(const Tensor& hidden, const nn::TokenBatch& batch, Tensor& weights) const {
  if (pooling_ == "cls") return (*bert->pooler)(hidden);
  if (pooling_ == "max") return nn::max_pool(hidden, batch.padding);
  Tensor scores = scorer ? (*scorer)(hidden).squeeze(-1)  // [batch, length]
                         : zeros({hidden.size(0), hidden.size(1)}, hidden.options());
  if (batch.padding.defined()) scores = masked_fill(scores, batch.padding, -std::numeric_limits<double>::infinity());
  weights = softmax(scores, -1);
  return matmul(weights.unsqueeze(1), hidden).squeeze(1);  // [batch, width]
}

Classified TextClassifier::from_words(const Tensor& words, const nn::TokenBatch& batch, bool need_weights) const {
  Classified result;
  Tensor hidden = words;  // [batch, length, width]
  if (bert) {
    nn::BertOutput output =
        bert->from_words(words, {batch.padding.defined() ? batch.lengths : Tensor(), {}, window_, need_weights});
    hidden = output.hidden;
    result.attention = std::move(output.weights);
  }
  result.logits = classifier(dropout(pool(hidden, batch, result.pooling)));
  return result;
}

}  // namespace heed::examples::classifier
