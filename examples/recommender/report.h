// A training run as a page to look at: one HTML file without any other, charts drawn by Chart.js, which is part of it.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "engine/file.h"
#include "examples/recommender/metrics.h"

namespace heed::examples::recommender {

struct Report {
  std::string title;
  std::vector<std::pair<std::string, std::string>> facts;  // name and value: data, model, seed, duration...

  // Lines over the epochs or steps of training. A point that is not finite leaves a gap.
  struct Curve {
    std::string name;                               // of the model; one model has one colour in all charts
    std::vector<std::pair<double, double>> points;  // x, y
    std::string metric;                             // of a validation; each metric has a chart of its own
  };
  std::vector<Curve> losses;       // x: step
  std::vector<Curve> validations;  // x: epoch

  // A table of figures: models and baselines, best first, or groups of users.
  struct Column {
    std::string name;              // "NDCG@10"
    bool lower_is_better = false;  // a loss
  };
  struct Row {
    std::string name;
    std::vector<Estimate> figures;  // one per column; without an interval where low and high are the value itself
    std::string remark = {};        // "12 s, 98,432 parameters"
  };
  struct Table {
    std::string title;
    std::vector<Column> columns;
    std::vector<Row> rows;
    std::size_t judged_by = 0;  // the column whose best row stands out
  };
  std::vector<Table> tables;

  // One person's history, where the model looked while it went through it, and what it recommends and why.
  struct Reason {
    std::string title;
    double attention = 0;  // part of the whole, 0 to 1
    double effect = 0;     // by how much log(probability), or a logit, falls when the event is hidden
  };
  struct Recommendation {
    std::string title;
    double score = 0;
    std::vector<Reason> reasons;  // the most important first
  };
  struct Person {
    std::string name;
    std::vector<std::string> history;            // titles, oldest first
    std::vector<std::vector<double>> attention;  // [events][events], row: from, column: to; 0 above the diagonal
    std::vector<Recommendation> recommendations;
    std::string next;  // what they really met next, "" if that is not known
  };
  std::vector<Person> people;
};

// The page. Titles and names may hold any characters. Throws heed::Error where a person's attention does not fit the
// history.
std::string render_report(const Report& report);

// "Mostly because of Alien (attention 42%, effect +1.30)."; "" without reasons.
std::string sentence(const Report::Recommendation& recommendation);

// Points for drawing a long curve: x, y and the moving average of y over a fiftieth of the curve. Where there are more
// than 500, the lowest and the highest of each stretch stand for it, so that no spike is lost. NaN where y and everything
// near is not finite.
std::vector<std::array<double, 3>> thinned(const std::vector<std::pair<double, double>>& points);

// Writes the page, as a whole or not at all. Inline, so that rendering alone needs no engine.
inline void write_report(const std::filesystem::path& path, const Report& report) {
  write_file(path, render_report(report));
}

}  // namespace heed::examples::recommender
