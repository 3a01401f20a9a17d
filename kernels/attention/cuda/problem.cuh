// What every attention kernel on CUDA is told: where the operands lie, which query may look at which key, what is added to
// its score, and which weights are dropped. It travels by value, so a kernel reads it from constant memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/attention/attention.h"
#include "kernels/cuda/check.h"
#include "kernels/random/philox.h"

namespace heed::kernels::attention {

inline constexpr float log2_e = 1.4426950408889634f;
inline constexpr float most_negative = -3.402823466e38f;

// An operand [batch, heads, rows, columns] or a number per row [batch, heads, rows].
template <class T>
struct Operand {
  T* data;
  std::int64_t batch_stride, head_stride, row_stride, column_stride;

  // Row `row` of a head; its neighbours are row_stride elements away.
  __device__ T* row(int b, int h, std::int64_t row) const {
    return data + b * batch_stride + h * head_stride + row * row_stride;
  }
};

template <class T>
Operand<T> operand_of(const View& x) {
  return {static_cast<T*>(x.data), x.strides[0], x.strides[1], x.strides[2], x.rank > 3 ? x.strides[3] : 0};
}

// One sequence of the batch, as in attention.h, and the keys that its query i may look at: those of
// [i + begin_offset, i + end_offset) that are among [0, keys).
struct Sequence {
  int batch, first_query, queries, first_key, keys, shift;
  int begin_offset, end_offset;

  __device__ int begin(int i) const { return max(i + begin_offset, 0); }
  __device__ int end(int i) const { return min(i + end_offset, keys); }
};

struct Problem {
  int heads, key_heads, group, queries, keys, head_dim, value_dim;  // rows as the views have them
  int sequences, first_sequence;
  std::uint32_t group_reciprocal;  // 2^32 / group, rounded up
  float scale, softcap;
  bool causal, bottom_right;
  int window;

  const std::int64_t *key_lengths, *query_starts, *key_starts;
  std::int64_t key_lengths_stride, query_starts_stride, key_starts_stride;

  const void* mask;
  bool mask_is_boolean;
  bool mask_has_pairs;  // numbers (i, 2 m) and (i, 2 m + 1) lie together, aligned as one
  std::int64_t mask_strides[4];
  const float* alibi_slopes;
  std::int64_t alibi_strides[2];

  bool dropout;
  std::uint32_t dropout_threshold;
  float dropout_scale;  // 1 / (1 - the probability), 0 where that is 1
  std::uint64_t seed, offset;

  __device__ int key_head(int h) const {
    return static_cast<int>((static_cast<std::uint64_t>(h) * group_reciprocal) >> 32);
  }

  __device__ Sequence sequence(int s) const {
    Sequence q{s, 0, queries, 0, keys, 0};
    if (query_starts != nullptr) {
      q.batch = 0;
      q.first_query = static_cast<int>(query_starts[s * query_starts_stride]);
      q.queries = static_cast<int>(query_starts[(s + 1) * query_starts_stride]) - q.first_query;
      q.first_key = static_cast<int>(key_starts[s * key_starts_stride]);
      q.keys = static_cast<int>(key_starts[(s + 1) * key_starts_stride]) - q.first_key;
    }
    q.shift = bottom_right ? q.keys - q.queries : 0;
    if (key_lengths != nullptr)
      q.keys = static_cast<int>(min(max(key_lengths[s * key_lengths_stride], std::int64_t{0}), std::int64_t{keys}));
    constexpr int far = 1 << 29;
    q.begin_offset = window >= 0 ? q.shift - window : -far;
    q.end_offset = causal ? q.shift + 1 : window >= 0 ? q.shift + window + 1 : far;
    return q;
  }

  // Whether scores and weights are anything but scaled products, where causality, window and lengths let one look.
  bool is_plain() const { return scale > 0 && softcap == 0 && mask == nullptr && alibi_slopes == nullptr && !dropout; }
};

// The lengths are checked where they are known on the host.
inline Problem problem_of(const View& query, const View& key, const View& value, const AttentionOptions& o) {
  constexpr std::int64_t longest = 1 << 29;
  if (query.shape[2] >= longest || key.shape[2] >= longest) cuda::fail("attention", "more rows than 2^29");
  const auto of = [](std::int64_t x) { return static_cast<int>(x); };
  Problem p{};
  p.heads = of(query.shape[1]), p.key_heads = of(key.shape[1]),
  p.group = std::max(p.heads / std::max(p.key_heads, 1), 1);
  p.queries = of(query.shape[2]), p.keys = of(key.shape[2]);
  p.head_dim = of(query.shape[3]), p.value_dim = of(value.shape[3]);
  p.sequences = of(attention_sequences(query, o));
  p.group_reciprocal = static_cast<std::uint32_t>(((std::uint64_t{1} << 32) + p.group - 1) / p.group);
  if (p.group == 1) p.group_reciprocal = 0;  // 2^32 has no room
  p.scale = static_cast<float>(o.scale), p.softcap = static_cast<float>(o.softcap);
  p.causal = o.causal, p.bottom_right = o.bottom_right;
  p.window = of(o.window < longest ? o.window : longest);
  p.key_lengths = o.key_lengths.as<const std::int64_t>(), p.key_lengths_stride = o.key_lengths.strides[0];
  p.query_starts = o.query_starts.as<const std::int64_t>(), p.query_starts_stride = o.query_starts.strides[0];
  p.key_starts = o.key_starts.as<const std::int64_t>(), p.key_starts_stride = o.key_starts.strides[0];
  p.mask = o.mask.data, p.mask_is_boolean = o.mask.dtype == Dtype::boolean;
  for (int i = 0; i < 4; ++i) p.mask_strides[i] = o.mask.strides[i];
  p.mask_has_pairs = o.mask.dtype == Dtype::f32 && reinterpret_cast<std::uintptr_t>(p.mask) % 8 == 0 && !o.packed() &&
                     std::all_of(p.mask_strides, p.mask_strides + 3, [](auto stride) { return stride % 2 == 0; }) &&
                     p.mask_strides[3] == 1 && p.keys % 2 == 0;
  p.alibi_slopes = o.alibi_slopes.as<const float>();
  for (int i = 0; i < 2; ++i) p.alibi_strides[i] = o.alibi_slopes.strides[i];
  p.dropout = o.dropout > 0, p.dropout_threshold = bernoulli_threshold(o.dropout);
  p.dropout_scale = o.dropout < 1 ? static_cast<float>(1 / (1 - o.dropout)) : 0;
  p.seed = o.seed, p.offset = o.offset;
  return p;
}

}  // namespace heed::kernels::attention
