#include "nn/transformer.h"

namespace heed::nn {

TransformerEncoderLayer::TransformerEncoderLayer(std::int64_t d_model, std::int64_t nhead,
                                                 const TransformerEncoderLayerOptions& options)
    : self_attn(d_model, nhead, {.dropout = options.attention_dropout.value_or(options.dropout), .bias = options.bias}),
      linear1(d_model, options.dim_feedforward, options.bias),
      linear2(options.dim_feedforward, d_model, options.bias),
      norm1(d_model, options.layer_norm_eps, options.bias),
      norm2(d_model, options.layer_norm_eps, options.bias),
      dropout(options.dropout),
      dropout1(options.dropout),
      dropout2(options.dropout),
      activation_(options.activation),
      norm_first_(options.norm_first) {
  register_module("self_attn", self_attn);
  register_module("linear1", linear1);
  register_module("dropout", dropout);
  register_module("linear2", linear2);
  register_module("norm1", norm1);
  register_module("norm2", norm2);
  register_module("dropout1", dropout1);
  register_module("dropout2", dropout2);
}

Tensor TransformerEncoderLayer::feed_forward(const Tensor& x) const {
  const Tensor hidden = linear1(x);  // [batch, length, dim_feedforward]
  return linear2(dropout(activation_ == Activation::relu ? relu(hidden) : gelu(hidden)));
}

Attended TransformerEncoderLayer::operator()(const Tensor& x, const AttendOptions& options) const {
  const Attended attended = self_attn(norm_first_ ? norm1(x) : x, options);
  Tensor y = x + dropout1(attended.output);
  if (!norm_first_) y = norm1(y);
  y = y + dropout2(feed_forward(norm_first_ ? norm2(y) : y));
  return {norm_first_ ? y : norm2(y), attended.weights};
}

TransformerEncoder::TransformerEncoder(std::int64_t d_model, std::int64_t nhead, std::int64_t num_layers,
                                       const TransformerEncoderLayerOptions& options, bool final_norm) {
  for (std::int64_t i = 0; i < num_layers; ++i) layers.append(d_model, nhead, options);
  register_module("layers", layers);
  if (final_norm) register_module("norm", norm.emplace(d_model, options.layer_norm_eps, options.bias));
}

TransformerEncoder::Result TransformerEncoder::operator()(const Tensor& x, const AttendOptions& options) const {
  Result result{x, {}};
  for (const TransformerEncoderLayer& layer : layers) {
    const Attended attended = layer(result.output, options);
    result.output = attended.output;
    if (options.need_weights) result.weights.push_back(attended.weights);
  }
  if (norm) result.output = (*norm)(result.output);
  return result;
}

}  // namespace heed::nn
