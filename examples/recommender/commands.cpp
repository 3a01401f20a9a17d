#include "examples/recommender/commands.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/file.h"
#include "engine/random.h"
#include "examples/common/progress.h"
#include "examples/common/text.h"
#include "examples/common/text_table.h"
#include "examples/recommender/cinema.h"
#include "examples/recommender/presentation.h"
#include "examples/recommender/report.h"
#include "nn/checkpoint.h"

namespace heed::examples::recommender {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

std::string describe(const EvaluationSettings& settings) {
  if (settings.protocol == "sampled")
    return fmt::format("each target against {} sampled items (easier than full ranking)", settings.negatives);
  return fmt::format("full ranking, items already seen {}", settings.filter_seen ? "left out" : "kept");
}

// The data to evaluate or serve with: files seen with the model's eyes, or what it was trained on.
Interactions data_for(const TrainedModel& model, const DataOptions& options) {
  if (options.path.empty()) return model.data;
  std::int64_t unknown = 0;
  Interactions data = adopt(read_interactions(options.path, options.read), model.data, unknown);
  if (unknown > 0)
    note("left out {} events with items that the model does not know", format_count(static_cast<double>(unknown)));
  return data;
}

struct Pointwise {
  std::int64_t rows = 0;
  Estimate auc, log_loss;
  GroupedAuc gauc;
};

Pointwise pointwise(const std::vector<float>& logits, std::span<const Labelled> rows) {
  std::vector<std::uint8_t> labels;
  std::vector<std::int32_t> users;
  for (const Labelled& row : rows) {
    labels.push_back(row.positive ? 1 : 0);
    users.push_back(row.user);
  }
  return {static_cast<std::int64_t>(rows.size()), auc(logits, labels), log_loss(logits, labels),
          gauc(logits, labels, users)};
}

Json pointwise_json(const Pointwise& p) {
  return {{"auc", p.auc.value}, {"log_loss", p.log_loss.value}, {"gauc", p.gauc.value}};
}

void evaluate_attentive(const TrainedModel& model, const Interactions& data, const EvaluateCommand& command) {
  const GlobalTimeSplit split = split_by_time(data, model.settings.like_from);
  const Pointwise ours = pointwise(pointwise_logits(*model.ranker, data, split.test, model.settings), split.test);
  const LogisticRegression logistic(data, split.train);
  std::vector<float> logits;
  for (const Labelled& row : split.test)
    logits.push_back(logistic.logit(row.user, data.events[static_cast<std::size_t>(row.event)].item));
  const Pointwise baseline = pointwise(logits, split.test);

  const auto row = [](const std::string& name, const Pointwise& p) {
    return Report::Row{name, {p.auc, p.log_loss, {p.gauc.value, p.gauc.value, p.gauc.value}}};
  };
  const Report::Table table{fmt::format("{} later ratings: is it a like, {} or more?",
                                        format_count(static_cast<double>(ours.rows)), model.settings.like_from),
                            {{"AUC"}, {"log loss", true}, {"GAUC"}},
                            {row("attentive", ours), row("logistic regression on ids", baseline)}};
  say(command.output, "{} 95% intervals\n\n{}", table.title, to_text(table));
  write_json(command.output,
             {{"rows", ours.rows},
              {"protocol", "split by time 8:1:1"},
              {"like_from", model.settings.like_from},
              {"metrics", pointwise_json(ours)},
              {"ci95", {{"auc", {ours.auc.low, ours.auc.high}}, {"log_loss", {ours.log_loss.low, ours.log_loss.high}}}},
              {"baselines", {{"logistic", pointwise_json(baseline)}}}});
  if (command.output.report.empty()) return;
  Report report{.title = "Evaluation of the recommender", .facts = facts_of(model), .tables = {table}};
  report.people = people_of(model, data, 3, 5);
  write_report(command.output.report, report);
}

Report::Curve loss_curve(const std::string& name, const TrainingRecord& record) {
  Report::Curve curve{name, {}};
  for (std::size_t i = 0; i < record.losses.size(); ++i)
    curve.points.emplace_back(static_cast<double>(i + 1), record.losses[i]);
  return curve;
}

std::vector<Report::Curve> validation_curves(const std::string& name, const TrainingRecord& record) {
  std::map<std::string, Report::Curve> curves;
  for (const EpochRecord& epoch : record.epochs) {
    for (const auto& [metric, value] : epoch.validation) {
      Report::Curve& curve = curves[metric];
      curve.name = name;
      curve.metric = metric;
      curve.points.emplace_back(static_cast<double>(epoch.epoch), value);
    }
  }
  std::vector<Report::Curve> result;
  for (auto& [metric, curve] : curves) result.push_back(std::move(curve));
  return result;
}

}  // namespace

Interactions read_data(const DataOptions& options) {
  return options.path.empty() ? simulate_cinema().data : read_interactions(options.path, options.read);
}

TrainedModel train_model(Interactions data, const Settings& settings, const TrainingOptions& options) {
  manual_seed(settings.seed);
  TrainedModel model{settings, std::move(data), {}, nullptr};
  model.ranker = make_ranker(settings, model.data.users(), model.data.items());
  if (settings.model == "attentive") {
    model.record =
        train_attentive(*model.ranker, model.data, split_by_time(model.data, settings.like_from), settings, options);
  } else {
    model.record = train_sequential(*model.ranker, LeaveOneOut(model.data), settings, options);
  }
  return model;
}

void run(const TrainCommand& command) {
  // Before an hour of training, not after it.
  check(!command.folder.empty(), "train: --output names no folder");
  Interactions data = read_data(command.data);
  note_unless(command.output.quiet, "{}: {} users, {} items, {} events", data.source,
              format_count(static_cast<double>(data.users())), format_count(static_cast<double>(data.items())),
              format_count(static_cast<double>(data.events.size())));
  // Not inside the folder: that changes from the old model to the new one as a whole.
  fs::path checkpoint = fs::path(command.folder).lexically_normal();
  if (!checkpoint.has_filename()) checkpoint = checkpoint.parent_path();  // "model/"
  checkpoint += ".checkpoint";
  if (!command.resume && nn::has_checkpoint(checkpoint))
    note("{} holds a training that was interrupted (--resume goes on with it); starting anew", checkpoint.string());
  const TrainedModel model = train_model(std::move(data), command.settings,
                                         {.quiet = command.output.quiet,
                                          .validation = command.validation,
                                          .checkpoint = checkpoint,
                                          .resume = command.resume});
  save_model(command.folder, model);
  fs::remove_all(checkpoint);
  say(command.output, "trained in {}: {} parameters, loss {:.4f}; saved in {}", format_duration(model.record.seconds),
      format_count(static_cast<double>(model.record.parameters)), model.record.epochs.back().loss, command.folder);
  write_json(command.output, to_json(model.record));
  if (command.output.report.empty()) return;
  Report report{.title = "Training of the recommender", .facts = facts_of(model)};
  report.losses = {loss_curve(model.settings.model, model.record)};
  report.validations = validation_curves(model.settings.model, model.record);
  report.people = people_of(model, model.data, 3, 5);
  write_report(command.output.report, report);
}

void run(const EvaluateCommand& command) {
  const TrainedModel model = load_model(command.model);
  const Interactions data = data_for(model, command.data);
  if (model.settings.model == "attentive") return evaluate_attentive(model, data, command);
  const LeaveOneOut split(data);
  const Evaluation evaluation = evaluate(split, scorer_of(*model.ranker), command.settings);
  std::vector<RankingRow> rows{{"sequential", evaluation.model}};
  for (const auto& [baseline, metrics] : evaluation.baselines) rows.push_back({baseline, metrics});
  Report report{.title = "Evaluation of the recommender", .facts = facts_of(model)};
  report.tables.push_back(
      contest_table("The model and its baselines: " + describe(command.settings), command.settings.k, rows));
  say(command.output, "{} users, {}; 95% intervals\n\n{}", format_count(static_cast<double>(evaluation.model.users)),
      describe(command.settings), to_text(report.tables.back()));
  if (!command.settings.by.empty()) {
    std::vector<RankingRow> groups;
    for (const auto& [value, metrics] : evaluation.groups) {
      groups.push_back({fmt::format("{} = {}", command.settings.by, value.empty() ? "(unknown)" : value), metrics,
                        fmt::format("{} users", metrics.users)});
    }
    report.tables.push_back(ranking_table("Whom the model serves how well", command.settings.k, groups));
    say(command.output, "{}", to_text(report.tables.back()));
  }
  write_json(command.output, to_json(evaluation));
  if (!command.output.report.empty()) {
    report.people = people_of(model, data, 3, 5);
    write_report(command.output.report, report);
  }
}

namespace {

// One trained model of a comparison, and what can be said of it.
struct Contestant {
  std::string name;
  TrainedModel model;
  Evaluation evaluation;
  double concentration = 0;
};

Contestant contest(const std::string& name, const Interactions& data, const CompareCommand& command, bool attention) {
  note_unless(command.output.quiet, "\ntraining with {}", name);
  Settings settings = command.settings;
  settings.attention = attention;
  Contestant contestant{
      name, train_model(data, settings, {.quiet = command.output.quiet, .validation = command.evaluation}), {}, 0};
  contestant.evaluation = evaluate(LeaveOneOut(data), scorer_of(*contestant.model.ranker), command.evaluation);
  contestant.concentration = concentration(*contestant.model.ranker, data, 200);
  return contestant;
}

}  // namespace

Comparison compare(const CompareCommand& command, const Interactions& data) {
  check(command.settings.model == "sequential", "compare: the sequential model only");
  Comparison comparison;
  comparison.json = std::make_shared<Json>();
  std::vector<RankingRow> rows;
  Contestant attention = contest("attention", data, command, true);
  const Contestant pooling = contest("mean pooling", data, command, false);
  for (const Contestant* c : {static_cast<const Contestant*>(&attention), &pooling}) {
    rows.push_back(
        {c->name, c->evaluation.model,
         fmt::format("{} to train, concentration {:.2f}", format_duration(c->model.record.seconds), c->concentration)});
    comparison.losses.push_back(loss_curve(c->name, c->model.record));
    for (Report::Curve& curve : validation_curves(c->name, c->model.record))
      comparison.validations.push_back(std::move(curve));
    (*comparison.json)["models"][c->name] = {{"evaluation", to_json(c->evaluation)},
                                             {"training_seconds", c->model.record.seconds},
                                             {"parameters", c->model.record.parameters},
                                             {"attention_concentration", c->concentration}};
  }
  for (const auto& [name, metrics] : attention.evaluation.baselines) rows.push_back({name, metrics});
  comparison.table = contest_table("With attention, with mean pooling in its place, and the baselines",
                                   command.evaluation.k, std::move(rows));
  comparison.users = attention.evaluation.model.users;
  comparison.attention = std::move(attention.model);
  return comparison;
}

void run(const CompareCommand& command) {
  const Interactions data = read_data(command.data);
  const Comparison comparison = compare(command, data);
  say(command.output, "\n{} users, {}; 95% intervals\n\n{}\n{}", format_count(static_cast<double>(comparison.users)),
      describe(command.evaluation), to_text(comparison.table), concentration_text);
  write_json(command.output, *comparison.json);
  if (!command.output.report.empty()) write_report(command.output.report, report_of(comparison, "What attention buys"));
}

}  // namespace heed::examples::recommender
