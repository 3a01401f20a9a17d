// The encoder of Vaswani et al. 2017, with PyTorch's names. Batches come first: [batch, length, d_model].
#pragma once

#include <memory>
#include <optional>

#include "nn/attention.h"
#include "nn/dropout.h"
#include "nn/linear.h"
#include "nn/module.h"
#include "nn/normalization.h"

namespace heed::nn {

enum class Activation { relu, gelu };

struct TransformerEncoderLayerOptions {
  std::int64_t dim_feedforward = 2048;
  double dropout = 0.1;
  std::optional<double> attention_dropout = {};  // on the attention weights; as dropout unless given
  Activation activation = Activation::relu;
  double layer_norm_eps = 1e-5;
  bool norm_first = false;  // normalise what goes into a block (pre-norm), not what comes out of the sum after it
  bool bias = true;
};

// Two blocks, each added to what it was given: self-attention, and a feed-forward network of one hidden layer.
class TransformerEncoderLayer : public Module {
 public:
  TransformerEncoderLayer(std::int64_t d_model, std::int64_t nhead, const TransformerEncoderLayerOptions& options = {});

  // x [batch, length, d_model]; the weights of the self-attention if options ask for them.
  Attended operator()(const Tensor& x, const AttendOptions& options = {}) const;

  MultiheadAttention self_attn;
  Linear linear1, linear2;
  LayerNorm norm1, norm2;
  Dropout dropout, dropout1, dropout2;

 private:
  Tensor feed_forward(const Tensor& x) const;

  Activation activation_;
  bool norm_first_;
};

// Layers one after the other. Each starts with weights of its own, where PyTorch copies those of one layer.
class TransformerEncoder : public Module {
 public:
  struct Result {
    Tensor output;                // [batch, length, d_model]
    std::vector<Tensor> weights;  // of each layer, if options ask for them
  };

  // final_norm: a LayerNorm after the last layer ("norm" in the state dict), which pre-norm layers want.
  TransformerEncoder(std::int64_t d_model, std::int64_t nhead, std::int64_t num_layers,
                     const TransformerEncoderLayerOptions& options = {}, bool final_norm = false);

  Result operator()(const Tensor& x, const AttendOptions& options = {}) const;

  ModuleList<TransformerEncoderLayer> layers;
  std::optional<LayerNorm> norm;
};

}  // namespace heed::nn
