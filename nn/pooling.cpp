#include "nn/pooling.h"

#include <cmath>
#include <limits>

#include "nn/init.h"

namespace heed::nn {
namespace {

void check_sequence(const Tensor& x, const Tensor& key_padding_mask, const char* name) {
  check(x.rank() == 3, "{}: needs [batch, length, dim], not shape {}", name, x.shape());
  check(!key_padding_mask.defined() || key_padding_mask.shape() == Shape{x.size(0), x.size(1)},
        "{}: a key_padding_mask of shape {} for a sequence of shape {}", name,
        key_padding_mask.defined() ? key_padding_mask.shape() : Shape(), x.shape());
}

}  // namespace

Tensor mean_pool(const Tensor& x, const Tensor& key_padding_mask) {
  check_sequence(x, key_padding_mask, "mean_pool");
  if (!key_padding_mask.defined()) return mean(x, {1});
  const Tensor total = sum(masked_fill(x, key_padding_mask.unsqueeze(-1), 0), {1});  // [batch, dim]
  const Tensor count = sum(logical_not(key_padding_mask), {1}, true).to(x.dtype());  // [batch, 1]
  return total / maximum(count, scalar(1, x.options()));
}

Tensor max_pool(const Tensor& x, const Tensor& key_padding_mask) {
  check_sequence(x, key_padding_mask, "max_pool");
  if (!key_padding_mask.defined()) return max(x, {1});
  constexpr double lowest = -std::numeric_limits<double>::infinity();
  const Tensor largest = max(masked_fill(x, key_padding_mask.unsqueeze(-1), lowest), {1});  // [batch, dim]
  return masked_fill(largest, all(key_padding_mask, {1}, true), 0);
}

AttentionPooling::AttentionPooling(std::int64_t dim, std::int64_t hidden_dim)
    : proj(dim, hidden_dim), query(empty({hidden_dim})) {
  register_parameter("query", query);
  register_module("proj", proj);
  const double bound = 1 / std::sqrt(static_cast<double>(hidden_dim));
  init::uniform(query, -bound, bound);
}

Attended AttentionPooling::operator()(const Tensor& x, const Tensor& key_padding_mask) const {
  check_sequence(x, key_padding_mask, "AttentionPooling");
  Tensor scores = matmul(tanh(proj(x)), query);  // [batch, length]
  if (key_padding_mask.defined())
    scores = masked_fill(scores, key_padding_mask, -std::numeric_limits<double>::infinity());
  const Tensor weights = softmax(scores, -1);
  return {matmul(weights.unsqueeze(1), x).squeeze(1), weights};
}

}  // namespace heed::nn
