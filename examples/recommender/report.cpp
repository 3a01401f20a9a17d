#include "examples/recommender/report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/error.h"
#include "examples/common/page.h"
#include "examples/recommender/report_files.h"

namespace heed::examples::recommender {
namespace {

using Json = nlohmann::ordered_json;

Json losses_json(const std::vector<Report::Curve>& curves) {
  Json json = Json::array();
  for (const Report::Curve& curve : curves) json.push_back({{"name", curve.name}, {"points", thinned(curve.points)}});
  return json;
}

// One chart per metric, in the order of their first appearance.
Json validations_json(const std::vector<Report::Curve>& curves) {
  Json charts = Json::array();
  std::map<std::string, std::size_t> chart_of;
  for (const Report::Curve& curve : curves) {
    const auto [found, is_new] = chart_of.emplace(curve.metric, charts.size());
    if (is_new) charts.push_back({{"metric", curve.metric}, {"curves", Json::array()}});
    charts[found->second]["curves"].push_back({{"name", curve.name}, {"points", curve.points}});
  }
  return charts;
}

// The row that is best in a column.
std::size_t best_row(const Report::Table& table, std::size_t column) {
  const auto value = [&](const Report::Row& row) {
    return table.columns[column].lower_is_better ? -row.figures[column].value : row.figures[column].value;
  };
  return static_cast<std::size_t>(std::ranges::max_element(table.rows, {}, value) - table.rows.begin());
}

Json table_json(const Report::Table& table) {
  Json columns = Json::array(), rows = Json::array();
  for (const Report::Row& row : table.rows) {
    check(row.figures.size() == table.columns.size(), "report: {} figures for {} under {} columns", row.figures.size(),
          row.name, table.columns.size());
    Json cells = Json::array();
    for (const Estimate& e : row.figures) cells.push_back({e.value, e.low, e.high});
    rows.push_back({{"name", row.name}, {"remark", row.remark}, {"cells", std::move(cells)}});
  }
  for (std::size_t c = 0; c < table.columns.size(); ++c)
    columns.push_back({{"name", table.columns[c].name}, {"best", best_row(table, c)}});
  return {{"title", table.title},
          {"columns", std::move(columns)},
          {"best", best_row(table, table.judged_by)},
          {"rows", std::move(rows)}};
}

// What is above the diagonal of the attention stays out.
Json attention_json(const Report::Person& person) {
  const std::size_t events = person.history.size();
  check(person.attention.size() == events, "report: {} rows of attention for the {} events of {}",
        person.attention.size(), events, person.name);
  Json rows = Json::array();
  for (std::size_t event = 0; event < events; ++event) {
    const std::vector<double>& row = person.attention[event];
    check(row.size() == events, "report: row {} of the attention of {} has {} weights for {} events", event,
          person.name, row.size(), events);
    rows.push_back(std::vector<double>(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(event) + 1));
  }
  return rows;
}

Json person_json(const Report::Person& person) {
  Json recommendations = Json::array();
  for (const Report::Recommendation& recommendation : person.recommendations) {
    Json reasons = Json::array();
    for (const Report::Reason& reason : recommendation.reasons)
      reasons.push_back({{"title", reason.title}, {"attention", reason.attention}, {"effect", reason.effect}});
    recommendations.push_back({{"title", recommendation.title},
                               {"score", recommendation.score},
                               {"why", sentence(recommendation)},
                               {"reasons", std::move(reasons)}});
  }
  return {{"name", person.name},
          {"history", person.history},
          {"attention", attention_json(person)},
          {"recommendations", std::move(recommendations)},
          {"next", person.next}};
}

Json report_json(const Report& report) {
  Json tables = Json::array(), people = Json::array();
  for (const Report::Table& table : report.tables) {
    if (!table.rows.empty()) tables.push_back(table_json(table));
  }
  for (const Report::Person& person : report.people) people.push_back(person_json(person));
  return {{"title", report.title},
          {"facts", report.facts},
          {"losses", losses_json(report.losses)},
          {"validations", validations_json(report.validations)},
          {"tables", std::move(tables)},
          {"people", std::move(people)}};
}

// The mean of the finite values in every window of values[i - reach] to values[i + reach]; NaN where there are none.
std::vector<double> moving_average(const std::vector<std::pair<double, double>>& points, std::size_t reach) {
  std::vector<double> sums{0}, counts{0};
  for (const auto& [x, y] : points) {
    sums.push_back(sums.back() + (std::isfinite(y) ? y : 0));
    counts.push_back(counts.back() + (std::isfinite(y) ? 1 : 0));
  }
  std::vector<double> means(points.size());
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::size_t begin = i - std::min(i, reach), end = std::min(points.size(), i + reach + 1);
    means[i] = (sums[end] - sums[begin]) / (counts[end] - counts[begin]);  // 0 / 0 is NaN
  }
  return means;
}

}  // namespace

std::vector<std::array<double, 3>> thinned(const std::vector<std::pair<double, double>>& points) {
  constexpr std::size_t stretches = 250;
  const std::vector<double> means = moving_average(points, points.size() / 100);
  std::vector<std::array<double, 3>> result;
  const auto keep = [&](std::size_t i) { result.push_back({points[i].first, points[i].second, means[i]}); };
  if (points.size() <= 2 * stretches) {
    for (std::size_t i = 0; i < points.size(); ++i) keep(i);
    return result;
  }
  for (std::size_t stretch = 0; stretch < stretches; ++stretch) {
    const auto begin = points.begin() + static_cast<std::ptrdiff_t>(stretch * points.size() / stretches);
    const auto end = points.begin() + static_cast<std::ptrdiff_t>((stretch + 1) * points.size() / stretches);
    const auto [lowest, highest] =
        std::minmax_element(begin, end, [](const auto& a, const auto& b) { return a.second < b.second; });
    const auto [first, second] = std::minmax({lowest - points.begin(), highest - points.begin()});
    keep(static_cast<std::size_t>(first));
    if (second != first) keep(static_cast<std::size_t>(second));
  }
  return result;
}

std::string sentence(const Report::Recommendation& recommendation) {
  std::vector<Report::Reason> reasons = recommendation.reasons;
  if (reasons.empty()) return "";
  std::ranges::stable_sort(reasons, std::ranges::greater(), &Report::Reason::effect);
  const auto named = [](const Report::Reason& reason) {
    return fmt::format("{} (attention {:.0f}%, effect {:+.2f})", reason.title, 100 * reason.attention, reason.effect);
  };
  const Report::Reason &first = reasons.front(), &last = reasons.back();
  constexpr double little = 0.1;  // a tenth more or less likely
  if (first.effect < little && last.effect > -little) return "No single event decides it.";
  if (first.effect < little) return fmt::format("No single event speaks for it; against it speaks {}.", named(last));
  const bool alone = reasons.size() == 1 || reasons[1].effect < first.effect / 2;
  std::string text = alone ? "Mostly because of " + named(first)
                           : fmt::format("Because of {} and {}", named(first), named(reasons[1]));
  if (last.effect < -first.effect / 2) text += ", in spite of " + named(last);
  return text + ".";
}

std::string render_report(const Report& report) {
  const std::string title = escaped_html(report.title), data = escaped_json(report_json(report));
  return filled(
      report_html,
      {{"title", title}, {"style", report_css}, {"data", data}, {"library", chart_min_js}, {"script", report_js}});
}

}  // namespace heed::examples::recommender
