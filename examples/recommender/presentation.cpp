#include "examples/recommender/presentation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "examples/common/progress.h"
#include "examples/common/text_table.h"

namespace heed::examples::recommender {

std::string with_interval(const Estimate& estimate) {
  if (estimate.low == estimate.high) return fmt::format("{:.4f}", estimate.value);
  return fmt::format("{:.4f} [{:.4f}, {:.4f}]", estimate.value, estimate.low, estimate.high);
}

std::string to_text(const Report::Table& table) {
  std::vector<std::vector<std::string>> lines{{""}};
  for (const Report::Column& column : table.columns) lines[0].push_back(column.name);
  lines[0].emplace_back();
  for (const Report::Row& row : table.rows) {
    lines.push_back({row.name});
    for (const Estimate& figure : row.figures) lines.back().push_back(with_interval(figure));
    lines.back().push_back(row.remark);
  }
  return text_table(lines, {table.columns.size() + 1});
}

Report::Table ranking_table(const std::string& title, std::int64_t k, const std::vector<RankingRow>& rows) {
  Report::Table table{title, {{fmt::format("HR@{}", k)}, {fmt::format("NDCG@{}", k)}, {"MRR"}}, {}, 1};
  for (const auto& [name, metrics, remark] : rows)
    table.rows.push_back({name, {metrics.hit_rate, metrics.ndcg, metrics.mrr}, remark});
  return table;
}

Report::Table contest_table(const std::string& title, std::int64_t k, std::vector<RankingRow> rows) {
  std::ranges::stable_sort(rows, std::ranges::greater(), [](const RankingRow& row) { return row.metrics.ndcg.value; });
  return ranking_table(title, k, rows);
}

std::vector<std::pair<std::string, std::string>> facts_of(const TrainedModel& model) {
  const Settings& s = model.settings;
  const bool sequential = s.model == "sequential";
  const Interactions& data = model.data;
  return {{"data",
           fmt::format("{}: {} users, {} items, {} events", data.source,
                       format_count(static_cast<double>(data.users())), format_count(static_cast<double>(data.items())),
                       format_count(static_cast<double>(data.events.size())))},
          {"model", fmt::format("{}, width {}, {}, {} heads, last {} events, {} parameters", s.model, s.width,
                                sequential ? fmt::format("{} layers", s.layers) : fmt::format("hidden {}", s.hidden),
                                s.heads, s.length, format_count(static_cast<double>(model.record.parameters)))},
          {"training", fmt::format("{} epochs, loss {}, seed {}, {}", s.epochs, sequential ? s.loss : "bce", s.seed,
                                   format_duration(model.record.seconds))}};
}

namespace {

// Whether the titles say more than the ids.
std::string title_of(const Interactions& data, std::int32_t item) {
  return data.item_info[static_cast<std::size_t>(item)].title;
}

// Row i: where the model looked when the first i + 1 events were all it knew.
std::vector<std::vector<double>> attention_rows(const Ranker& ranker, const Person& person) {
  std::vector<std::vector<double>> rows;
  for (std::size_t events = 1; events <= person.history.size(); ++events) {
    Person earlier{person.user, {person.history.begin(), person.history.begin() + static_cast<std::ptrdiff_t>(events)}};
    std::vector<double> row = ranker.attention(earlier, person.history[events - 1].item);
    row.resize(person.history.size(), 0.0);
    rows.push_back(std::move(row));
  }
  return rows;
}

Report::Recommendation present(const Interactions& data, const Person& person, const Recommended& recommended,
                               const Explanation& why) {
  Report::Recommendation result{title_of(data, recommended.item), recommended.score, {}};
  std::vector<std::size_t> order(person.history.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return std::abs(why.effect[a]) > std::abs(why.effect[b]); });
  for (std::size_t i = 0; i < std::min<std::size_t>(3, order.size()); ++i) {
    result.reasons.push_back(
        {title_of(data, person.history[order[i]].item), why.attention[order[i]], why.effect[order[i]]});
  }
  return result;
}

}  // namespace

std::vector<Report::Person> people_of(const TrainedModel& model, const Interactions& data, std::size_t count,
                                      std::int64_t k) {
  constexpr std::size_t shown = 20;  // events of a history that fit a picture
  const LeaveOneOut split(data);
  std::vector<Report::Person> people;
  for (std::size_t u = 0; u < split.users().size() && people.size() < count;
       u += std::max<std::size_t>(1, split.users().size() / count)) {
    const std::int32_t user = split.users()[u];
    const auto history = split.history(user, Part::test);
    const Person person{user,
                        {history.end() - static_cast<std::ptrdiff_t>(std::min(shown, history.size())), history.end()}};
    Report::Person entry{fmt::format("user {}", data.user_ids[static_cast<std::size_t>(user)]),
                         {},
                         attention_rows(*model.ranker, person),
                         {},
                         title_of(data, split.target(user, Part::test).item)};
    for (const Event& event : person.history) entry.history.push_back(title_of(data, event.item));
    const std::vector<Recommended> list = recommend(*model.ranker, person, k, false);
    std::vector<std::int32_t> items;
    for (const Recommended& recommended : list) items.push_back(recommended.item);
    const std::vector<Explanation> reasons = explain(*model.ranker, person, items);
    for (std::size_t i = 0; i < list.size(); ++i)
      entry.recommendations.push_back(present(data, person, list[i], reasons[i]));
    people.push_back(std::move(entry));
  }
  return people;
}

double concentration(const Ranker& ranker, const Interactions& data, std::size_t users) {
  const LeaveOneOut split(data);
  double total = 0;
  std::size_t counted = 0;
  for (std::size_t u = 0; u < split.users().size() && counted < users;
       u += std::max<std::size_t>(1, split.users().size() / users)) {
    const auto history = split.history(split.users()[u], Part::test);
    const std::vector<double> weights =
        ranker.attention({split.users()[u], {history.begin(), history.end()}}, history.back().item);
    double entropy = 0;
    std::size_t events = 0;
    for (const double weight : weights) {
      if (weight <= 0) continue;
      entropy -= weight * std::log(weight);
      ++events;
    }
    if (events < 2) continue;
    total += std::max(0.0, 1 - entropy / std::log(static_cast<double>(events)));
    ++counted;
  }
  return counted == 0 ? 0 : total / static_cast<double>(counted);
}

Report report_of(const Comparison& comparison, const std::string& title) {
  Report report{.title = title, .facts = facts_of(comparison.attention)};
  report.losses = comparison.losses;
  report.validations = comparison.validations;
  report.tables.push_back(comparison.table);
  report.people = people_of(comparison.attention, comparison.attention.data, 3, 5);
  return report;
}

}  // namespace heed::examples::recommender
