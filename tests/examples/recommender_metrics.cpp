// Splits, ranks and metrics against definitions written out the slow way.
#include "examples/recommender/metrics.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "examples/common/random_stream.h"
#include "examples/recommender/split.h"
#include "kernels/error.h"

namespace {

using namespace heed::examples;
using namespace heed::examples::recommender;

bool near(double a, double b, double tolerance = 1e-12) {
  return std::abs(a - b) <= tolerance;
}

TEST_CASE("rank: the place in a stable sort by falling score") {
  RandomStream random(7, 0);
  for (int round = 0; round < 300; ++round) {
    const int items = 1 + static_cast<int>(random.below(40));
    std::vector<float> scores(items);
    for (float& score : scores) score = static_cast<float>(random.below(6)) - 2;  // many ties
    if (round % 5 == 0) scores[random.below(items)] = -std::numeric_limits<float>::infinity();
    std::vector<std::int32_t> order(items);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](int a, int b) { return scores[a] > scores[b]; });
    for (std::int32_t target = 0; target < items; ++target) {
      CHECK(full_rank(scores, target) == std::ranges::find(order, target) - order.begin() + 1);
      std::vector<std::int32_t> negatives;
      for (std::int32_t item = 0; item < items; ++item) {
        if (item != target && random.percent(40)) negatives.push_back(item);
      }
      std::vector<std::int32_t> kept = order;
      std::erase_if(kept, [&](int item) { return item != target && !std::ranges::count(negatives, item); });
      CHECK(sampled_rank(scores, target, negatives) == std::ranges::find(kept, target) - kept.begin() + 1);
    }
  }
}

TEST_CASE("rank: NaN never passes, wherever it stands") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> scores = {1, nan, 2};
  const std::vector<std::int32_t> clean = {2}, bad = {1};
  CHECK_THROWS_WITH_AS(full_rank(scores, 1), "rank: the score of item 1 is NaN", heed::Error);
  CHECK_THROWS_AS(full_rank(scores, 0), heed::Error);
  CHECK_THROWS_AS(sampled_rank(scores, 1, clean), heed::Error);
  CHECK_THROWS_AS(sampled_rank(scores, 0, bad), heed::Error);
  CHECK(sampled_rank(scores, 0, clean) == 2);
}

TEST_CASE("ranking metrics, counted by hand") {
  const std::vector<std::int64_t> ranks = {1, 3, 10, 11};
  const RankingMetrics metrics = ranking_metrics(ranks);
  CHECK(metrics.users == 4);
  CHECK(near(metrics.hit_rate.value, 0.75));
  CHECK(near(metrics.ndcg.value, (1 + 0.5 + 1 / std::log2(11.0)) / 4));
  CHECK(near(metrics.mrr.value, (1 + 1 / 3.0 + 0.1 + 1 / 11.0) / 4));
  CHECK(near(ranking_metrics(ranks, 3).hit_rate.value, 0.5));
  CHECK_THROWS_AS(ranking_metrics({}), heed::Error);
}

TEST_CASE("intervals: Wilson's bounds solve their equation; both kinds cover the truth 95 times in 100") {
  const Estimate known = proportion(10, 100);  // Wilson (1927): 0.0552 .. 0.1744
  CHECK(near(known.low, 0.05523, 1e-5));
  CHECK(near(known.high, 0.17437, 1e-5));
  const double z = 1.959963984540054;
  for (const auto& [k, n] : {std::pair<std::int64_t, std::int64_t>{0, 5}, {1, 9}, {50, 943}, {9, 9}}) {
    const Estimate estimate = proportion(k, n);
    const double p = static_cast<double>(k) / static_cast<double>(n);
    for (const double bound : {estimate.low, estimate.high}) {  // |p - bound| = z sqrt(bound (1 - bound) / n)
      CHECK(near((p - bound) * (p - bound), z * z * bound * (1 - bound) / static_cast<double>(n), 1e-12));
    }
    CHECK(estimate.low <= p);
    CHECK(estimate.high >= p);
  }
  RandomStream random(11, 0);
  int covered_share = 0, covered_mean = 0;
  const int rounds = 2000, n = 200;
  for (int round = 0; round < rounds; ++round) {
    std::int64_t hits = 0;
    std::vector<double> values;
    for (int i = 0; i < n; ++i) {
      hits += random.percent(15);
      values.push_back(random.below(1000));
    }
    const Estimate share = proportion(hits, n), average = mean(values);
    covered_share += share.low <= 0.15 && 0.15 <= share.high;
    covered_mean += average.low <= 499.5 && 499.5 <= average.high;
  }
  CHECK(covered_share > 0.93 * rounds);
  CHECK(covered_share < 0.97 * rounds);
  CHECK(covered_mean > 0.93 * rounds);
  CHECK(covered_mean < 0.97 * rounds);
}

// The share of (positive, negative) pairs in the right order, ties half.
double slow_auc(const std::vector<float>& scores, const std::vector<std::uint8_t>& labels) {
  double right = 0, pairs = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    for (std::size_t j = 0; j < scores.size(); ++j) {
      if (labels[i] == 0 || labels[j] != 0) continue;
      right += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
      ++pairs;
    }
  }
  return right / pairs;
}

TEST_CASE("auc and gauc against all pairs, with ties") {
  RandomStream random(3, 0);
  for (int round = 0; round < 200; ++round) {
    const std::size_t rows = 2 + random.below(60);
    std::vector<float> scores(rows);
    std::vector<std::uint8_t> labels(rows);
    std::vector<std::int32_t> users(rows);
    for (std::size_t i = 0; i < rows; ++i) {
      scores[i] = static_cast<float>(random.below(round % 2 ? 5 : 100000));
      labels[i] = random.percent(40);
      users[i] = static_cast<std::int32_t>(random.below(4));
    }
    labels[0] = 0;
    labels[1] = 1;
    users[0] = users[1] = 2;
    const Estimate estimate = auc(scores, labels);
    CHECK(near(estimate.value, slow_auc(scores, labels)));
    CHECK(estimate.low <= estimate.value);
    CHECK(estimate.value <= estimate.high);
    double sum = 0, weights = 0;
    std::int64_t counted = 0;
    for (std::int32_t user = 0; user < 4; ++user) {
      std::vector<float> user_scores;
      std::vector<std::uint8_t> user_labels;
      for (std::size_t i = 0; i < rows; ++i) {
        if (users[i] != user) continue;
        user_scores.push_back(scores[i]);
        user_labels.push_back(labels[i]);
      }
      if (!std::ranges::count(user_labels, 0) || !std::ranges::count(user_labels, 1)) continue;
      sum += static_cast<double>(user_scores.size()) * slow_auc(user_scores, user_labels);
      weights += static_cast<double>(user_scores.size());
      ++counted;
    }
    const GroupedAuc grouped = gauc(scores, labels, users);
    CHECK(near(grouped.value, sum / weights));
    CHECK(grouped.users == counted);
  }
}

TEST_CASE("auc: its interval covers the truth, and is as wide as it must be") {
  // Scores uniform on 0..99, positives shifted up by 20: P(positive > negative) + half of the ties.
  double truth = 0;
  for (int a = 0; a < 100; ++a) {
    for (int b = 0; b < 100; ++b) truth += (a + 20 > b ? 1 : a + 20 == b ? 0.5 : 0) / 10000;
  }
  RandomStream random(5, 0);
  int covered = 0;
  const int rounds = 1000;
  for (int round = 0; round < rounds; ++round) {
    std::vector<float> scores;
    std::vector<std::uint8_t> labels;
    for (int i = 0; i < 150; ++i) {
      labels.push_back(i < 50);
      scores.push_back(static_cast<float>(random.below(100) + (i < 50 ? 20 : 0)));
    }
    const Estimate estimate = auc(scores, labels);
    covered += estimate.low <= truth && truth <= estimate.high;
  }
  CHECK(covered > 0.925 * rounds);
  CHECK(covered < 0.975 * rounds);
}

TEST_CASE("log loss: the definition, and logits that overflow it") {
  const std::vector<float> logits = {0.5F, -2, 3};
  const std::vector<std::uint8_t> labels = {1, 0, 0};
  double expected = 0;
  for (int i = 0; i < 3; ++i) {
    const double p = 1 / (1 + std::exp(-static_cast<double>(logits[i])));
    expected -= std::log(labels[i] ? p : 1 - p) / 3;
  }
  CHECK(near(log_loss(logits, labels).value, expected));
  const std::vector<float> huge = {1000, -1000};
  CHECK(near(log_loss(huge, std::vector<std::uint8_t>{1, 0}).value, 0));
  CHECK(near(log_loss(huge, std::vector<std::uint8_t>{0, 1}).value, 1000));
}

TEST_CASE("pointwise metrics refuse what has no answer") {
  const std::vector<float> scores = {1, 2};
  const std::vector<std::uint8_t> ones = {1, 1}, one = {1}, both = {0, 1};
  const std::vector<float> with_nan = {1, std::numeric_limits<float>::quiet_NaN()};
  CHECK_THROWS_WITH_AS(auc(scores, ones), "auc: 2 positives and 0 negatives; it takes both", heed::Error);
  CHECK_THROWS_WITH_AS(auc(scores, one), "auc: 2 scores for 1 labels", heed::Error);
  CHECK_THROWS_WITH_AS(auc(with_nan, both), "auc: score 1 is NaN", heed::Error);
  CHECK_THROWS_AS(log_loss(with_nan, both), heed::Error);
  CHECK_THROWS_AS(gauc(scores, both, std::vector<std::int32_t>{0, 1}), heed::Error);
}

Interactions two_users() {
  InteractionsBuilder builder(true, true);
  for (int i = 0; i < 5; ++i) builder.add("a", std::to_string(i), static_cast<float>(i), 10 * i);
  builder.add("b", "0", 5, 15);
  builder.add("b", "1", 1, 10);
  for (int i = 0; i < 3; ++i) builder.add("c", std::to_string(i), 4, 100);
  return builder.build("test");
}

TEST_CASE("leave-one-out") {
  const Interactions data = two_users();
  const LeaveOneOut split(data);
  CHECK(split.users() == std::vector<std::int32_t>{0, 2});  // b has two events
  CHECK(split.train(0).size() == 3);
  CHECK(split.history(0, Part::validation).size() == 3);
  CHECK(split.target(0, Part::validation).item == 3);
  CHECK(split.history(0, Part::test).size() == 4);
  CHECK(split.target(0, Part::test).item == 4);
  CHECK(split.train(1).size() == 2);
  CHECK(split.history(1, Part::test).size() == 2);
  CHECK(split.train(2).size() == 1);
  CHECK(split.histories(Part::test)[2].size() == 2);
  CHECK_THROWS_AS(split.target(1, Part::test), heed::Error);
}

TEST_CASE("split by time: 8:1:1, in order, labels by the threshold") {
  const Interactions data = two_users();
  const GlobalTimeSplit split = split_by_time(data, 4);
  CHECK(split.train.size() == 8);
  CHECK(split.validation.size() == 1);
  CHECK(split.test.size() == 1);
  std::vector<Labelled> all = split.train;
  all.insert(all.end(), split.validation.begin(), split.validation.end());
  all.insert(all.end(), split.test.begin(), split.test.end());
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i > 0) CHECK(data.events[all[i - 1].event].timestamp <= data.events[all[i].event].timestamp);
    CHECK(all[i].positive == (data.events[all[i].event].rating >= 4));
  }
  CHECK(data.events[split.test[0].event].item == 2);  // c's three ties keep their order
  InteractionsBuilder plain(false, false);
  plain.add("a", "x", 1, 0);
  const Interactions bare = plain.build("bare");
  CHECK_THROWS_WITH_AS(split_by_time(bare, 4), "split by time: bare has no ratings", heed::Error);
}

}  // namespace
