// The demonstration: everything the program does, on data it brings along, in about a minute.
#include "engine/file.h"
#include "engine/json.h"

#include "examples/common/text_table.h"
#include "examples/text_classifier/commands.h"
#include "examples/text_classifier/explanation.h"
#include "examples/text_classifier/reviews.h"

namespace heed::examples::classifier {
namespace {

Settings demo_settings(std::uint64_t seed) {
  Settings settings;
  settings.epochs = 8;
  settings.learning_rate = 2e-3;
  settings.word_dropout = 0.05;
  settings.seed = seed;
  return settings;
}

const std::vector<std::string> shown = {
    "The guide had called the soup delicious, but to us it was bland.",
    "To us the soup was delicious, although the guide had called it bland.",
    "The fish was not terrible.",
};

}  // namespace

void run(const DemoCommand& command) {
  constexpr std::int64_t train_count = 4000, dev_count = 1000;
  Corpus corpus = generate_reviews(command.seed, train_count + dev_count);
  Corpus dev{corpus.source, corpus.labels, {corpus.examples.begin() + train_count, corpus.examples.end()}};
  corpus.examples.resize(train_count);
  say(command.output,
      "{} reviews of restaurants, made up: is it praise or complaint? What others said and what was expected stand in "
      "them\ntoo, so counting words does not tell. Such as, a {}:\n  {}\n",
      format_count(train_count), corpus.labels[static_cast<std::size_t>(corpus.examples[2].label)],
      corpus.examples[2].text);
  const Contest contest = train_contest(corpus, dev, demo_settings(command.seed),
                                        {.quiet = command.output.quiet, .device = command.device});
  say(command.output, "On {} other reviews:\n\n{}", format_count(dev_count), contest_table(contest));

  std::vector<Explanation> explanations;
  std::vector<std::vector<std::string>> rows{{"", "", "", "what speaks for it, and by how much (log odds)"}};
  for (const std::string& text : shown) {
    const Explanation& e = explanations.emplace_back(explain(contest.trained, text, 50, command.device));
    std::vector<std::size_t> order(e.tokens.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return e.contributions[a] > e.contributions[b]; });
    std::string reasons;
    for (std::size_t i = 0; i < std::min<std::size_t>(3, order.size()); ++i) {
      if (e.contributions[order[i]] < 0.1f * e.contributions[order[0]]) break;  // says next to nothing
      reasons +=
          fmt::format("{}{} {:+.1f}", reasons.empty() ? "" : ", ", e.tokens[order[i]], e.contributions[order[i]]);
    }
    const auto predicted = static_cast<std::size_t>(e.predicted);
    rows.push_back({text, corpus.labels[predicted], fmt::format("{:.1f}%", 100 * e.probabilities[predicted]), reasons});
  }
  say(command.output, "{}", text_table(rows, {1, 3}));
  nlohmann::ordered_json json = {{"dev", to_json(contest.dev, corpus.labels)},
                                 {"baseline", parse_json(contest.trained.baseline)},
                                 {"seconds", contest.trained.record.seconds}};
  write_json(command.output, json);
  write_file(command.output.report, render_explanations(explanations, corpus.labels, "What the classifier looks at",
                                                        facts_of(contest.trained)));
  say(command.output, "Attention, layer by layer, is in {}: open it in a browser.", command.output.report);
}

}  // namespace heed::examples::classifier
