#include "engine/error.h"

#include <nlohmann/json.hpp>
#include "engine/file.h"
#include "examples/common/text_table.h"
#include "examples/text_classifier/commands.h"
#include "examples/text_classifier/explanation.h"
#include "examples/text_classifier/lines.h"

namespace heed::examples::classifier {
namespace {

constexpr std::size_t most_texts = 12;  // of a file, on one page

std::vector<std::string> texts_of(const std::string& argument) {
  std::error_code ignored;
  if (argument != "-" && !std::filesystem::is_regular_file(argument, ignored)) return {argument};
  LineStream lines(argument);
  std::vector<std::string> texts;
  for (std::vector<std::string> some = lines.next(); !some.empty() && texts.size() < most_texts; some = lines.next()) {
    for (std::string& line : some) {
      if (texts.size() < most_texts) texts.push_back(std::move(line));
    }
  }
  check(!texts.empty(), "explain: {} holds no line", argument);
  return texts;
}

std::string token_table(const Explanation& e) {
  std::vector<std::vector<std::string>> rows{{"token", "pooling", "integrated gradients"}};
  for (std::size_t i = 0; i < e.tokens.size(); ++i) {
    rows.push_back({shortened(e.tokens[i], 30), e.pooling.empty() ? "" : fmt::format("{:.1f}%", 100 * e.pooling[i]),
                    fmt::format("{:+.3f}", e.contributions[i])});
  }
  return text_table(rows);
}

}  // namespace

void run(const ExplainCommand& command) {
  const TrainedClassifier trained = load_model(command.model, command.device);
  std::vector<Explanation> explanations;
  for (const std::string& text : texts_of(command.text))
    explanations.push_back(explain(trained, text, command.steps, command.device));
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Explanation& e : explanations) {
    json.push_back(to_json(e, trained.labels));
    const auto predicted = static_cast<std::size_t>(e.predicted);
    say(command.output, "{} ({:.1f}%)\n\n{}", trained.labels[predicted], 100 * e.probabilities[predicted],
        token_table(e));
  }
  write_json(command.output, json.size() == 1 ? json.front() : json);
  write_file(command.output.report,
             render_explanations(explanations, trained.labels, "What the classifier looks at", facts_of(trained)));
  say(command.output, "Each layer and head is in {}: open it in a browser.", command.output.report);
}

}  // namespace heed::examples::classifier
