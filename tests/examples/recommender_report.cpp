// The page of a report: what it holds, that no title can break out of it, and that it is complete in itself.
#include "examples/recommender/report.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "examples/recommender/report_files.h"
#include "kernels/error.h"

namespace {

using namespace heed::examples;
using namespace heed::examples::recommender;
using Json = nlohmann::json;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

Report sample() {
  Report report{.title = "A <b>bold</b> \"title\" & more"};
  report.facts = {{"data", "1 & 2"}, {"seed", "7"}};
  report.losses = {{"attention", {{1, 4.5}, {2, nan}, {3, 3.5}}, ""}};
  report.validations = {{"attention", {{1, 0.1}, {2, 0.2}}, "ndcg@5"},
                        {"attention", {{1, 0.3}, {2, 0.4}}, "hr@5"},
                        {"pooling", {{1, 0.05}, {2, 0.1}}, "ndcg@5"}};
  const std::vector<Report::Column> columns{{"NDCG@5"}, {"log loss", true}};
  report.tables = {{"Models",
                    columns,
                    {{"pooling", {{0.1, 0.05, 0.15}, {0.5, 0.4, 0.6}}, "fast"},
                     {"attention", {{0.3, 0.25, 0.35}, {0.7, 0.7, 0.7}}, ""}}},
                   {"No groups", columns, {}}};
  report.people = {{"user 1",
                    {"Alien", "Amélie"},
                    {{1, 0}, {0.25, 0.75}},
                    {{"Aliens", 2.5, {{"Alien", 0.25, 1.3}, {"Amélie", 0.75, -0.2}}}},
                    "Heat"}};
  return report;
}

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

// What a browser takes for the data: all up to the first end of the element.
std::string data_text(const std::string& page) {
  const std::string opening = "<script type=\"application/json\" id=\"report\">";
  REQUIRE(count(page, opening) == 1);
  const std::size_t begin = page.find(opening) + opening.size();
  return page.substr(begin, page.find("</script", begin) - begin);
}
Json data_of(const std::string& page) {
  return Json::parse(data_text(page));
}

TEST_CASE("report: the data are in the page, to the last digit") {
  const Json data = data_of(render_report(sample()));
  CHECK(data["title"] == "A <b>bold</b> \"title\" & more");
  CHECK(data["facts"] == Json::parse(R"([["data", "1 & 2"], ["seed", "7"]])"));
  CHECK(data["losses"] ==
        Json::parse(R"([{"name": "attention", "points": [[1, 4.5, 4.5], [2, null, null], [3, 3.5, 3.5]]}])"));
  REQUIRE(data["validations"].size() == 2);
  CHECK(data["validations"][0] == Json::parse(R"({"metric": "ndcg@5", "curves": [
    {"name": "attention", "points": [[1, 0.1], [2, 0.2]]}, {"name": "pooling", "points": [[1, 0.05], [2, 0.1]]}]})"));
  CHECK(data["validations"][1]["metric"] == "hr@5");
  REQUIRE(data["tables"].size() == 1);  // one without rows shows nothing
  CHECK(data["tables"][0] ==
        Json::parse(R"({"title": "Models", "columns": [{"name": "NDCG@5", "best": 1}, {"name": "log loss", "best": 0}],
    "best": 1, "rows": [{"name": "pooling", "remark": "fast", "cells": [[0.1, 0.05, 0.15], [0.5, 0.4, 0.6]]},
    {"name": "attention", "remark": "", "cells": [[0.3, 0.25, 0.35], [0.7, 0.7, 0.7]]}]})"));
  CHECK(data["people"] == Json::parse(R"([{"name": "user 1", "history": ["Alien", "Amélie"],
    "attention": [[1], [0.25, 0.75]], "next": "Heat",
    "recommendations": [{"title": "Aliens", "score": 2.5, "why": "Mostly because of Alien (attention 25%, effect +1.30).",
      "reasons": [{"title": "Alien", "attention": 0.25, "effect": 1.3}, {"title": "Amélie", "attention": 0.75, "effect": -0.2}]}]}])"));
}

TEST_CASE("report: no text breaks out of its place") {
  const std::size_t scripts = count(render_report(sample()), "</script");
  for (const std::string title :
       {"</script><script>alert(1)</script>", "<!-- <script>", "\"quoted\" 'twice' \\ & &amp; &lt;",
        "{{library}} {{data}} {{none}}", "Амели 七人の侍 \u2028 line", "]]> --> `${1}`", "tab\tand\nline"}) {
    CAPTURE(title);
    Report report = sample();
    report.title = report.facts[0].first = report.facts[0].second = title;
    report.losses[0].name = report.validations[0].name = report.validations[0].metric = title;
    report.tables[0].title = report.tables[0].rows[0].name = report.tables[0].rows[0].remark = title;
    Report::Person& person = report.people[0];
    person.name = person.next = person.history[0] = person.recommendations[0].title =
        person.recommendations[0].reasons[0].title = title;
    const std::string page = render_report(report);
    CHECK(count(page, "</script") == scripts);
    CHECK(data_text(page).find_first_of("<>&") == std::string::npos);
    const Json data = data_of(page);
    CHECK(data["title"] == title);
    CHECK(data["people"][0]["history"][0] == title);
    CHECK(data["people"][0]["recommendations"][0]["reasons"][0]["title"] == title);
    CHECK(data["tables"][0]["rows"][0]["remark"] == title);
    CHECK(data["validations"][0]["metric"] == title);
    // The title of the window is the one text that stands in the page as HTML.
    const std::size_t begin = page.find("<title>") + 7;
    CHECK(page.substr(begin, page.find("</title>") - begin).find_first_of("<>\"'") == std::string::npos);
  }
  Report report = sample();
  report.title = "A & B < C";
  CHECK(count(render_report(report), "<title>A &amp; B &lt; C</title>") == 1);
}

TEST_CASE("report: bytes that are not UTF-8 do no harm") {
  Report report = sample();
  report.people[0].next = "Am\xe9lie";
  CHECK(data_of(render_report(report))["people"][0]["next"] == "Am\uFFFDlie");
}

TEST_CASE("report: nothing is loaded from anywhere") {
  std::string page = render_report(sample());
  CHECK(count(page, "default-src 'none'") == 1);
  const std::size_t library = page.find(chart_min_js);
  REQUIRE(library != std::string::npos);
  page.erase(library, chart_min_js.size());  // its comments name where it comes from
  CHECK(count(page, "://") == 0);
  CHECK(count(page, "src=") == 0);
  CHECK(count(page, "<link") == 0);
  CHECK(count(page, "@import") == 0);
  CHECK(count(page, "url(") == 0);
  CHECK(count(page, "fetch(") == 0);
  CHECK(count(page, "innerHTML") == 0);
}

TEST_CASE("report: the library is inside, in one piece") {
  const std::string page = render_report(sample());
  CHECK(chart_min_js.size() > 100000);
  CHECK(count(chart_min_js, "Chart.js v") == 1);
  CHECK(count(page, chart_min_js) == 1);
  CHECK(count(page, report_js) == 1);
  CHECK(count(page, report_css) == 1);
  CHECK(count(page, "{{") == count(chart_min_js, "{{") + count(report_js, "{{") + count(report_css, "{{"));
  CHECK(page.substr(page.size() - 8) == "</html>\n");
}

TEST_CASE("report: an empty one is a page too") {
  const Json data = data_of(render_report({.title = "Nothing"}));
  for (const char* part : {"facts", "losses", "validations", "tables", "people"}) CHECK(data[part] == Json::array());
}

TEST_CASE("report: attention that does not fit the history") {
  Report report = sample();
  report.people[0].attention.pop_back();
  CHECK_THROWS_WITH_AS(render_report(report), "report: 1 rows of attention for the 2 events of user 1", heed::Error);
  report.people[0].attention.push_back({1});
  CHECK_THROWS_WITH_AS(render_report(report), "report: row 1 of the attention of user 1 has 1 weights for 2 events",
                       heed::Error);
}

TEST_CASE("thinned: short curves stay as they are") {
  std::vector<std::pair<double, double>> points;
  for (int i = 0; i < 500; ++i) points.emplace_back(i + 1, i % 2);
  const auto thin = thinned(points);
  REQUIRE(thin.size() == 500);
  for (std::size_t i = 0; i < 500; ++i) {
    CHECK(thin[i][0] == points[i].first);
    CHECK(thin[i][1] == points[i].second);
  }
  // Eleven points each: 95 to 105, of which the even ones are 1, and 96 to 106; at the end those there are.
  CHECK(thin[99][2] == doctest::Approx(5.0 / 11));
  CHECK(thin[100][2] == doctest::Approx(6.0 / 11));
  CHECK(thin[0][2] == doctest::Approx(3.0 / 6));
  CHECK(thinned({}).empty());
}

TEST_CASE("thinned: long curves keep their extremes, in order") {
  std::vector<std::pair<double, double>> points;
  for (int i = 0; i < 12345; ++i) points.emplace_back(i, 100 - 0.001 * i + (i * 7919 % 13) * 0.1);
  points[7000].second = 500;
  points[9001].second = -500;
  points[40].second = nan;
  points[11000].second = infinity;
  const auto thin = thinned(points);
  CHECK(thin.size() <= 500);
  CHECK(thin.size() > 450);
  bool highest = false, lowest = false;
  for (std::size_t i = 0; i < thin.size(); ++i) {
    if (i > 0) REQUIRE(thin[i][0] > thin[i - 1][0]);
    const std::size_t at = static_cast<std::size_t>(thin[i][0]);
    CHECK((thin[i][1] == points[at].second || std::isnan(thin[i][1])));
    highest |= thin[i][1] == 500;
    lowest |= thin[i][1] == -500;
    double sum = 0, finite = 0;
    for (std::size_t j = at - std::min<std::size_t>(at, 123); j < std::min<std::size_t>(points.size(), at + 124); ++j) {
      if (!std::isfinite(points[j].second)) continue;
      sum += points[j].second;
      ++finite;
    }
    CHECK(std::abs(thin[i][2] - sum / finite) < 1e-9);
  }
  CHECK(highest);
  CHECK(lowest);
}

TEST_CASE("sentence: the effect decides, attention is told beside it") {
  using Reasons = std::vector<Report::Reason>;
  const auto say = [](const Reasons& reasons) { return sentence({"X", 0, reasons}); };
  CHECK(say({}) == "");
  CHECK(say({{"A", 0.42, 1.3}, {"B", 0.5, 0.2}}) == "Mostly because of A (attention 42%, effect +1.30).");
  CHECK(say({{"A", 0.5, 0.8}, {"B", 0.3, 1.0}}) ==
        "Because of B (attention 30%, effect +1.00) and A (attention 50%, effect +0.80).");
  CHECK(say({{"A", 0.5, -0.8}, {"B", 0.3, 1.0}}) ==
        "Mostly because of B (attention 30%, effect +1.00), in spite of A (attention 50%, effect -0.80).");
  CHECK(say({{"A", 0.9, -0.8}, {"B", 0.1, 0.01}}) ==
        "No single event speaks for it; against it speaks A (attention 90%, effect -0.80).");
  CHECK(say({{"A", 0.9, 0.05}, {"B", 0.1, -0.01}}) == "No single event decides it.");
}

}  // namespace
