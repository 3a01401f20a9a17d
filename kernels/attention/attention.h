// Scaled dot-product attention that never holds all scores at once (Dao et al. 2022, FlashAttention; Milakov and
// Gimelshein 2018 for the running softmax).
//
//   product[i, j] = scale query[i] . key[j]           softcap > 0: softcap tanh(product / softcap) in its place
//   scores        = product - slope |position(i) - j| + mask        where query i may look at key j, else -inf
//   weights       = dropout(softmax(scores))                        zeros where a query may look at nothing
//   output        = weights value                                   log_sum_exp[i] = log sum_j exp scores[i, j]
//
//   query [batch, heads, queries, head_dim]      key [batch, key_heads, keys, head_dim]
//   value [batch, key_heads, keys, value_dim]    output [batch, heads, queries, value_dim]
//   log_sum_exp f32 [batch, heads, queries], -inf where a query may look at nothing
//
// query, key, value, output and their gradients are of one dtype, f32 or a half, all else is f32; sums are f32 or better, and
// so are their terms, except that in halves weights and scores' gradients may be rounded to it before a product.
// Any strides. heads is a multiple of key_heads, and head h reads key head h / (heads / key_heads). head_dim and
// value_dim are 1 to attention_max_dim. No axis needs to have elements.
//
// Packed batches: with query_starts and key_starts the sequences lie one after the other along the rows of one batch
// entry (batch is 1; [tokens, heads, dim] in memory is a view of that kind), sequence s being the query rows
// [query_starts[s], query_starts[s + 1]) and the key rows [key_starts[s], key_starts[s + 1]). A query looks at keys of
// its own sequence alone, and i and j above count from where it starts. Masks and dropout count rows as the views do.
//
// Special numbers. A score of -inf is a weight of 0. A score of NaN or +inf makes the query's output NaN, and its
// log_sum_exp NaN or +inf. Where a query may not look, the key has no influence on its output, whatever it holds; rows
// beyond a sequence's length have none on anything. Values that are NaN or infinite make NaN of the queries that look at
// them, and may make NaN (0 times them) of other queries of the same sequence; in gradients, keys and doutput likewise.
// Queries that look at nothing have a gradient of zero, and add none to anything.
//
// The same bits every time, for any number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>

#include "kernels/registry.h"

namespace heed::kernels {

inline constexpr std::int64_t attention_max_dim = 256;

struct AttentionOptions {
  double scale = 1;    // any number: negative, 0
  double softcap = 0;  // 0: none
  // position(i), the key that query i stands at, is i, or with bottom_right i + (the sequence's keys - its queries).
  // causal: no key behind it. window >= 0: none further than that from it, on either side.
  bool causal = false;
  bool bottom_right = false;
  std::int64_t window = -1;
  // The views below have no data where the feature is not used. Their strides may be 0.
  View key_lengths = {};   // i64 [batch]: keys at or beyond the length are not looked at; for position(i) they count
  View mask = {};          // bool (true: may look) or f32 (is added), [batch, heads, queries, keys]
  View alibi_slopes = {};  // f32 [sequences, heads]; sequences is batch, unless packed (Press et al. 2022)
  // Packed: i64 [sequences + 1] both, from 0 to the number of rows, never falling; not together with key_lengths. No
  // sequence has more queries or keys than longest_...
  View query_starts = {}, key_starts = {};
  std::int64_t longest_queries = 0, longest_keys = 0;
  // Of the weights, by the numbers that kernels::dropout draws over [batch, heads, queries, keys].
  double dropout = 0;
  std::uint64_t seed = 0, offset = 0;

  bool packed() const { return query_starts.data != nullptr; }
};

// Memory for the time of one launch: returns `bytes` of it on the launch's device, aligned to 64, uninitialised.
using AttentionWorkspace = std::function<void*(std::int64_t bytes)>;

inline constinit Kernel<void(View query, View key, View value, const AttentionOptions&, View output, View log_sum_exp,
                             const AttentionWorkspace&, Stream)>
    attention_forward{"attention_forward"};

// The gradients, from what the forward returned.
//   doutput as output   dlog_sum_exp as log_sum_exp, or without data   dquery, dkey, dvalue as their inputs
// With p = exp(scores - log_sum_exp), D the dropout factors (0 or 1 / (1 - dropout)), and
// delta[i] = doutput[i] . output[i] - dlog_sum_exp[i]:
//   dscores = p ((doutput value^T) D - delta)   dvalue = (p D)^T doutput
//   dproduct = dscores (1 - tanh^2(product / softcap)), without a softcap dscores itself
//   dquery = scale dproduct key                 dkey = scale dproduct^T query
inline constinit Kernel<void(View query, View key, View value, const AttentionOptions&, View output, View log_sum_exp,
                             View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                             const AttentionWorkspace&, Stream)>
    attention_backward{"attention_backward"};

// The gradient of an added mask: dmask f32 [batch, heads, queries, keys], which is dscores, summed along each axis on
// which dmask has stride 0. The other strides leave no two elements at one place. Rows and columns that no query looks
// at get 0. A slot of its own: it computes the weights once more, and whoever has no such mask pays nothing.
inline constinit Kernel<void(View query, View key, View value, const AttentionOptions&, View output, View log_sum_exp,
                             View doutput, View dlog_sum_exp, View dmask, const AttentionWorkspace&, Stream)>
    attention_mask_gradient{"attention_mask_gradient"};

// ---- where to look --------------------------------------------------------------------------------------------------

// One sequence of the batch: the rows that are its own, and what to add to a query's number to get its position.
struct AttentionSequence {
  std::int64_t batch;  // along the first axis of the views
  std::int64_t first_query, queries;
  std::int64_t first_key, keys;  // keys: those that there are to look at
  std::int64_t shift;
};

// A stretch of the keys of a sequence, or of its queries.
struct AttentionSpan {
  std::int64_t begin, end;
};

inline std::int64_t attention_sequences(const View& query, const AttentionOptions& o) {
  return o.packed() ? o.query_starts.shape[0] - 1 : query.shape[0];
}

// Sequence s. Reads the lengths: on the host only where they lie there.
inline AttentionSequence attention_sequence(const View& query, const View& key, const AttentionOptions& o,
                                            std::int64_t s) {
  const auto at = [](const View& x, std::int64_t i) { return x.as<const std::int64_t>()[i * x.strides[0]]; };
  if (o.packed()) {
    const std::int64_t i = at(o.query_starts, s), j = at(o.key_starts, s);
    const std::int64_t queries = at(o.query_starts, s + 1) - i, keys = at(o.key_starts, s + 1) - j;
    return {0, i, queries, j, keys, o.bottom_right ? keys - queries : 0};
  }
  const std::int64_t queries = query.shape[2], keys = key.shape[2];
  const std::int64_t length =
      o.key_lengths.data == nullptr ? keys : std::clamp<std::int64_t>(at(o.key_lengths, s), 0, keys);
  return {s, 0, queries, 0, length, o.bottom_right ? keys - queries : 0};
}

// The keys that query i of a sequence with `keys` of them may look at, as far as causal and window decide.
constexpr AttentionSpan keys_of_query(bool causal, std::int64_t window, std::int64_t shift, std::int64_t keys,
                                      std::int64_t i) {
  const std::int64_t position = i + shift;
  const std::int64_t begin = window >= 0 ? std::clamp<std::int64_t>(position - window, 0, keys) : 0;
  std::int64_t end = causal && position + 1 < keys ? position + 1 : keys;
  if (window >= 0 && position + window + 1 < end) end = position + window + 1;
  return {begin, end > begin ? end : begin};
}

// The queries, of `queries`, that may look at key j.
constexpr AttentionSpan queries_of_key(bool causal, std::int64_t window, std::int64_t shift, std::int64_t queries,
                                       std::int64_t j) {
  std::int64_t begin = causal ? j - shift : 0;
  if (window >= 0 && j - shift - window > begin) begin = j - shift - window;
  begin = std::clamp<std::int64_t>(begin, 0, queries);
  const std::int64_t end = window >= 0 && j - shift + window + 1 < queries ? j - shift + window + 1 : queries;
  return {begin, end > begin ? end : begin};
}

// The place of weight [batch, head, query row, key row] among all weights, which decides its dropout.
constexpr std::int64_t attention_weight(const View& query, const View& key, std::int64_t b, std::int64_t h,
                                        std::int64_t query_row, std::int64_t key_row) {
  return ((b * query.shape[1] + h) * query.shape[2] + query_row) * key.shape[2] + key_row;
}

}  // namespace heed::kernels
