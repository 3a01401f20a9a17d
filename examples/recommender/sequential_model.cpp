#include "examples/recommender/sequential_model.h"

#include <cmath>
#include <limits>
#include <unordered_set>

namespace heed::examples::recommender {
namespace {

// The penalty on looking back, -slope * distance for each head, and -inf for looking ahead: [heads, length, length].
Tensor recency_bias(const std::vector<double>& slopes, std::int64_t length) {
  std::vector<float> bias;
  for (const double slope : slopes) {
    for (std::int64_t i = 0; i < length; ++i) {
      for (std::int64_t j = 0; j < length; ++j) {
        bias.push_back(j <= i ? static_cast<float>(-slope * static_cast<double>(i - j))
                              : -std::numeric_limits<float>::infinity());
      }
    }
  }
  return from_vector(bias, {static_cast<std::int64_t>(slopes.size()), length, length});
}

nn::TransformerEncoderLayerOptions layer_options(const Settings& settings) {
  return {.dim_feedforward = settings.hidden,
          .dropout = settings.dropout,
          .attention_dropout = settings.attention_dropout,
          .activation = nn::Activation::gelu,
          .norm_first = true};
}

}  // namespace

SequentialModel::SequentialModel(const Settings& settings, std::int64_t item_count)
    : items(item_count, settings.width),
      dropout(settings.dropout),
      encoder(settings.width, settings.heads, settings.layers, layer_options(settings), true),
      attention_(settings.attention),
      heads_(settings.heads) {
  register_module("items", items);
  if (settings.recency_slopes.empty()) {
    positions.emplace(settings.length, settings.width);
    register_module("positions", *positions);
  } else {
    recency_ = recency_bias(settings.recency_slopes, settings.length);
  }
  register_module("dropout", dropout);
  register_module("encoder", encoder);
  if (settings.repeat_aware) {
    repeat = zeros({1});
    register_parameter("repeat", repeat);
  }
  // Small weights, as in SASRec's successors: the scores against tied embeddings start near zero.
  for (const auto& [name, parameter] : named_parameters()) {
    if (parameter.rank() == 2) nn::init::normal(parameter, 0, 0.02);
    if (name.ends_with("bias")) nn::init::constant(parameter, 0);
  }
}

SequentialModel::Encoded SequentialModel::encode(const Tensor& history, const Tensor& visible,
                                                 bool need_weights) const {
  const std::int64_t length = history.size(1);
  Tensor x = items(history);  // [batch, length, width]
  if (positions) x = (*positions)(x);
  nn::AttendOptions options{.need_weights = need_weights};
  if (visible.defined()) options.key_padding_mask = logical_not(visible);
  if (attention_ && recency_.defined()) {
    options.mask = recency_.slice(1, 0, length).slice(2, 0, length);
  } else {
    options.causal = Causal::top_left;
  }
  if (!attention_) options.scale = 0;
  const nn::TransformerEncoder::Result result = encoder(dropout(x), options);
  return {result.output, result.weights};
}

Tensor SequentialModel::scores(const Tensor& hidden, const Seen& seen) const {
  const Tensor scores = linear(hidden, items.weight);  // [events, items]
  return repeat.defined() ? scatter_add(scores, 1, seen.items, seen.met * repeat) : scores;
}

void append_seen(std::span<const std::int64_t> met_items, std::int64_t length, std::vector<std::int64_t>& items,
                 std::vector<float>& met) {
  std::unordered_set<std::int64_t> different;
  for (std::int64_t i = 0; i < length; ++i) {
    const bool there = i < static_cast<std::int64_t>(met_items.size());
    const std::int64_t item = there ? met_items[static_cast<std::size_t>(i)] : 0;
    items.push_back(item);
    met.push_back(there && different.insert(item).second ? 1.0f : 0.0f);
  }
}

Tensor sequential_loss(const SequentialModel& model, const Settings& settings, const Tensor& hidden,
                       const Tensor& target, const Tensor& negatives, const Seen& seen) {
  if (settings.loss == "softmax") {
    return cross_entropy(model.scores(hidden, seen), target, {.label_smoothing = settings.label_smoothing});
  }
  const Tensor positive = sum(hidden * model.items(target), {1});  // [n]
  // A negative that is the row's own target drops out: exp(-1e4) is 0, for softmax and sigmoid alike. (Leaving all targets
  // of the batch out of its negatives would be cheaper, but spares just the popular items, which then rank too high.)
  const Tensor own_target = equal(target.unsqueeze(1), negatives.unsqueeze(0));                   // [n, m]
  const Tensor negative = masked_fill(linear(hidden, model.items(negatives)), own_target, -1e4);  // [n, m]
  if (settings.loss == "sampled") {
    // -log(e^p / (e^p + sum e^n)) = log(1 + e^(L - p)), L = log(sum e^n): the binary loss of p - L, target 1.
    const Tensor margin = positive - log_sum_exp(negative, {1});
    return bce_with_logits(margin, ones_like(margin));
  }
  // gBCE raises the positive's probability to the power beta, which undoes the overconfidence that sampling brings; beta
  // is 1, plain BCE, for t = 0 (arXiv 2308.07192, equation 10).
  const double sampled = static_cast<double>(negatives.count()) / static_cast<double>(model.items.weight.size(0) - 1);
  const double t = settings.loss == "gbce" ? settings.gbce_calibration : 0;
  const double beta = sampled * (t * (1 - 1 / sampled) + 1 / sampled);
  const Tensor of_positive = bce_with_logits(positive, ones_like(positive)) * beta;
  const Tensor of_negatives = bce_with_logits(negative, zeros_like(negative));
  return of_positive + of_negatives;
}

}  // namespace heed::examples::recommender
