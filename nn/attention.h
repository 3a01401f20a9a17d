// Attention as layers. Batches come first: [batch, length, dim], PyTorch's batch_first.
#pragma once

#include <array>
#include <optional>

#include "engine/ops.h"
#include "nn/linear.h"
#include "nn/module.h"
#include "nn/positional.h"

namespace heed::nn {

// What attention gives: a mixture of the values for each query, and the weights of the mixture, if they were asked for.
struct Attended {
  Tensor output;   // [batch, queries, dim]
  Tensor weights;  // of MultiheadAttention [batch, queries, keys], or per head [batch, heads, queries, keys]; packed
                   // [tokens, key tokens] or [heads, tokens, key tokens]
};

// bool [batch, length], true from lengths[b] (integers [batch]) on: the key_padding_mask of sequences padded at the end.
Tensor padding_mask(const Tensor& lengths, std::int64_t length);

struct MultiheadAttentionOptions {
  double dropout = 0;  // on the weights, while training
  bool bias = true;
  std::int64_t key_heads = 0;  // fewer heads of keys and values, each serving a group of query heads; 0: num_heads
  std::int64_t kdim = 0;       // widths of key and value; 0: embed_dim
  std::int64_t vdim = 0;
};

// What one call of MultiheadAttention attends to, and what it tells.
struct AttendOptions {
  Tensor key_padding_mask = {};  // bool [batch, keys], true: padding, as in PyTorch
  Tensor key_lengths = {};       // i64 [batch]: the same for padding at the end, without a mask in memory
  // bool (true: may attend, as in scaled_dot_product_attention, where PyTorch's layer says the opposite) or floating
  // (added to the scores); broadcasts to [batch, heads, queries, keys].
  Tensor mask = {};
  Causal causal = Causal::none;
  std::int64_t window = -1;          // >= 0: only keys within this distance of the query
  double softcap = 0;                // > 0: scores are bounded by softcap tanh(x / softcap)
  Tensor alibi_slopes = {};          // [heads] or [batch, heads]: slope times distance is subtracted from scores
  std::optional<double> scale = {};  // of the scores; 1 / sqrt(head_dim) unless given. 0: every key counts the same
  // Packed sequences, without padding: inputs [tokens, dim] and i64 [sequences + 1], from 0 to the number of tokens.
  // Sequence s is the rows [query_starts[s], query_starts[s + 1]); key_starts as query_starts unless given.
  Tensor query_starts = {};
  Tensor key_starts = {};
  const RotaryPositions* rotary = nullptr;  // turns queries and keys; of packed ones, each from its start on
  bool need_weights = false;                // PyTorch: true. They take [queries, keys] of memory per head.
  bool average_attn_weights = true;         // over the heads
  AttentionPath path = AttentionPath::automatic;
};

// Vaswani et al. 2017. Queries, keys and values are projected, cut into heads, attended to by
// scaled_dot_product_attention, joined and projected once more.
class MultiheadAttention : public Module {
 public:
  MultiheadAttention(std::int64_t embed_dim, std::int64_t num_heads, const MultiheadAttentionOptions& options = {});

  // query [batch, queries, embed_dim], key [batch, keys, kdim], value [batch, keys, vdim]; packed without the first axis
  Attended operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                      const AttendOptions& options = {}) const;
  // Self-attention.
  Attended operator()(const Tensor& x, const AttendOptions& options = {}) const { return (*this)(x, x, x, options); }

  Tensor in_proj_weight;  // [embed_dim + 2 key_heads head_dim, embed_dim]: query, key, value. With kdim or vdim of
  Tensor q_proj_weight, k_proj_weight, v_proj_weight;  // their own instead these three.
  Tensor in_proj_bias;
  Linear out_proj;

 private:
  std::array<Tensor, 3> project(const Tensor& query, const Tensor& key, const Tensor& value) const;
  Tensor split_heads(const Tensor& x, std::int64_t heads) const;
  Tensor joint_mask(const Tensor& key, const AttendOptions& options) const;

  std::int64_t num_heads_, key_heads_, head_dim_;
  double dropout_;
};

// Bahdanau, Cho and Bengio 2015: score(query, key) = v . tanh(W query + U key). Takes [queries, keys, hidden_dim] of
// memory per sequence, which is why the dot product has displaced it; it serves few queries well.
class AdditiveAttention : public Module {
 public:
  AdditiveAttention(std::int64_t query_dim, std::int64_t key_dim, std::int64_t hidden_dim);

  // query [batch, queries, query_dim], key [batch, keys, key_dim], value [batch, keys, value_dim], key_padding_mask
  // bool [batch, keys]. The weights are [batch, queries, keys]; a query without keys gets zeros.
  Attended operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                      const Tensor& key_padding_mask = {}) const;

  Linear query_proj;  // W, without bias: key_proj has it
  Linear key_proj;    // U
  Linear score;       // v
};

}  // namespace heed::nn
