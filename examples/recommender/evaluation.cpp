#include "examples/recommender/evaluation.h"

#include <fmt/core.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <mutex>
#include <nlohmann/json.hpp>

#include "examples/common/random_stream.h"
#include "kernels/cpu/parallel.h"
#include "kernels/error.h"

namespace heed::examples::recommender {

namespace {

void check(const EvaluationSettings& settings) {
  if (settings.protocol != "full" && settings.protocol != "sampled") {
    throw Error(fmt::format("evaluate: protocol '{}' is not known; there is full, sampled", settings.protocol));
  }
  if (settings.k < 1 || settings.batch < 1 || settings.negatives < 1) {
    throw Error(fmt::format("evaluate: k {}, batch {} and negatives {} must be positive", settings.k, settings.batch,
                            settings.negatives));
  }
}

// Sampled negatives were never met by the user: there is nothing seen to filter.
bool filters(const EvaluationSettings& settings) {
  return settings.protocol == "full" && settings.filter_seen;
}

std::int64_t rank_of_target(const LeaveOneOut& split, const Query& query, std::span<float> scores,
                            const EvaluationSettings& settings) {
  const std::int32_t target = split.target(query.user, settings.part).item;
  try {
    if (settings.protocol == "sampled") {
      return sampled_rank(scores, target,
                          sample_negatives(split.data(), query.user, settings.negatives, settings.seed));
    }
    if (filters(settings)) {
      for (const Event& event : query.history) {
        if (event.item != target) scores[event.item] = -std::numeric_limits<float>::infinity();
      }
    }
    return full_rank(scores, target);
  } catch (const Error& error) {
    throw Error(fmt::format("evaluate: user {}: {}", split.data().user_ids[query.user], error.what()));
  }
}

using Json = nlohmann::ordered_json;

Json metrics_json(const RankingMetrics& metrics, std::int64_t k) {
  return {{fmt::format("hr@{}", k), metrics.hit_rate.value},
          {fmt::format("ndcg@{}", k), metrics.ndcg.value},
          {"mrr", metrics.mrr.value}};
}

Json intervals_json(const RankingMetrics& metrics, std::int64_t k) {
  const auto interval = [](const Estimate& estimate) { return Json::array({estimate.low, estimate.high}); };
  return {{fmt::format("hr@{}", k), interval(metrics.hit_rate)},
          {fmt::format("ndcg@{}", k), interval(metrics.ndcg)},
          {"mrr", interval(metrics.mrr)}};
}

std::map<std::string, RankingMetrics> group_metrics(const LeaveOneOut& split, std::span<const std::int64_t> ranks,
                                                    const EvaluationSettings& settings) {
  const UserColumn& column = split.data().user_column(settings.by);
  std::map<std::string, std::vector<std::int64_t>> groups;
  for (std::size_t i = 0; i < ranks.size(); ++i) groups[column.values[split.users()[i]]].push_back(ranks[i]);
  std::map<std::string, RankingMetrics> result;
  for (const auto& [value, group_ranks] : groups) result[value] = ranking_metrics(group_ranks, settings.k);
  return result;
}

}  // namespace

std::vector<std::int32_t> sample_negatives(const Interactions& data, std::int64_t user, std::int64_t count,
                                           std::uint64_t seed) {
  std::vector<std::int32_t> taken;  // met or drawn already, ascending
  for (const Event& event : data.events_of(user)) taken.push_back(event.item);
  std::ranges::sort(taken);
  taken.erase(std::unique(taken.begin(), taken.end()), taken.end());
  const std::int64_t left = data.items() - std::ssize(taken);
  if (left < count) {
    throw Error(fmt::format("sample: user {} has not met {} items, {} negatives were asked for", data.user_ids[user],
                            left, count));
  }
  RandomStream random(seed, static_cast<std::uint64_t>(user));
  std::vector<std::int32_t> negatives;
  while (std::ssize(negatives) < count) {
    const auto item = static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(data.items())));
    const auto place = std::ranges::lower_bound(taken, item);
    if (place != taken.end() && *place == item) continue;
    taken.insert(place, item);
    negatives.push_back(item);
  }
  std::ranges::sort(negatives);
  return negatives;
}

std::vector<std::int64_t> ranks(const LeaveOneOut& split, const Scorer& scorer, const EvaluationSettings& settings) {
  check(settings);
  const std::int64_t users = std::ssize(split.users()), items = split.data().items();
  std::vector<std::int64_t> result(users);
  std::vector<Query> queries;
  std::vector<float> scores;
  for (std::int64_t begin = 0; begin < users; begin += settings.batch) {
    const std::int64_t end = std::min(begin + settings.batch, users);
    queries.clear();
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int32_t user = split.users()[i];
      queries.push_back({user, split.history(user, settings.part)});
    }
    // A scorer that leaves a score out is found out by the NaN.
    scores.assign((end - begin) * items, std::numeric_limits<float>::quiet_NaN());
    scorer(queries, scores);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::span<float> row = std::span(scores).subspan((i - begin) * items, items);
      result[i] = rank_of_target(split, queries[i - begin], row, settings);
    }
  }
  return result;
}

std::vector<std::int64_t> ranks(const LeaveOneOut& split, const Baseline& baseline,
                                const EvaluationSettings& settings) {
  check(settings);
  const std::int64_t users = std::ssize(split.users());
  std::vector<std::int64_t> result(users);
  std::mutex mutex;
  std::exception_ptr failure;
  std::int64_t failed_at = users;  // the first failure in order of users is reported, whatever the threads did
  kernels::parallel_for(users, 16, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t i = begin;
    try {
      std::vector<float> scores(split.data().items());
      for (; i < end; ++i) {
        const std::int32_t user = split.users()[i];
        const Query query{user, split.history(user, settings.part)};
        baseline.score(query, scores);
        result[i] = rank_of_target(split, query, scores, settings);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (i < failed_at) failure = std::current_exception();
      failed_at = std::min(i, failed_at);
    }
  });
  if (failure) std::rethrow_exception(failure);
  return result;
}

Evaluation evaluate(const LeaveOneOut& split, const Scorer& scorer, const EvaluationSettings& settings) {
  check(settings);
  if (!settings.by.empty()) split.data().user_column(settings.by);  // throws before the work is done
  Evaluation result;
  result.settings = settings;
  const std::vector<std::int64_t> model_ranks = ranks(split, scorer, settings);
  result.model = ranking_metrics(model_ranks, settings.k);
  if (!settings.by.empty()) result.groups = group_metrics(split, model_ranks, settings);
  for (const auto& baseline : standard_baselines(split.histories(settings.part), split.data().items())) {
    result.baselines.emplace_back(baseline->name(), ranking_metrics(ranks(split, *baseline, settings), settings.k));
  }
  return result;
}

nlohmann::ordered_json to_json(const Evaluation& evaluation) {
  const EvaluationSettings& settings = evaluation.settings;
  Json json{{"users", evaluation.model.users}, {"protocol", settings.protocol}};
  if (settings.protocol == "sampled") json["negatives"] = settings.negatives;
  json["filter_seen"] = filters(settings);
  json["metrics"] = metrics_json(evaluation.model, settings.k);
  json["ci95"] = intervals_json(evaluation.model, settings.k);
  for (const auto& [name, metrics] : evaluation.baselines) json["baselines"][name] = metrics_json(metrics, settings.k);
  if (settings.by.empty()) return json;
  json["by"] = settings.by;
  for (const auto& [value, metrics] : evaluation.groups) {
    json["groups"][value] = {{"users", metrics.users},
                             {"metrics", metrics_json(metrics, settings.k)},
                             {"ci95", intervals_json(metrics, settings.k)}};
  }
  return json;
}

}  // namespace heed::examples::recommender
