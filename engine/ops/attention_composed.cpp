// Attention composed of smaller operations. It holds all scores, so memory grows with the square of the length; what it
// does is plain to see, and it is differentiable to any order because its parts are.
#include <limits>

#include "engine/operation.h"
#include "engine/ops/attention.h"

namespace heed {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// Where each query and key stands: i64, one after another along the rows of the scores.
struct Positions {
  Tensor query, key;                    // [Sq, 1], [Sk]; within its sequence, a query's after alignment
  Tensor query_sequence, key_sequence;  // [Sq, 1], [Sk] of a packed batch
};

Positions positions_of(const AttentionOptions& options, std::int64_t queries, std::int64_t keys, Device device) {
  const bool bottom_right = options.causal == Causal::bottom_right;
  if (!options.query_starts.defined()) {
    const TensorOptions integers{Dtype::i64, device};
    const auto shift = static_cast<double>(bottom_right ? keys - queries : 0);
    return {arange(shift, shift + static_cast<double>(queries), 1, integers).unsqueeze(1),
            arange(0, static_cast<double>(keys), 1, integers)};
  }
  const auto query_starts = options.query_starts.to_vector<std::int64_t>();
  const auto key_starts = options.key_starts.to_vector<std::int64_t>();
  std::vector<std::int64_t> query, key, query_sequence, key_sequence;
  for (std::size_t s = 0; s + 1 < query_starts.size(); ++s) {
    const std::int64_t own_queries = query_starts[s + 1] - query_starts[s],
                       own_keys = key_starts[s + 1] - key_starts[s];
    for (std::int64_t i = 0; i < own_queries; ++i) query.push_back(bottom_right ? i + own_keys - own_queries : i);
    for (std::int64_t j = 0; j < own_keys; ++j) key.push_back(j);
    query_sequence.resize(query.size(), static_cast<std::int64_t>(s));
    key_sequence.resize(key.size(), static_cast<std::int64_t>(s));
  }
  return {from_vector(query, {queries, 1}, device), from_vector(key, {keys}, device),
          from_vector(query_sequence, {queries, 1}, device), from_vector(key_sequence, {keys}, device)};
}

// Where the options let queries look, broadcastable to the scores; undefined: everywhere.
Tensor allowed_positions(const AttentionOptions& options, const Positions& at) {
  Tensor allowed;
  const auto restrict_to = [&](const Tensor& condition) {
    allowed = allowed.defined() ? logical_and(allowed, condition) : condition;
  };
  if (options.causal != Causal::none) restrict_to(less_equal(at.key, at.query));
  if (options.window >= 0) {
    const Tensor window = scalar(static_cast<double>(options.window), at.key.options());
    restrict_to(less_equal(abs(at.key - at.query), window));
  }
  if (options.key_lengths.defined()) restrict_to(less(at.key, options.key_lengths.reshape({-1, 1, 1, 1})));
  if (at.query_sequence.defined()) restrict_to(equal(at.query_sequence, at.key_sequence));
  if (options.mask.defined()) {
    const Tensor mask = options.mask.detach();
    restrict_to(mask.dtype() == Dtype::boolean ? mask : not_equal(mask, scalar(-infinity, mask.options())));
  }
  return allowed;
}

// slope |query position - key position|, broadcastable to the scores.
Tensor alibi_bias(const AttentionOptions& options, const Positions& at, Dtype dtype) {
  Tensor slopes = options.alibi_slopes.to(dtype);  // [heads], [batch, heads], or packed [sequences, heads]
  if (slopes.rank() == 2 && at.query_sequence.defined()) {
    slopes = index_select(slopes, 0, at.query_sequence.squeeze(1)).transpose(0, 1);  // [heads, Sq]
    return slopes.unsqueeze(2) * abs(at.query - at.key).to(dtype);
  }
  return slopes.unsqueeze(-1).unsqueeze(-1) * abs(at.query - at.key).to(dtype);
}

// Rows beyond a sequence's length are padding: what they hold must not matter, not even as 0 times NaN.
Tensor without_padding(const Tensor& x, const AttentionOptions& options) {
  if (!options.key_lengths.defined()) return x;
  const Tensor row = arange(0, static_cast<double>(x.size(2)), 1, {Dtype::i64, x.device()});
  const Tensor beyond = greater_equal(row, options.key_lengths.unsqueeze(1));  // [batch, Sk]
  return masked_fill(x, beyond.reshape({x.size(0), 1, x.size(2), 1}), 0);
}

}  // namespace

Attention composed_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                             const AttentionOptions& options, double scale) {
  if (is_half(query.dtype())) {  // as the fused kernels: computed in f32, rounded at the end
    Attention result =
        composed_attention(query.to(Dtype::f32), key.to(Dtype::f32), value.to(Dtype::f32), options, scale);
    result.output = result.output.to(query.dtype());
    return result;
  }
  Operation op("composed_attention");
  const std::int64_t batch = query.size(0), heads = query.size(1), queries = query.size(2), head_dim = query.size(3);
  const std::int64_t key_heads = key.size(1), keys = key.size(2), value_dim = value.size(3);

  // The query heads that share a key head count as more queries of it.
  const std::int64_t grouped_queries = key_heads == 0 ? 0 : heads / key_heads * queries;
  const Tensor grouped = (query * scale).reshape({batch, key_heads, grouped_queries, head_dim});
  Tensor scores = matmul(grouped, without_padding(key, options).transpose(2, 3)).reshape({batch, heads, queries, keys});
  const Positions at = positions_of(options, queries, keys, query.device());
  if (options.softcap > 0) scores = tanh(scores / options.softcap) * options.softcap;
  if (options.alibi_slopes.defined()) scores = scores - alibi_bias(options, at, scores.dtype());
  if (options.mask.defined() && is_floating(options.mask.dtype())) scores = scores + options.mask.to(scores.dtype());
  const Tensor allowed = allowed_positions(options, at);
  if (allowed.defined()) scores = masked_fill(scores, logical_not(allowed), -infinity);
  const Tensor weights = dropout(softmax(scores, 3), options.dropout, options.generator);
  Attention result;
  result.output = matmul(weights.reshape({batch, key_heads, grouped_queries, keys}), without_padding(value, options))
                      .reshape({batch, heads, queries, value_dim});
  if (options.return_weights) result.weights = weights;
  if (options.return_log_sum_exp) result.log_sum_exp = log_sum_exp(scores, {3});
  return result;
}

}  // namespace heed
