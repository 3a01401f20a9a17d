// What the commands show: lines, tables, and the parts of a report.
#pragma once

#include "examples/common/output.h"
#include "examples/recommender/commands.h"
#include "examples/recommender/report.h"

namespace heed::examples::recommender {

// "0.1234 [0.1123, 0.1345]", or "0.1234" where there is no interval
std::string with_interval(const Estimate& estimate);
// The table for a terminal.
std::string to_text(const Report::Table& table);

// Hit rate, NDCG and MRR, in the order given.
struct RankingRow {
  std::string name;
  RankingMetrics metrics;
  std::string remark = {};
};
Report::Table ranking_table(const std::string& title, std::int64_t k, const std::vector<RankingRow>& rows);
// The same, best first by NDCG.
Report::Table contest_table(const std::string& title, std::int64_t k, std::vector<RankingRow> rows);

std::vector<std::pair<std::string, std::string>> facts_of(const TrainedModel& model);
// Some users with long enough histories: where the model looked, what it recommends and why.
std::vector<Report::Person> people_of(const TrainedModel& model, const Interactions& data, std::size_t count,
                                      std::int64_t k);

// How much of the attention goes to few events: 1 - entropy / log(events), averaged over some users; 0 is spread evenly
// as mean pooling spreads it, 1 is one event alone.
double concentration(const Ranker& ranker, const Interactions& data, std::size_t users);
inline constexpr const char* concentration_text =
    "concentration: 0 when every event of the history gets the same weight, 1 when a single one gets all of it";

struct Comparison {
  Report::Table table;  // best first
  std::int64_t users = 0;
  std::vector<Report::Curve> losses, validations;
  std::shared_ptr<nlohmann::ordered_json> json;
  TrainedModel attention;
};
Comparison compare(const CompareCommand& command, const Interactions& data);
Report report_of(const Comparison& comparison, const std::string& title);

TrainedModel train_model(Interactions data, const Settings& settings, const TrainingOptions& options);

}  // namespace heed::examples::recommender
