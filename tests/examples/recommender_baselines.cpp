// Baselines and the evaluation protocol: small cases by hand, published figures where the data are at hand.
#include "examples/recommender/baselines.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "examples/common/random_stream.h"
#include "examples/recommender/cinema.h"
#include "examples/recommender/evaluation.h"
#include "examples/recommender/readers.h"
#include "kernels/error.h"

namespace {

using namespace heed::examples;
using namespace heed::examples::recommender;

// Users a, b, c, ... with these items, in this order.
Interactions users_with(const std::vector<std::vector<int>>& sequences, int items) {
  InteractionsBuilder builder(false, false);
  for (int item = 0; item < items; ++item) builder.add("all", std::to_string(item), 1, 0);
  for (std::size_t user = 0; user < sequences.size(); ++user) {
    for (const int item : sequences[user])
      builder.add(std::string(1, static_cast<char>('a' + user)), std::to_string(item), 1, 0);
  }
  return builder.build("test");
}

Histories histories_of(const Interactions& data, int first_user) {
  Histories result;
  for (int user = first_user; user < data.users(); ++user) result.push_back(data.events_of(user));
  return result;
}

std::vector<float> scores_of(const Baseline& baseline, const Query& query, std::int64_t items) {
  std::vector<float> scores(items, std::numeric_limits<float>::quiet_NaN());
  baseline.score(query, scores);
  return scores;
}

TEST_CASE("popularity and markov count") {
  const Interactions data = users_with({{0, 1, 2}, {0, 2, 0, 1}, {3, 2}}, 5);
  const Histories histories = histories_of(data, 1);
  const std::vector<Event> history = {{4}, {0}};
  const Query query{-1, history};
  CHECK(scores_of(*popularity(histories, 5), query, 5) == std::vector<float>{3, 2, 3, 1, 0});
  const std::vector<float> next = scores_of(*markov(histories, 5), query, 5);  // 0 -> 1 twice, 0 -> 2 once
  CHECK(std::floor(next[1]) == 2);
  CHECK(std::floor(next[2]) == 1);
  CHECK(std::floor(next[0]) == 0);
  CHECK(next[0] > next[3]);  // between equal counts, popularity
  CHECK(next[3] > next[4]);
  const std::vector<float> cold = scores_of(*markov(histories, 5), {}, 5);
  CHECK(cold[0] > cold[1]);  // without a history, popularity alone
  CHECK_THROWS_WITH_AS(markov(histories, 3), "markov: item 3 out of range for 3 items", heed::Error);
}

// The two sums of the header, written out over all users.
std::vector<double> slow_knn(const Histories& histories, std::int64_t items, const Query& query,
                             const NeighbourSettings& settings) {
  const auto users = static_cast<double>(histories.size());
  const auto weight = [&](std::int32_t item) {
    double met = 0, sum = 0;
    for (const auto& history : histories) met += std::ranges::count(history, item, &Event::item);
    for (std::int64_t step = 0; step < std::min(settings.recent, std::ssize(query.history)); ++step) {
      if (query.history[query.history.size() - 1 - step].item == item) sum += std::pow(settings.decay, step);
    }
    return met == 0 ? 0.0 : sum * std::max(0.0, std::log(users / met));
  };
  std::vector<double> scores(items);
  for (std::size_t v = 0; v < histories.size(); ++v) {
    if (static_cast<std::int32_t>(v) == query.user) continue;
    const double factor = 1 / std::pow(static_cast<double>(histories[v].size()), settings.length_power);
    double similarity = 0;
    for (const Event& event : histories[v]) similarity += weight(event.item) * factor;
    for (std::size_t i = 0; i < histories[v].size(); ++i) {
      for (std::size_t j = i + 1; j < histories[v].size(); ++j) {
        const auto steps = static_cast<double>(j - i);
        if (steps > std::floor(5 * settings.reach)) continue;
        scores[histories[v][j].item] +=
            similarity * weight(histories[v][i].item) * factor * std::exp(-steps / settings.reach);
      }
    }
  }
  return scores;
}

TEST_CASE("sequential kNN against its definition") {
  CinemaSettings small;
  small.users = 40;
  small.films_per_genre = 4;
  small.shortest = 3;
  small.longest = 20;
  const Interactions data = simulate_cinema(small).data;
  const Histories histories = LeaveOneOut(data).histories(Part::test);
  NeighbourSettings settings;
  settings.recent = 6;
  settings.reach = 1.5;
  const auto knn = sequential_knn(histories, data.items(), settings);
  double largest = 0;
  for (std::int32_t user = -1; user < 40; ++user) {
    const Query query{user, histories[std::max(user, 0)]};
    const std::vector<float> scores = scores_of(*knn, query, data.items());
    const std::vector<double> expected = slow_knn(histories, data.items(), query, settings);
    for (std::int64_t item = 0; item < data.items(); ++item) {
      CHECK(std::abs(scores[item] - expected[item]) <= 1e-5 * (1 + expected[item]));
      largest = std::max(largest, expected[item]);
    }
  }
  CHECK(largest > 0.1);
  settings.neighbours = 1;  // one neighbour: its items alone get a score
  const std::vector<float> nearest =
      scores_of(*sequential_knn(histories, data.items(), settings), {0, histories[0]}, data.items());
  CHECK(std::ranges::count_if(nearest, [](float score) { return score > 0; }) < 20);
}

TEST_CASE("logistic regression finds the biases behind the labels") {
  InteractionsBuilder builder(true, true);
  RandomStream random(9, 0);
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  for (int row = 0; row < 20000; ++row) {
    const int user = static_cast<int>(random.below(20)), item = static_cast<int>(random.below(10));
    const double logit = 0.5 + 0.1 * (user - 9.5) + 0.3 * (item - 4.5);
    builder.add(std::to_string(user), std::to_string(item), random.below(1000000) < 1e6 * sigmoid(logit) ? 5.0F : 1.0F,
                row);
  }
  const Interactions data = builder.build("test");
  const GlobalTimeSplit split = split_by_time(data, 4);
  LogisticRegression::Settings settings;
  settings.penalty = 1e-4;  // 18,000 rows for 30 biases: little to hold back
  const LogisticRegression model(data, split.train, settings);
  double worst = 0;
  for (int user = 0; user < 20; ++user) {
    for (int item = 0; item < 10; ++item) {
      const double logit = 0.5 + 0.1 * (user - 9.5) + 0.3 * (item - 4.5);
      const float fitted = model.logit(*data.find_user(std::to_string(user)), *data.find_item(std::to_string(item)));
      worst = std::max(worst, std::abs(fitted - logit));
    }
  }
  CHECK(worst < 0.4);  // standard error of a user's bias: about 0.08
  const std::vector<float> scores = scores_of(model, {}, data.items());
  CHECK(full_rank(scores, *data.find_item("9")) == 1);
  CHECK(full_rank(scores, *data.find_item("0")) == 10);
}

TEST_CASE("negatives: distinct, never met, the user's own, uniform") {
  const Interactions data = users_with({{0, 1, 2, 1}, {5, 6, 7}}, 30);
  std::vector<int> drawn(30);
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    const std::vector<std::int32_t> negatives = sample_negatives(data, 1, 9, seed);
    CHECK_UNARY(std::set(negatives.begin(), negatives.end()).size() == 9);
    for (const std::int32_t item : negatives) ++drawn[item];
  }
  for (int item = 0; item < 30; ++item) {
    if (item < 3) CHECK(drawn[item] == 0);
    if (item >= 3) CHECK(std::abs(drawn[item] - 1000) < 130);  // 3000 * 9 / 27, five standard deviations
  }
  CHECK(sample_negatives(data, 1, 9, 4) == sample_negatives(data, 1, 9, 4));
  CHECK(sample_negatives(data, 1, 9, 4) != sample_negatives(data, 2, 9, 4));
  CHECK(sample_negatives(data, 1, 27, 4).size() == 27);
  CHECK_THROWS_WITH_AS(sample_negatives(data, 1, 28, 4),
                       "sample: user a has not met 27 items, 28 negatives were asked for", heed::Error);
}

Cinema small_cinema() {
  CinemaSettings settings;
  settings.users = 120;
  return simulate_cinema(settings);
}

TEST_CASE("evaluation: a scorer that knows the answer, one that does not, and the JSON") {
  const Interactions data = small_cinema().data;
  const LeaveOneOut split(data);
  EvaluationSettings settings;
  settings.batch = 7;  // does not divide 120
  settings.by = "age";
  const auto oracle = [&](std::span<const Query> batch, std::span<float> scores) {
    std::ranges::fill(scores, 0.0F);
    for (std::size_t row = 0; row < batch.size(); ++row) {
      CHECK_UNARY(batch[row].history.size() == data.events_of(batch[row].user).size() - 1);
      scores[row * data.items() + split.target(batch[row].user, Part::test).item] = 1;
    }
  };
  const Evaluation best = evaluate(split, oracle, settings);
  CHECK(best.model.users == 120);
  CHECK(best.model.hit_rate.value == 1);
  CHECK(best.model.mrr.value == 1);
  const nlohmann::ordered_json json = to_json(best);
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  CHECK(keys ==
        std::vector<std::string>{"users", "protocol", "filter_seen", "metrics", "ci95", "baselines", "by", "groups"});
  CHECK(json["users"] == 120);
  CHECK(json["protocol"] == "full");
  CHECK(json["filter_seen"] == false);
  CHECK(json["metrics"]["hr@10"] == 1.0);
  CHECK(json["metrics"]["ndcg@10"] == 1.0);
  CHECK(json["ci95"]["hr@10"][1] == 1.0);
  CHECK(json["ci95"]["mrr"].size() == 2);
  for (const char* name : {"popularity", "markov", "knn"}) CHECK(json["baselines"][name]["ndcg@10"].is_number());
  std::int64_t grouped = 0;
  for (const auto& [value, group] : json["groups"].items()) grouped += group["users"].get<std::int64_t>();
  CHECK(grouped == 120);
  CHECK(json["groups"]["18-29"]["metrics"]["mrr"] == 1.0);

  // The same score for every item: the order of the file decides, and says nothing.
  const auto constant = [](std::span<const Query>, std::span<float> scores) { std::ranges::fill(scores, 3.0F); };
  settings.by = "";
  const std::vector<std::int64_t> tied = ranks(split, constant, settings);
  for (std::size_t i = 0; i < tied.size(); ++i) CHECK(tied[i] == split.target(split.users()[i], Part::test).item + 1);
  settings.filter_seen = true;
  const std::vector<std::int64_t> filtered = ranks(split, constant, settings);
  for (std::size_t i = 0; i < tied.size(); ++i) {
    const std::int32_t user = split.users()[i], target = split.target(user, Part::test).item;
    std::set<std::int32_t> ahead;
    for (const Event& event : split.history(user, Part::test)) {
      if (event.item < target) ahead.insert(event.item);
    }
    CHECK(filtered[i] == tied[i] - std::ssize(ahead));
  }
  settings.protocol = "sampled";
  settings.negatives = 50;
  const nlohmann::ordered_json sampled = to_json(evaluate(split, oracle, settings));
  CHECK(sampled["protocol"] == "sampled");
  CHECK(sampled["negatives"] == 50);
  CHECK(sampled["filter_seen"] == false);
}

TEST_CASE("evaluation: what is wrong, is said") {
  const Interactions data = small_cinema().data;
  const LeaveOneOut split(data);
  EvaluationSettings settings;
  const auto forgetful = [](std::span<const Query>, std::span<float> scores) { scores[0] = 1; };
  CHECK_THROWS_WITH_AS(evaluate(split, forgetful, settings), "evaluate: user 1: rank: the score of item 1 is NaN",
                       heed::Error);
  const auto constant = [](std::span<const Query>, std::span<float> scores) { std::ranges::fill(scores, 3.0F); };
  settings.by = "height";
  CHECK_THROWS_AS(evaluate(split, constant, settings), heed::Error);
  settings = {};
  settings.protocol = "half";
  CHECK_THROWS_WITH_AS(evaluate(split, constant, settings),
                       "evaluate: protocol 'half' is not known; there is full, sampled", heed::Error);
  settings.protocol = "sampled";
  settings.negatives = 100000;
  CHECK_THROWS_AS(evaluate(split, constant, settings), heed::Error);
}

// The folder of a data set: under HEED_DATA, or in ../shared/data beside the source tree; empty where it is in neither.
std::string data_path(const std::string& name) {
  const char* given = std::getenv("HEED_DATA");
  const std::filesystem::path source = std::filesystem::path(__FILE__).parent_path() / "../..";
  for (const std::filesystem::path& root : {std::filesystem::path(given ? given : ""), source / "../shared/data",
                                            std::filesystem::path("../shared/data")}) {
    if (!root.empty() && std::filesystem::exists(root / name)) return (root / name).string();
  }
  MESSAGE("skipped: ", name, " is not here; set HEED_DATA to the folder that holds it");
  return "";
}

RankingMetrics baseline_metrics(const LeaveOneOut& split, const std::string& name, const EvaluationSettings& settings) {
  for (const auto& baseline : standard_baselines(split.histories(settings.part), split.data().items())) {
    if (baseline->name() != name) continue;
    const RankingMetrics metrics = ranking_metrics(ranks(split, *baseline, settings), settings.k);
    MESSAGE(name, " ", settings.protocol, std::string(settings.filter_seen ? " seen filtered" : ""), ": HR@10 ",
            metrics.hit_rate.value, " NDCG@10 ", metrics.ndcg.value, " MRR ", metrics.mrr.value);
    return metrics;
  }
  throw heed::Error("no baseline " + name);
}

TEST_CASE("cinema: the baselines stay far below what the history holds") {
  const Interactions data = simulate_cinema().data;
  const LeaveOneOut split(data);
  for (const bool filter_seen : {false, true}) {
    EvaluationSettings settings;
    settings.filter_seen = filter_seen;
    const RankingMetrics popular = baseline_metrics(split, "popularity", settings);
    const RankingMetrics knn = baseline_metrics(split, "knn", settings);
    baseline_metrics(split, "markov", settings);
    CHECK(popular.hit_rate.low > 10.0 / static_cast<double>(data.items()));
    CHECK(knn.hit_rate.low > popular.hit_rate.high);
    CHECK(knn.hit_rate.high < 0.4);  // 0.68 is there for whoever knows the rules
  }
}

TEST_CASE("MovieLens 100K: the baselines reach their figures") {
  const std::string path = data_path("ml-100k");
  if (path.empty()) return;
  const Interactions data = read_interactions(path);
  CHECK(data.users() == 943);
  CHECK(data.items() == 1682);
  CHECK(data.events.size() == 100000);
  CHECK(data.item_info[*data.find_item("1")].title == "Toy Story");
  const LeaveOneOut split(data);
  CHECK(split.users().size() == 943);
  EvaluationSettings settings;
  struct Expected {
    const char* name;
    bool filter_seen;
    double hit_rate, ndcg;
  };
  // Markov and popularity have no choices to make: their figures must be met closely. Variants of kNN differ.
  for (const Expected& expected : {Expected{"markov", false, 0.109, 0.055}, Expected{"knn", false, 0.145, 0.073},
                                   Expected{"popularity", true, 0.084, 0.043}, Expected{"markov", true, 0.144, 0.077},
                                   Expected{"knn", true, 0.194, 0.103}}) {
    settings.filter_seen = expected.filter_seen;
    const RankingMetrics metrics = baseline_metrics(split, expected.name, settings);
    const bool free = std::string(expected.name) == "knn";
    CHECK(std::abs(metrics.hit_rate.value - expected.hit_rate) <= (free ? 0.015 : 0.004));
    CHECK(std::abs(metrics.ndcg.value - expected.ndcg) <= (free ? 0.010 : 0.004));
  }
  const GlobalTimeSplit by_time = split_by_time(data, 4);
  CHECK(by_time.train.size() == 80000);
  const LogisticRegression logistic(data, by_time.train);
  std::vector<float> logits;
  std::vector<std::uint8_t> labels;
  std::vector<std::int32_t> users;
  for (const Labelled& row : by_time.test) {
    logits.push_back(logistic.logit(row.user, data.events[row.event].item));
    labels.push_back(row.positive);
    users.push_back(row.user);
  }
  const Estimate area = auc(logits, labels);
  MESSAGE("logistic regression, split by time: AUC ", area.value, " [", area.low, ", ", area.high, "] LogLoss ",
          log_loss(logits, labels).value, " GAUC ", gauc(logits, labels, users).value);
  CHECK(area.value > 0.70);
}

TEST_CASE("Amazon Video Games: 30,901 users, sampled protocol") {
  const std::string path = data_path("amazon-video-games");
  if (path.empty()) return;
  const Interactions data = read_interactions(path);
  CHECK(data.users() == 31013);
  CHECK(data.items() == 23715);
  const LeaveOneOut split(data);
  CHECK(split.users().size() == 30901);
  EvaluationSettings settings;
  settings.protocol = "sampled";
  const RankingMetrics popular = baseline_metrics(split, "popularity", settings);
  const RankingMetrics knn = baseline_metrics(split, "knn", settings);
  CHECK(popular.users == 30901);
  CHECK(knn.hit_rate.low > popular.hit_rate.high);
}

}  // namespace
