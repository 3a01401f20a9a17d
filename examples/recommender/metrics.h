// The figures by which recommenders are judged, each with a 95% confidence interval.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace heed::examples::recommender {

struct Estimate {
  double value = 0;
  double low = 0, high = 0;  // 95% confidence
};

// The place of the target among the candidates, from 1: one more than the candidates that score higher, or the same with
// a smaller index. Items are numbered in file order, so equal scores rank in file order, and a model that gives every
// item the same score gains nothing by it. `scores` holds a score per item. Throws heed::Error on a NaN; -inf is fine.
std::int64_t full_rank(std::span<const float> scores, std::int32_t target);
// The same, among the target and `negatives` alone, which do not hold the target.
std::int64_t sampled_rank(std::span<const float> scores, std::int32_t target, std::span<const std::int32_t> negatives);

// One target a user: hit rate is recall, and the ideal DCG is 1.
struct RankingMetrics {
  std::int64_t users = 0;
  Estimate hit_rate;  // part of the targets among the first k. Wilson interval
  Estimate ndcg;      // mean of 1 / log2(1 + rank), 0 beyond k. Normal approximation
  Estimate mrr;       // mean of 1 / rank, over the whole ranking. Normal approximation
};
RankingMetrics ranking_metrics(std::span<const std::int64_t> ranks, std::int64_t k = 10);

// A part successes / count. Wilson's score interval, good at small counts and near 0 and 1. count > 0.
Estimate proportion(std::int64_t successes, std::int64_t count);
// Mean and normal interval, value -+ 1.96 standard errors. At least one value.
Estimate mean(std::span<const double> values);

// Pointwise figures. Scores may be logits for auc and gauc, which go by order only; log_loss takes logits.

// Area under the ROC curve: the chance that a positive scores above a negative, ties counting half. Interval of DeLong
// et al. (1988), computed from mid-ranks (Sun and Xu, 2014). Throws heed::Error unless both classes are there, on NaN,
// and where sizes differ.
Estimate auc(std::span<const float> scores, std::span<const std::uint8_t> labels);

// Mean of -log p(label), p = sigmoid(logit); exact for logits of any size. Normal interval.
Estimate log_loss(std::span<const float> logits, std::span<const std::uint8_t> labels);

// AUC within each user, averaged with the user's number of rows as weight; users with one class only are left out, as in
// Deep Interest Network (Zhou et al., 2018). Throws heed::Error where no user is left.
struct GroupedAuc {
  double value = 0;
  std::int64_t users = 0;  // that count
};
GroupedAuc gauc(std::span<const float> scores, std::span<const std::uint8_t> labels,
                std::span<const std::int32_t> users);

}  // namespace heed::examples::recommender
