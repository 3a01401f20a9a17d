#include "nn/attention.h"

#include <limits>

#include "nn/init.h"

namespace heed::nn {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

void check_packed(const Tensor& query, const Tensor& key, const Tensor& value, const AttendOptions& options) {
  for (const Tensor* x : {&query, &key, &value})
    check(x->rank() == 2, "MultiheadAttention: packed sequences are [tokens, dim], not shape {}", x->shape());
  check(value.size(0) == key.size(0), "MultiheadAttention: key {} and value {} do not go together", key.shape(),
        value.shape());
  check(!options.key_padding_mask.defined(), "MultiheadAttention: packed sequences have no padding to mask");
}

void check_inputs(const char* name, const Tensor& query, const Tensor& key, const Tensor& value,
                  const Tensor& key_padding_mask) {
  for (const Tensor* x : {&query, &key, &value})
    check(x->rank() == 3, "{}: needs [batch, length, dim], not shape {}", name, x->shape());
  check(key.size(0) == query.size(0) && value.size(0) == query.size(0) && value.size(1) == key.size(1),
        "{}: query {}, key {} and value {} do not go together", name, query.shape(), key.shape(), value.shape());
  const Shape expected = {key.size(0), key.size(1)};
  if (key_padding_mask.defined() &&
      (key_padding_mask.dtype() != Dtype::boolean || key_padding_mask.shape() != expected))
    fail("{}: key_padding_mask must be bool of shape {}, not {} of shape {}", name, expected, key_padding_mask.dtype(),
         key_padding_mask.shape());
}

// x [batch, heads, length, head_dim], or packed [tokens, heads, head_dim], whose positions count from each sequence's start.
Tensor turned(const Tensor& x, const RotaryPositions& rotary, const Tensor& starts) {
  if (!starts.defined()) return rotary(x);
  return rotary(x.transpose(0, 1), packed_positions(starts, x.size(0))).transpose(0, 1);
}

}  // namespace

Tensor padding_mask(const Tensor& lengths, std::int64_t length) {
  check(lengths.rank() == 1, "padding_mask: lengths must be [batch], not shape {}", lengths.shape());
  const Tensor positions = arange(0, static_cast<double>(length), 1, {lengths.dtype(), lengths.device()});
  return greater_equal(positions, lengths.unsqueeze(1));
}

MultiheadAttention::MultiheadAttention(std::int64_t embed_dim, std::int64_t num_heads,
                                       const MultiheadAttentionOptions& options)
    : out_proj(embed_dim, embed_dim, options.bias),
      num_heads_(num_heads),
      key_heads_(options.key_heads == 0 ? num_heads : options.key_heads),
      dropout_(options.dropout) {
  check(num_heads > 0 && embed_dim > 0 && embed_dim % num_heads == 0,
        "MultiheadAttention: embed_dim {} is not a multiple of num_heads {}", embed_dim, num_heads);
  check(key_heads_ > 0 && num_heads % key_heads_ == 0,
        "MultiheadAttention: num_heads {} is not a multiple of key_heads {}", num_heads, key_heads_);
  head_dim_ = embed_dim / num_heads;
  const std::int64_t kdim = options.kdim == 0 ? embed_dim : options.kdim;
  const std::int64_t vdim = options.vdim == 0 ? embed_dim : options.vdim;
  const std::int64_t key_width = key_heads_ * head_dim_;
  if (kdim == embed_dim && vdim == embed_dim) {
    in_proj_weight = empty({embed_dim + 2 * key_width, embed_dim});
  } else {
    q_proj_weight = empty({embed_dim, embed_dim});
    k_proj_weight = empty({key_width, kdim});
    v_proj_weight = empty({key_width, vdim});
  }
  if (options.bias) in_proj_bias = zeros({embed_dim + 2 * key_width});
  for (const Tensor& weight : {in_proj_weight, q_proj_weight, k_proj_weight, v_proj_weight})
    if (weight.defined()) init::xavier_uniform(weight);
  if (options.bias) init::constant(out_proj.bias, 0);
  register_parameter("in_proj_weight", in_proj_weight);
  register_parameter("q_proj_weight", q_proj_weight);
  register_parameter("k_proj_weight", k_proj_weight);
  register_parameter("v_proj_weight", v_proj_weight);
  register_parameter("in_proj_bias", in_proj_bias);
  register_module("out_proj", out_proj);
}

// [batch, queries, embed_dim], and twice [batch, keys, key_heads head_dim].
std::array<Tensor, 3> MultiheadAttention::project(const Tensor& query, const Tensor& key, const Tensor& value) const {
  const std::int64_t key_width = key_heads_ * head_dim_;
  const std::vector<std::int64_t> widths = {num_heads_ * head_dim_, key_width, key_width};
  if (in_proj_weight.defined() && query.impl() == key.impl() && key.impl() == value.impl()) {
    const std::vector<Tensor> parts = split(linear(query, in_proj_weight, in_proj_bias), widths, -1);
    return {parts[0], parts[1], parts[2]};
  }
  const std::vector<Tensor> weights = in_proj_weight.defined()
                                          ? split(in_proj_weight, widths)
                                          : std::vector{q_proj_weight, k_proj_weight, v_proj_weight};
  const std::vector<Tensor> biases = in_proj_bias.defined() ? split(in_proj_bias, widths) : std::vector<Tensor>(3);
  return {linear(query, weights[0], biases[0]), linear(key, weights[1], biases[1]),
          linear(value, weights[2], biases[2])};
}

Tensor MultiheadAttention::split_heads(const Tensor& x, std::int64_t heads) const {
  if (x.rank() == 2) return x.reshape({x.size(0), heads, head_dim_});          // packed: [tokens, heads, head_dim]
  return x.reshape({x.size(0), x.size(1), heads, head_dim_}).transpose(1, 2);  // [batch, heads, length, head_dim]
}

// What `mask` and `key_padding_mask` say together.
Tensor MultiheadAttention::joint_mask(const Tensor& key, const AttendOptions& options) const {
  if (!options.key_padding_mask.defined()) return options.mask;
  const Tensor padding = options.key_padding_mask.reshape({key.size(0), 1, 1, key.size(1)});  // [batch, 1, 1, keys]
  if (!options.mask.defined()) return logical_not(padding);
  if (options.mask.dtype() == Dtype::boolean) return logical_and(options.mask, logical_not(padding));
  return where(padding, scalar(minus_infinity, options.mask.options()), options.mask);
}

Attended MultiheadAttention::operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                                        const AttendOptions& options) const {
  const bool packed = options.query_starts.defined();
  if (packed) {
    check_packed(query, key, value, options);
  } else {
    check_inputs("MultiheadAttention", query, key, value, options.key_padding_mask);
  }
  const auto [projected_query, projected_key, projected_value] = project(query, key, value);
  Tensor q = split_heads(projected_query, num_heads_);        // [batch, heads, queries, head_dim]
  Tensor k = split_heads(projected_key, key_heads_);          // [batch, key_heads, keys, head_dim]
  const Tensor v = split_heads(projected_value, key_heads_);  // [batch, key_heads, keys, head_dim]
  const Tensor& key_starts = options.key_starts.defined() ? options.key_starts : options.query_starts;
  if (options.rotary != nullptr) {
    q = turned(q, *options.rotary, options.query_starts);
    k = turned(k, *options.rotary, key_starts);
  }
  const Attention attention = scaled_dot_product_attention(q, k, v,
                                                           {.causal = options.causal,
                                                            .mask = joint_mask(key, options),
                                                            .key_lengths = options.key_lengths,
                                                            .window = options.window,
                                                            .softcap = options.softcap,
                                                            .alibi_slopes = options.alibi_slopes,
                                                            .query_starts = options.query_starts,
                                                            .key_starts = key_starts,
                                                            .dropout = training() ? dropout_ : 0,
                                                            .scale = options.scale,
                                                            .return_weights = options.need_weights,
                                                            .path = options.path});
  const Tensor joined = (packed ? attention.output : attention.output.transpose(1, 2)).reshape(query.shape());
  const bool average = options.need_weights && options.average_attn_weights;
  return {out_proj(joined), average ? mean(attention.weights, {packed ? 0 : 1}) : attention.weights};
}

AdditiveAttention::AdditiveAttention(std::int64_t query_dim, std::int64_t key_dim, std::int64_t hidden_dim)
    : query_proj(query_dim, hidden_dim, false), key_proj(key_dim, hidden_dim), score(hidden_dim, 1, false) {
  register_module("query_proj", query_proj);
  register_module("key_proj", key_proj);
  register_module("score", score);
}

Attended AdditiveAttention::operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                                       const Tensor& key_padding_mask) const {
  check_inputs("AdditiveAttention", query, key, value, key_padding_mask);
  const Tensor hidden =
      tanh(query_proj(query).unsqueeze(2) + key_proj(key).unsqueeze(1));  // [batch, queries, keys, hidden]
  Tensor scores = score(hidden).squeeze(-1);                              // [batch, queries, keys]
  if (key_padding_mask.defined()) scores = masked_fill(scores, key_padding_mask.unsqueeze(1), minus_infinity);
  const Tensor weights = softmax(scores, -1);
  return {matmul(weights, value), weights};
}

}  // namespace heed::nn
