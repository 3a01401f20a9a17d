// The attention recommender: train, evaluate, recommend, explain, compare; `demo` shows all of it on data it brings along.
#include <omp.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>

#include "engine/file.h"
#include "engine/random.h"
#include "examples/recommender/commands.h"

namespace heed::recommender {
namespace {

// What every verb takes.
struct CommonOptions {
  std::uint64_t seed = 1;
  int threads = 0;
  std::string device = "cpu";
  Output output;
};

void add_common(CLI::App& verb, CommonOptions& common) {
  verb.add_option("--seed", common.seed, "Seed of everything random")->capture_default_str();
  verb.add_option("--threads", common.threads, "Threads; 0: one per core. Results do not depend on it")
      ->capture_default_str();
  verb.add_option("--device", common.device, "Where to compute: cpu, cuda or cuda:N")->capture_default_str();
  verb.add_option("--json", common.output.json, "Write the result as JSON to this file, - for standard output");
  verb.add_flag("--quiet", common.output.quiet, "No progress on standard error");
}

void add_data(CLI::App& verb, DataOptions& data, const std::string& without) {
  verb.add_option("--data", data.path, "A file or folder of interactions. Without it: " + without);
  std::string names;
  for (const std::string& name : format_names()) names += (names.empty() ? "" : ", ") + name;
  verb.add_option("--format", data.read.format, "Its layout: auto, " + names)->capture_default_str();
  verb.add_option("--user-column", data.read.user_column, "csv: the column of user ids, under another name than usual");
  verb.add_option("--item-column", data.read.item_column, "csv: the column of item ids");
  verb.add_option("--rating-column", data.read.rating_column, "csv: the column of ratings");
  verb.add_option("--timestamp-column", data.read.timestamp_column, "csv: the column of times");
  verb.add_option("--items-file", data.read.items_file, "A file that describes the items, with a header");
  verb.add_option("--users-file", data.read.users_file, "A file that describes the users, with a header");
}

// Flags that override settings: each becomes an entry of a JSON object that settings_from_json reads over the preset.
struct SettingFlags {
  std::string preset;
  nlohmann::json overrides = nlohmann::json::object();
};

void add_settings(CLI::App& verb, SettingFlags& flags) {
  verb.add_option("--preset", flags.preset,
                  "Settings tuned for a data set, by name (ml-100k, video-games) or a JSON file; flags override it");
  const auto add = [&](const std::string& flag, const std::string& name, auto type, const std::string& help) {
    using Type = decltype(type);
    verb.add_option_function<Type>(
            flag, [&flags, name](const Type& value) { flags.overrides[name] = value; }, help)
        ->group("Settings");
  };
  add("--model", "model", std::string(), "sequential (what comes next) or attentive (would they like it)");
  add("--length", "length", std::int64_t(), "Events of history that the model looks at");
  add("--width", "width", std::int64_t(), "Width of embeddings and hidden states");
  add("--layers", "layers", std::int64_t(), "Transformer layers");
  add("--heads", "heads", std::int64_t(), "Attention heads");
  add("--hidden", "hidden", std::int64_t(), "Width of the hidden layers");
  add("--attention", "attention", bool(), "false: mean pooling in its place");
  add("--repeat-aware", "repeat_aware", bool(), "sequential: learn whether items are met again");
  add("--dropout", "dropout", double(), "Dropout probability");
  add("--loss", "loss", std::string(), "sequential: softmax, sampled, bce or gbce");
  add("--loss-negatives", "negatives", std::int64_t(), "Items drawn per batch for the losses but softmax");
  add("--label-smoothing", "label_smoothing", double(), "Label smoothing of the softmax loss");
  add("--like-from", "like_from", double(), "attentive: a rating from here on is a like");
  add("--epochs", "epochs", std::int64_t(), "Passes over the data");
  add("--batch-events", "batch_events", std::int64_t(), "Events in a batch, about");
  add("--learning-rate", "learning_rate", double(), "Peak of the learning rate");
  add("--weight-decay", "weight_decay", double(), "Weight decay of AdamW");
  add("--fit-validation", "fit_validation", bool(), "Train on the validation events too");
}

Settings settings_of(const SettingFlags& flags, std::uint64_t seed) {
  Settings settings;
  if (!flags.preset.empty()) {
    std::filesystem::path path = flags.preset;
    if (!path.has_extension()) path = std::filesystem::path(HEED_PRESETS) / (flags.preset + ".json");
    if (!std::filesystem::exists(path)) {
      std::string known;
      for (const auto& entry : std::filesystem::directory_iterator(HEED_PRESETS))
        known += " " + entry.path().stem().string();
      fail("preset '{}' is neither a file nor one of:{}", flags.preset, known);
    }
    settings = settings_from_json(nlohmann::json::parse(read_file(path)), settings);
  }
  settings.seed = seed;
  settings = settings_from_json(flags.overrides, settings);
  check_settings(settings);
  return settings;
}

void add_evaluation(CLI::App& verb, EvaluationSettings& settings) {
  verb.add_option("--protocol", settings.protocol,
                  "full (rank among all items) or sampled (among --negatives never met)")
      ->check(CLI::IsMember({"full", "sampled"}))
      ->capture_default_str();
  verb.add_option("--negatives", settings.negatives, "sampled: how many items the target competes with")
      ->capture_default_str();
  verb.add_flag("--filter-seen", settings.filter_seen, "Leave what the user has met out of the ranking");
  verb.add_option("--k", settings.k, "Length of the list that counts as a hit")->capture_default_str();
}

void add_person(CLI::App& verb, PersonOptions& person) {
  verb.add_option("--user", person.user, "A user of the data, by id");
  verb.add_option("--history", person.history,
                  "Or what somebody new has met: item ids, oldest first, as \"id,id,...\"");
  verb.add_option("--ignore", person.ignored,
                  "Item ids of the history that the model must not look at, as \"id,id,...\"");
}

int run_program(int argc, char** argv) {
  CLI::App app("An attention recommender: learns what people meet next, or like, from what they met before.",
               "recommender");
  app.require_subcommand(1);
  app.fallthrough(false);
  CommonOptions common;
  SettingFlags flags;
  std::function<void()> action;

  DemoCommand demo;
  CLI::App* demo_verb = app.add_subcommand("demo", "Train on a simulated cinema, compare, explain, and write a report");
  add_common(*demo_verb, common);
  common.output.report = "";
  demo_verb->add_option("--report", common.output.report,
                        "Where the HTML report goes (default: heed-recommender.html)");
  demo_verb->callback([&] {
    action = [&] {
      demo.seed = common.seed;
      demo.output = common.output;
      if (demo.output.report.empty()) demo.output.report = "heed-recommender.html";
      run(demo);
    };
  });

  TrainCommand train;
  CLI::App* train_verb = app.add_subcommand("train", "Train a model and save it in a folder");
  add_data(*train_verb, train.data, "a simulated cinema");
  train_verb->add_option("--output", train.folder, "The folder for the trained model")->required();
  train_verb->add_flag("--resume", train.resume,
                       "Go on with the training for this --output that was interrupted, from its last whole epoch");
  train_verb->add_option("--report", common.output.report, "Write an HTML report to this file");
  add_evaluation(*train_verb, train.validation);
  add_settings(*train_verb, flags);
  add_common(*train_verb, common);
  train_verb->callback([&] {
    action = [&] {
      train.settings = settings_of(flags, common.seed);
      train.output = common.output;
      run(train);
    };
  });

  EvaluateCommand evaluate;
  CLI::App* evaluate_verb = app.add_subcommand("evaluate", "How well a model ranks, beside the baselines");
  evaluate_verb->add_option("--model", evaluate.model, "The folder of a trained model")->required();
  add_data(*evaluate_verb, evaluate.data, "the data the model was trained on");
  evaluate_verb->add_option("--by", evaluate.settings.by,
                            "A column of the users' file: figures for each of its values too");
  evaluate_verb->add_option("--report", common.output.report, "Write an HTML report to this file");
  add_evaluation(*evaluate_verb, evaluate.settings);
  add_common(*evaluate_verb, common);
  evaluate_verb->callback([&] {
    action = [&] {
      evaluate.settings.seed = common.seed;
      evaluate.output = common.output;
      run(evaluate);
    };
  });

  RecommendCommand recommend;
  for (const bool explain : {false, true}) {
    CLI::App* verb = app.add_subcommand(
        explain ? "explain" : "recommend",
        explain ? "Recommend, and say which of the history mattered" : "What somebody should meet next");
    verb->add_option("--model", recommend.model, "The folder of a trained model")->required();
    add_data(*verb, recommend.data, "the data the model was trained on");
    add_person(*verb, recommend.person);
    verb->add_option("--k", recommend.k, "How many items")->capture_default_str()->check(CLI::PositiveNumber);
    verb->add_flag("--include-seen", recommend.include_seen, "Also what they have met already");
    add_common(*verb, common);
    verb->callback([&, explain] {
      action = [&, explain] {
        recommend.explain = explain;
        recommend.output = common.output;
        run(recommend);
      };
    });
  }

  CompareCommand compare;
  CLI::App* compare_verb =
      app.add_subcommand("compare", "What attention buys: the same model with and without, and the baselines");
  add_data(*compare_verb, compare.data, "a simulated cinema");
  compare_verb->add_option("--report", common.output.report, "Write an HTML report to this file");
  add_evaluation(*compare_verb, compare.evaluation);
  add_settings(*compare_verb, flags);
  add_common(*compare_verb, common);
  compare_verb->callback([&] {
    action = [&] {
      compare.settings = settings_of(flags, common.seed);
      compare.evaluation.seed = common.seed;
      compare.output = common.output;
      run(compare);
    };
  });

  CLI11_PARSE(app, argc, argv);
  set_default_device(parse_device(common.device));
  check(common.threads >= 0, "--threads {}: not a number of threads", common.threads);
  if (common.threads > 0) omp_set_num_threads(common.threads);
  manual_seed(common.seed);
  action();
  return 0;
}

}  // namespace
}  // namespace heed::recommender

int main(int argc, char** argv) {
  try {
    return heed::recommender::run_program(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "recommender: %s\n", error.what());
    return 1;
  }
}
