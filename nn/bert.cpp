#include "nn/bert.h"

#include "engine/ops.h"

namespace heed::nn {

BertEmbeddings::BertEmbeddings(const BertConfig& config)
    : word_embeddings(config.vocab_size, config.hidden_size, config.pad_token_id),
      position_embeddings(config.max_position_embeddings, config.hidden_size),
      token_type_embeddings(config.type_vocab_size, config.hidden_size),
      norm(config.hidden_size, config.layer_norm_eps),
      dropout(config.hidden_dropout_prob) {
  register_module("word_embeddings", word_embeddings);
  register_module("position_embeddings", position_embeddings);
  register_module("token_type_embeddings", token_type_embeddings);
  register_module("LayerNorm", norm);
  register_module("dropout", dropout);
}

Tensor BertEmbeddings::operator()(const Tensor& words, const Tensor& type_ids) const {
  check(words.rank() == 3, "BertModel: needs [batch, length, hidden_size], not shape {}", words.shape());
  const std::int64_t length = words.size(1), most = position_embeddings.weight.size(0);
  check(length <= most, "BertModel: {} tokens, but max_position_embeddings is {}", length, most);
  const Tensor types = type_ids.defined() ? token_type_embeddings(type_ids)  // [batch, length, hidden_size]
                                          : token_type_embeddings.weight.slice(0, 0, 1);  // [1, hidden_size]
  return dropout(norm(words + types + position_embeddings.weight.slice(0, 0, length)));
}

BertResidual::BertResidual(std::int64_t in_features, const BertConfig& config)
    : dense(in_features, config.hidden_size),
      norm(config.hidden_size, config.layer_norm_eps),
      dropout(config.hidden_dropout_prob) {
  register_module("dense", dense);
  register_module("LayerNorm", norm);
  register_module("dropout", dropout);
}

BertSelfAttention::BertSelfAttention(const BertConfig& config)
    : query(config.hidden_size, config.hidden_size),
      key(config.hidden_size, config.hidden_size),
      value(config.hidden_size, config.hidden_size),
      heads_(config.num_attention_heads),
      dropout_(config.attention_probs_dropout_prob) {
  register_module("query", query);
  register_module("key", key);
  register_module("value", value);
}

Tensor BertSelfAttention::operator()(const Tensor& x, const BertOptions& options, std::vector<Tensor>& weights) const {
  const auto heads = [&](const Tensor& projected) {  // [batch, heads, length, head_dim]
    return projected.reshape({x.size(0), x.size(1), heads_, x.size(2) / heads_}).transpose(1, 2);
  };
  const Attention attention = scaled_dot_product_attention(heads(query(x)), heads(key(x)), heads(value(x)),
                                                           {.key_lengths = options.lengths,
                                                            .window = options.window,
                                                            .dropout = training() ? dropout_ : 0,
                                                            .return_weights = options.need_weights});
  if (options.need_weights) weights.push_back(attention.weights);
  return attention.output.transpose(1, 2).reshape(x.shape());
}

BertAttention::BertAttention(const BertConfig& config) : self(config), output(config.hidden_size, config) {
  register_module("self", self);
  register_module("output", output);
}

BertIntermediate::BertIntermediate(const BertConfig& config)
    : dense(config.hidden_size, config.intermediate_size), activation_(config.hidden_act) {
  register_module("dense", dense);
}

Tensor BertIntermediate::operator()(const Tensor& x) const {
  const Tensor hidden = dense(x);
  if (activation_ == "relu") return relu(hidden);
  return gelu(hidden, activation_ == "gelu" ? GeluForm::erf : GeluForm::tanh);
}

BertLayer::BertLayer(const BertConfig& config)
    : attention(config), intermediate(config), output(config.intermediate_size, config) {
  register_module("attention", attention);
  register_module("intermediate", intermediate);
  register_module("output", output);
}

Tensor BertLayer::operator()(const Tensor& x, const BertOptions& options, std::vector<Tensor>& weights) const {
  const Tensor attended = attention.output(attention.self(x, options, weights), x);
  return output(intermediate(attended), attended);
}

BertEncoder::BertEncoder(const BertConfig& config) {
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) layer.append(config);
  register_module("layer", layer);
}

BertPooler::BertPooler(const BertConfig& config) : dense(config.hidden_size, config.hidden_size) {
  register_module("dense", dense);
}

BertModel::BertModel(const BertConfig& config, bool with_pooler)
    : embeddings(config), encoder(config), config_(config) {
  check(config.num_attention_heads > 0 && config.hidden_size % config.num_attention_heads == 0,
        "BertModel: hidden_size {} is not a multiple of num_attention_heads {}", config.hidden_size,
        config.num_attention_heads);
  register_module("embeddings", embeddings);
  register_module("encoder", encoder);
  if (with_pooler) register_module("pooler", pooler.emplace(config));
  for (const auto& [name, parameter] : named_parameters()) {
    if (parameter.rank() == 2) init::normal(parameter, 0, config.initializer_range);
    if (name.ends_with("bias")) init::constant(parameter, 0);
  }
  init::constant(embeddings.word_embeddings.weight.detach().select(0, config.pad_token_id), 0);
}

BertOutput BertModel::from_words(const Tensor& words, const BertOptions& options) const {
  BertOutput result;
  result.hidden = embeddings(words, options.type_ids);
  for (const BertLayer& layer : encoder.layer) {
    result.states.push_back(result.hidden);
    result.hidden = layer(result.hidden, options, result.weights);
  }
  result.states.push_back(result.hidden);
  return result;
}

}  // namespace heed::nn
