// BERT (Devlin et al. 2019) as Hugging Face's transformers has it: names, configuration, arithmetic and keys of the state
// dict are those of BertModel, so that pretrained weights load as they are published.
//
//   const nn::Bert bert = nn::load_bert("bert-base-uncased");
//   const auto result = (*bert.model)(batch.ids, {.lengths = batch.lengths, .type_ids = batch.type_ids});
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/dropout.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "nn/module.h"
#include "nn/normalization.h"

namespace heed::nn {

// config.json. The defaults are those of transformers' BertConfig.
struct BertConfig {
  std::int64_t vocab_size = 30522;
  std::int64_t hidden_size = 768;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 12;
  std::int64_t intermediate_size = 3072;
  std::string hidden_act = "gelu";  // gelu (by erf), gelu_new or gelu_pytorch_tanh (its tanh approximation), relu
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  std::int64_t max_position_embeddings = 512;
  std::int64_t type_vocab_size = 2;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-12;
  std::int64_t pad_token_id = 0;
};
// Throws heed::Error naming the key that makes no sense, or that asks for what heed does not have.
BertConfig bert_config_from_json(const std::string& text);
std::string to_json(const BertConfig& config);

// What one call attends to, and what it tells.
struct BertOptions {
  Tensor lengths = {};       // i64 [batch]: tokens from here on are padding. Undefined: there is none.
  Tensor type_ids = {};      // i64 [batch, length]; undefined: all 0
  std::int64_t window = -1;  // >= 0: a token sees only those at most this far away
  bool need_weights = false;
};

struct BertOutput {
  Tensor hidden;                // [batch, length, hidden_size]
  std::vector<Tensor> states;   // what went into each layer, and `hidden` last: transformers' hidden_states
  std::vector<Tensor> weights;  // of each layer [batch, heads, length, length], where they were asked for
};

class BertEmbeddings : public Module {
 public:
  explicit BertEmbeddings(const BertConfig& config);
  // words [batch, length, hidden_size], the vectors of the tokens alone. Throws beyond max_position_embeddings.
  Tensor operator()(const Tensor& words, const Tensor& type_ids) const;

  Embedding word_embeddings, position_embeddings, token_type_embeddings;
  LayerNorm norm;  // "LayerNorm"
  Dropout dropout;
};

// A linear map, and the normalised sum of what it gives and what went around it: BertSelfOutput, BertOutput.
class BertResidual : public Module {
 public:
  BertResidual(std::int64_t in_features, const BertConfig& config);
  Tensor operator()(const Tensor& x, const Tensor& around) const { return norm(dropout(dense(x)) + around); }

  Linear dense;
  LayerNorm norm;  // "LayerNorm"
  Dropout dropout;
};

class BertSelfAttention : public Module {
 public:
  explicit BertSelfAttention(const BertConfig& config);
  Tensor operator()(const Tensor& x, const BertOptions& options, std::vector<Tensor>& weights) const;

  Linear query, key, value;

 private:
  std::int64_t heads_;
  double dropout_;
};

class BertAttention : public Module {
 public:
  explicit BertAttention(const BertConfig& config);
  BertSelfAttention self;
  BertResidual output;
};

class BertIntermediate : public Module {
 public:
  explicit BertIntermediate(const BertConfig& config);
  Tensor operator()(const Tensor& x) const;

  Linear dense;

 private:
  std::string activation_;
};

class BertLayer : public Module {
 public:
  explicit BertLayer(const BertConfig& config);
  Tensor operator()(const Tensor& x, const BertOptions& options, std::vector<Tensor>& weights) const;

  BertAttention attention;
  BertIntermediate intermediate;
  BertResidual output;
};

class BertEncoder : public Module {
 public:
  explicit BertEncoder(const BertConfig& config);
  ModuleList<BertLayer> layer;
};

// tanh of a linear map of the first token's vector.
class BertPooler : public Module {
 public:
  explicit BertPooler(const BertConfig& config);
  Tensor operator()(const Tensor& hidden) const { return tanh(dense(hidden.select(1, 0))); }  // [batch, hidden_size]

  Linear dense;
};

class BertModel : public Module {
 public:
  explicit BertModel(const BertConfig& config, bool with_pooler = true);

  // ids: integers [batch, length], padding at the end.
  BertOutput operator()(const Tensor& ids, const BertOptions& options = {}) const {
    return from_words(embeddings.word_embeddings(ids), options);
  }
  // The same from the vectors of the tokens, for those who want to change them or know their gradients.
  BertOutput from_words(const Tensor& words, const BertOptions& options = {}) const;

  const BertConfig& config() const { return config_; }

  BertEmbeddings embeddings;
  BertEncoder encoder;
  std::optional<BertPooler> pooler;

 private:
  BertConfig config_;
};

// The weights of a folder that transformers saved: model.safetensors, or the shards that model.safetensors.index.json
// lists, in whatever dtype. Keys as heed's modules have them: without the prefix "bert.", and LayerNorm's "gamma" and
// "beta" of old files as "weight" and "bias". Throws heed::Error naming the file, and the key where one is at fault.
NamedTensors read_bert_weights(const std::filesystem::path& folder);

struct Bert {
  std::unique_ptr<BertModel> model;
  std::vector<std::string>
      unused;  // keys of the files that are no part of the encoder, such as a language model's head
};
// config.json and the weights, all of them: what is missing or has another shape throws heed::Error naming the folder and
// every such key. Without a pooler's weights the model has none. It is in evaluation mode.
Bert load_bert(const std::filesystem::path& folder);

}  // namespace heed::nn
