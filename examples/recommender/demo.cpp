// The demonstration: everything the program does, on data it brings along, in a few minutes.
#include "examples/common/progress.h"
#include "examples/common/text_table.h"
#include "examples/recommender/cinema.h"
#include "examples/recommender/presentation.h"

namespace heed::examples::recommender {
namespace {

Settings demo_settings(std::uint64_t seed) {
  Settings settings;
  settings.length = 50;
  settings.hidden = 128;
  settings.dropout = 0.2;
  settings.epochs = 9;
  settings.batch_events = 2500;
  settings.learning_rate = 2e-3;
  settings.seed = seed;
  return settings;
}

void show_person(const Output& output, const Report::Person& person) {
  say(output, "{}. The latest of what they saw:", person.name);
  std::string latest;
  for (std::size_t i = person.history.size() - std::min<std::size_t>(6, person.history.size());
       i < person.history.size(); ++i) {
    latest += "  " + person.history[i] + "\n";
  }
  say(output, "{}What they should see next, and why:", latest);
  for (std::size_t i = 0; i < std::min<std::size_t>(3, person.recommendations.size()); ++i) {
    const Report::Recommendation& recommended = person.recommendations[i];
    std::string reasons;
    for (const Report::Reason& reason : recommended.reasons) {
      if (reason.effect <= 0) continue;
      reasons += fmt::format("{}{} (attention {:.0f}%, effect {:+.2f})", reasons.empty() ? "" : ", ", reason.title,
                             100 * reason.attention, reason.effect);
    }
    say(output, "  {}. {}{}{}", i + 1, recommended.title, reasons.empty() ? "" : "\n     because of ", reasons);
  }
  say(output, "What they saw next in fact: {}\n", person.next);
}

}  // namespace

void run(const DemoCommand& command) {
  const Cinema cinema = simulate_cinema({.seed = command.seed});
  const Interactions& data = cinema.data;
  say(command.output,
      "A simulated cinema: {} visitors, {} films, {} visits. Visitors have moods, and a sequel is seen after the film "
      "it\n"
      "continues, however long ago that was: what comes next stands in the history, for whoever looks at the right "
      "place.",
      format_count(static_cast<double>(data.users())), format_count(static_cast<double>(data.items())),
      format_count(static_cast<double>(data.events.size())));
  CompareCommand compare_command;
  compare_command.settings = demo_settings(command.seed);
  compare_command.evaluation.seed = command.seed;
  compare_command.output = command.output;
  const Comparison comparison = compare(compare_command, data);
  say(command.output, "\nThe next film of {} visitors, among all {}; 95% intervals\n\n{}\n{}\n",
      format_count(static_cast<double>(comparison.users)), data.items(), to_text(comparison.table), concentration_text);
  const Report report = report_of(comparison, "The recommender at the simulated cinema");
  show_person(command.output, report.people.front());
  write_json(command.output, *comparison.json);
  write_report(command.output.report, report);
  say(command.output, "More pictures in {}: open it in a browser.", command.output.report);
}

}  // namespace heed::examples::recommender
