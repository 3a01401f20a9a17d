// How good predictions are.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

namespace heed::examples::classifier {

struct ClassScore {
  double precision = 0, recall = 0, f1 = 0;  // 0 where there is nothing to divide by, as in scikit-learn
  std::int64_t support = 0;                  // examples of the class
};

struct Evaluation {
  std::int64_t examples = 0;
  double accuracy = 0;
  double macro_f1 = 0;  // over the classes that occur, as truth or as prediction
  double log_loss = 0;  // mean of -log of the true class's probability; filled in by whoever knows probabilities
  std::vector<ClassScore> per_class;
  std::vector<std::vector<std::int64_t>> confusion;  // [true class][predicted class]
};

// Throws heed::Error where the two differ in length, are empty, or name a class beyond `classes`.
Evaluation evaluate(std::span<const std::int64_t> truth, std::span<const std::int64_t> predicted, std::int64_t classes);

nlohmann::ordered_json to_json(const Evaluation& evaluation, const std::vector<std::string>& labels);
std::string to_json_text(const Evaluation& evaluation, const std::vector<std::string>& labels);  // in one line

}  // namespace heed::examples::classifier
