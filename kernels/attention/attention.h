// Scaled dot-product attention that never holds all scores at once (Dao et al. 2022, FlashAttention; Milakov and
// Gimelshein 2018 for the running softmax).
//
//   scores[i, j] = scale query[i] . key[j] + mask[i, j]            where query i may look at key j, else -inf
//   weights      = dropout(softmax(scores))                        zeros where a query may look at nothing
//   output       = weights value                                   log_sum_exp[i] = log sum_j exp scores[i, j]
//
//   query [batch, heads, queries, head_dim]      key [batch, key_heads, keys, head_dim]
//   value [batch, key_heads, keys, value_dim]    output [batch, heads, queries, value_dim]
//   log_sum_exp [batch, heads, queries], -inf where a query may look at nothing
//
// f32, any strides; heads is a multiple of key_heads, and head h reads key head h / (heads / key_heads). head_dim and
// value_dim are 1 to attention_max_dim. No axis needs to have elements. The bits do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/registry.h"

namespace heed::kernels {

inline constexpr std::int64_t attention_max_dim = 256;

struct AttentionOptions {
  double scale = 1;
  // The key position that query i stands at is i + shift. Causal: no key behind it; window >= 0: none further than that
  // from it, on either side.
  bool causal = false;
  std::int64_t shift = 0;
  std::int64_t window = -1;
  View key_lengths = {};  // i64 [batch], or without data: keys at or beyond the length are not looked at
  View mask = {};         // bool (true: may look) or f32 (is added), [batch, heads, queries, keys], or without data
  // Of the weights, by the numbers that kernels::dropout draws over [batch, heads, queries, keys].
  double dropout = 0;
  std::uint64_t seed = 0, offset = 0;
};

// Where one query may look, or from where one key is looked at.
struct AttentionSpan {
  std::int64_t begin, end;
};

// The keys that query i may look at, as far as causal, window and `length`, the keys that there are, decide.
inline AttentionSpan keys_of_query(const AttentionOptions& o, std::int64_t i, std::int64_t length) {
  const std::int64_t position = i + o.shift;
  const std::int64_t begin = o.window >= 0 ? std::max<std::int64_t>(position - o.window, 0) : 0;
  std::int64_t end = length;
  if (o.causal) end = std::min(end, position + 1);
  if (o.window >= 0) end = std::min(end, position + o.window + 1);
  return {begin, std::max(begin, end)};
}

// The queries, of `queries`, that may look at key j.
inline AttentionSpan queries_of_key(const AttentionOptions& o, std::int64_t j, std::int64_t queries,
                                    std::int64_t length) {
  std::int64_t begin = o.causal ? j - o.shift : 0;
  if (o.window >= 0) begin = std::max(begin, j - o.shift - o.window);
  std::int64_t end = o.window >= 0 ? std::min(queries, j - o.shift + o.window + 1) : queries;
  begin = std::max<std::int64_t>(begin, 0);
  if (j >= length) end = begin;
  return {begin, std::max(begin, end)};
}

// The number of keys that sequence b has.
inline std::int64_t attention_keys(const AttentionOptions& o, const View& key, std::int64_t b) {
  if (o.key_lengths.data == nullptr) return key.shape[2];
  return std::clamp<std::int64_t>(o.key_lengths.as<const std::int64_t>()[b * o.key_lengths.strides[0]], 0,
                                  key.shape[2]);
}

//   workspace f32 [attention_forward_workspace(...)], contiguous
inline constinit Kernel<void(View query, View key, View value, const AttentionOptions&, View output, View log_sum_exp,
                             View workspace, Stream)>
    attention_forward{"attention_forward"};

// The gradients, from what the forward returned. A view without data is not wanted, or not there.
//   doutput as output   dlog_sum_exp as log_sum_exp, optional   dquery, dkey, dvalue as their inputs, all or none
//   workspace f32 [attention_backward_workspace(...)], contiguous
// With p = exp(scores - log_sum_exp), D the dropout factors (0 or 1 / (1 - dropout)), and
// delta[i] = doutput[i] . output[i] - dlog_sum_exp[i]:
//   dscores = p ((doutput value^T) D - delta)   dvalue = (p D)^T doutput
//   dquery = scale dscores key                  dkey = scale dscores^T query
inline constinit Kernel<void(View query, View key, View value, const AttentionOptions&, View output, View log_sum_exp,
                             View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue, View workspace,
                             Stream)>
    attention_backward{"attention_backward"};

// Copies of the operands in the order in which the kernels read them: room for each as columns in panels of 64 (which
// pads the length) and as rows (which pads the width to 16).
constexpr std::int64_t attention_copy(std::int64_t heads, std::int64_t length, std::int64_t dim) {
  const std::int64_t panels = (length + 63) / 64 * 64 * dim, rows = length * ((dim + 15) / 16 * 16);
  return heads * (panels + rows);
}
inline std::int64_t attention_forward_workspace(const View& key, const View& value) {
  const std::int64_t heads = key.shape[0] * key.shape[1], keys = key.shape[2];
  return attention_copy(heads, keys, key.shape[3]) + attention_copy(heads, keys, value.shape[3]);
}
inline std::int64_t attention_backward_workspace(const View& query, const View& key, const View& value) {
  const std::int64_t heads = query.shape[0] * query.shape[1], queries = query.shape[2];
  return attention_forward_workspace(key, value) + attention_copy(heads, queries, query.shape[3]) +
         attention_copy(heads, queries, value.shape[3]) + 2 * heads * queries;
}

}  // namespace heed::kernels
