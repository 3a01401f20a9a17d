#include "examples/text_classifier/metrics.h"

#include "engine/error.h"
#include "engine/json.h"

namespace heed::examples::classifier {
namespace {

double ratio(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

Evaluation evaluate(std::span<const std::int64_t> truth, std::span<const std::int64_t> predicted,
                    std::int64_t classes) {
  check(truth.size() == predicted.size() && !truth.empty(), "evaluate: {} labels and {} predictions", truth.size(),
        predicted.size());
  const auto count = static_cast<std::size_t>(classes);
  Evaluation result;
  result.examples = static_cast<std::int64_t>(truth.size());
  result.confusion.assign(count, std::vector<std::int64_t>(count, 0));
  for (std::size_t i = 0; i < truth.size(); ++i) {
    check(truth[i] >= 0 && truth[i] < classes && predicted[i] >= 0 && predicted[i] < classes,
          "evaluate: class {} taken for {}, of {} classes", truth[i], predicted[i], classes);
    ++result.confusion[static_cast<std::size_t>(truth[i])][static_cast<std::size_t>(predicted[i])];
  }
  std::int64_t correct = 0, occurring = 0;
  for (std::size_t c = 0; c < count; ++c) {
    std::int64_t of_class = 0, called = 0;
    for (std::size_t other = 0; other < count; ++other) {
      of_class += result.confusion[c][other];
      called += result.confusion[other][c];
    }
    const std::int64_t hits = result.confusion[c][c];
    correct += hits;
    // F1 = 2 P R / (P + R) = 2 hits / (called + of_class)
    result.per_class.push_back(
        {ratio(hits, called), ratio(hits, of_class), ratio(2 * hits, called + of_class), of_class});
    if (called + of_class > 0) {
      ++occurring;
      result.macro_f1 += result.per_class.back().f1;
    }
  }
  result.accuracy = ratio(correct, result.examples);
  result.macro_f1 /= static_cast<double>(occurring);
  return result;
}

nlohmann::ordered_json to_json(const Evaluation& evaluation, const std::vector<std::string>& labels) {
  nlohmann::ordered_json json = {{"examples", evaluation.examples},
                                 {"accuracy", evaluation.accuracy},
                                 {"macro_f1", evaluation.macro_f1},
                                 {"log_loss", evaluation.log_loss},
                                 {"per_class", nlohmann::ordered_json::object()}};
  for (std::size_t c = 0; c < labels.size(); ++c) {
    const ClassScore& score = evaluation.per_class[c];
    json["per_class"][labels[c]] = {
        {"precision", score.precision}, {"recall", score.recall}, {"f1", score.f1}, {"support", score.support}};
  }
  json["labels"] = labels;
  json["confusion"] = evaluation.confusion;
  return json;
}

std::string to_json_text(const Evaluation& evaluation, const std::vector<std::string>& labels) {
  return json_text(to_json(evaluation, labels), -1, NotUtf8::replace);
}

}  // namespace heed::examples::classifier
