// A training run as a page to look at: one HTML file without any other, charts drawn by Chart.js, which is part of it.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "examples/recommender/metrics.h"

namespace heed::recommender {

struct Report {
  std::string title;
  std::vector<std::pair<std::string, std::string>> facts;  // name and value: data, model, seed, duration...

  // Lines over the epochs or steps of training.
  struct Curve {
    std::string name;
    std::vector<std::pair<double, double>> points;  // x, y
  };
  std::vector<Curve> losses;       // x: step
  std::vector<Curve> validations;  // x: epoch

  // The table of figures: models and baselines, best first, or groups of users.
  struct Row {
    std::string name;
    RankingMetrics metrics;
    std::string remark;  // "12 s, 98,432 parameters"
  };
  struct Table {
    std::string title;
    std::int64_t k = 10;
    std::vector<Row> rows;
  };
  std::vector<Table> tables;

  // One person's history, where the model looked while it went through it, and what it recommends and why.
  struct Reason {
    std::string title;
    double attention = 0;
    double effect = 0;
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

// Writes the page, as a whole or not at all.
void write_report(const std::filesystem::path& path, const Report& report);
std::string render_report(const Report& report);

}  // namespace heed::recommender
