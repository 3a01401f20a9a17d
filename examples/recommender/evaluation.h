// The ranking protocol: ask a scorer for every user's next item, count where the truth stands, and compare.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "examples/recommender/baselines.h"
#include "examples/recommender/metrics.h"
#include "examples/recommender/split.h"

namespace heed::examples::recommender {

// Fills scores [batch, items], row by row.
using Scorer = std::function<void(std::span<const Query> batch, std::span<float> scores)>;

struct EvaluationSettings {
  Part part = Part::test;
  // "full" ranks the target among all items. "sampled" ranks it among `negatives` items drawn uniformly, without
  // repetition, from those that the user never met, as the SASRec paper does; such figures are far higher and do not
  // compare with full ones, nor always order models as they do.
  std::string protocol = "full";
  std::int64_t negatives = 100;
  std::uint64_t seed = 1;    // of the negatives
  bool filter_seen = false;  // full only: leaves the history's items out of the ranking (not the target itself)
  std::int64_t k = 10;
  std::string by;  // a column of the users' file: figures for each of its values too
  std::int64_t batch = 256;
};

// The negatives of one user, ascending. They depend on the seed and the user alone. Throws heed::Error where the user
// has met all but fewer than `count` items.
std::vector<std::int32_t> sample_negatives(const Interactions& data, std::int64_t user, std::int64_t count,
                                           std::uint64_t seed);

// The target's rank for each of split.users(), in that order. Throws heed::Error on a NaN score, naming the user.
std::vector<std::int64_t> ranks(const LeaveOneOut& split, const Scorer& scorer, const EvaluationSettings& settings);

// The same for a baseline, on all cores.
std::vector<std::int64_t> ranks(const LeaveOneOut& split, const Baseline& baseline, const EvaluationSettings& settings);

struct Evaluation {
  EvaluationSettings settings;
  RankingMetrics model;
  std::vector<std::pair<std::string, RankingMetrics>> baselines;
  std::map<std::string, RankingMetrics> groups;  // by the values of the column `by`; "" where it is unknown
};

// Runs the scorer and the standard baselines, which learn from the histories of the same part.
Evaluation evaluate(const LeaveOneOut& split, const Scorer& scorer, const EvaluationSettings& settings);

// {"users":N,"protocol":"full","filter_seen":false,
//  "metrics":{"hr@10":..,"ndcg@10":..,"mrr":..},"ci95":{"hr@10":[lo,hi],..},
//  "baselines":{"popularity":{"hr@10":..,..},"markov":{..},"knn":{..}}}
// With "negatives":N after a sampled protocol, and "by" and "groups":{"F":{"users":..,"metrics":{..},"ci95":{..}},..}
// where asked for.
nlohmann::ordered_json to_json(const Evaluation& evaluation);

}  // namespace heed::examples::recommender
