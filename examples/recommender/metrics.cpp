#include "examples/recommender/metrics.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/error.h"

namespace heed::examples::recommender {

namespace {

constexpr double z95 = 1.959963984540054;  // the normal distribution's 97.5th percentile

void check_score(float score, std::int64_t item) {
  if (std::isnan(score)) throw Error(fmt::format("rank: the score of item {} is NaN", item));
}

void check_rows(const char* name, std::span<const float> scores, std::size_t labels) {
  if (scores.size() != labels || scores.empty()) {
    throw Error(fmt::format("{}: {} scores for {} labels", name, scores.size(), labels));
  }
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i])) throw Error(fmt::format("{}: score {} is NaN", name, i));
  }
}

// Ranks from 1 in ascending order; equal values share the mean of their ranks.
std::vector<double> mid_ranks(std::span<const float> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [values](std::size_t i) { return values[i]; });
  std::vector<double> ranks(values.size());
  for (std::size_t begin = 0, end; begin < order.size(); begin = end) {
    for (end = begin; end < order.size() && values[order[end]] == values[order[begin]];) ++end;
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = 0.5 * static_cast<double>(begin + 1 + end);
  }
  return ranks;
}

double variance(std::span<const double> values, double mean) {
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return values.size() > 1 ? sum / static_cast<double>(values.size() - 1) : 0.0;
}

}  // namespace

std::int64_t full_rank(std::span<const float> scores, std::int32_t target) {
  const float own = scores[target];
  std::int64_t rank = 1;
  for (std::size_t item = 0; item < scores.size(); ++item) {
    check_score(scores[item], static_cast<std::int64_t>(item));
    if (scores[item] > own || (scores[item] == own && item < static_cast<std::size_t>(target))) ++rank;
  }
  return rank;
}

std::int64_t sampled_rank(std::span<const float> scores, std::int32_t target, std::span<const std::int32_t> negatives) {
  const float own = scores[target];
  check_score(own, target);
  std::int64_t rank = 1;
  for (const std::int32_t item : negatives) {
    check_score(scores[item], item);
    if (scores[item] > own || (scores[item] == own && item < target)) ++rank;
  }
  return rank;
}

Estimate proportion(std::int64_t successes, std::int64_t count) {
  if (count <= 0) throw Error("proportion: of nothing");
  const auto n = static_cast<double>(count);
  const double p = static_cast<double>(successes) / n;
  const double z2 = z95 * z95;
  const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = z95 / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  // At 0 and 1 the bound is the value itself; rounding must not take it past.
  return {p, std::min(p, centre - half), std::max(p, centre + half)};
}

Estimate mean(std::span<const double> values) {
  if (values.empty()) throw Error("mean: of nothing");
  const auto n = static_cast<double>(values.size());
  const double value = std::accumulate(values.begin(), values.end(), 0.0) / n;
  const double half = z95 * std::sqrt(variance(values, value) / n);
  return {value, value - half, value + half};
}

RankingMetrics ranking_metrics(std::span<const std::int64_t> ranks, std::int64_t k) {
  std::int64_t hits = 0;
  std::vector<double> gains, reciprocals;
  for (const std::int64_t rank : ranks) {
    hits += rank <= k;
    gains.push_back(rank <= k ? 1 / std::log2(1 + static_cast<double>(rank)) : 0.0);
    reciprocals.push_back(1 / static_cast<double>(rank));
  }
  if (ranks.empty()) throw Error("ranking metrics: no user to evaluate (a user needs three events)");
  return {static_cast<std::int64_t>(ranks.size()), proportion(hits, static_cast<std::int64_t>(ranks.size())),
          mean(gains), mean(reciprocals)};
}

Estimate auc(std::span<const float> scores, std::span<const std::uint8_t> labels) {
  check_rows("auc", scores, labels.size());
  std::vector<float> by_class[2];
  for (std::size_t i = 0; i < scores.size(); ++i) by_class[labels[i] != 0].push_back(scores[i]);
  const std::vector<float>&negatives = by_class[0], &positives = by_class[1];
  if (negatives.empty() || positives.empty()) {
    throw Error(fmt::format("auc: {} positives and {} negatives; it takes both", positives.size(), negatives.size()));
  }
  // A row's mid-rank among all, less that among its own class, counts the rows of the other class below it.
  const std::vector<double> among_all = mid_ranks(scores);
  const std::vector<double> among_own[2] = {mid_ranks(negatives), mid_ranks(positives)};
  std::vector<double> below[2];
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const int own = labels[i] != 0;
    const auto others = static_cast<double>(by_class[1 - own].size());
    below[own].push_back((among_all[i] - among_own[own][below[own].size()]) / others);
  }
  const auto m = static_cast<double>(positives.size()), n = static_cast<double>(negatives.size());
  const double value = std::accumulate(below[1].begin(), below[1].end(), 0.0) / m;
  const double half = z95 * std::sqrt(variance(below[1], value) / m + variance(below[0], 1 - value) / n);
  return {value, std::max(0.0, value - half), std::min(1.0, value + half)};
}

Estimate log_loss(std::span<const float> logits, std::span<const std::uint8_t> labels) {
  check_rows("log_loss", logits, labels.size());
  std::vector<double> losses;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double wrong_way = labels[i] != 0 ? -logits[i] : logits[i];
    losses.push_back(std::max(wrong_way, 0.0) + std::log1p(std::exp(-std::abs(wrong_way))));  // log(1 + e^wrong_way)
  }
  return mean(losses);
}

GroupedAuc gauc(std::span<const float> scores, std::span<const std::uint8_t> labels,
                std::span<const std::int32_t> users) {
  check_rows("gauc", scores, labels.size());
  if (users.size() != scores.size()) {
    throw Error(fmt::format("gauc: {} users for {} scores", users.size(), scores.size()));
  }
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [users](std::size_t i) { return users[i]; });
  GroupedAuc result;
  double weights = 0;
  for (std::size_t begin = 0, end; begin < order.size(); begin = end) {
    std::vector<float> user_scores;
    std::vector<std::uint8_t> user_labels;
    for (end = begin; end < order.size() && users[order[end]] == users[order[begin]]; ++end) {
      user_scores.push_back(scores[order[end]]);
      user_labels.push_back(labels[order[end]] != 0);
    }
    const auto positives = std::ranges::count(user_labels, 1);
    if (positives == 0 || positives == std::ssize(user_labels)) continue;
    const auto weight = static_cast<double>(end - begin);
    result.value += weight * auc(user_scores, user_labels).value;
    weights += weight;
    ++result.users;
  }
  if (result.users == 0) throw Error("gauc: no user has rows of both classes");
  result.value /= weights;
  return result;
}

}  // namespace heed::examples::recommender
