// The text classifier: train, test, predict, explain, export, tokenize; `demo` shows it on data it brings along.
#include "examples/common/command_line.h"
#include "examples/common/settings_json.h"
#include "examples/text_classifier/commands.h"

namespace heed::examples::classifier {
namespace {

void add_data(CLI::App& verb, ReadOptions& read) {
  verb.add_option("--format", read.format, fmt::format("Layout of the data: auto, {}", fmt::join(formats(), ", ")))
      ->capture_default_str();
  verb.add_option("--text-column", read.text_column, "tsv, csv: the text's column, by name or number; jsonl: its key");
  verb.add_option("--label-column", read.label_column, "tsv, csv: the label's column; jsonl: its key");
}

void add_settings(CLI::App& verb, SettingFlags& flags) {
  verb.add_option("--preset", flags.preset,
                  "Tuned settings, by name (sst2, trec, sst2-minilm, trec-minilm) or a JSON file; flags override them");
  const auto add = [&](const std::string& flag, const std::string& name, auto type, const std::string& help) {
    add_setting<decltype(type)>(verb, flags, flag, name, help);
  };
  add("--encoder", "encoder", std::string(),
      "tiny (from scratch), bag (average of token vectors), or a folder with a pretrained BERT");
  add("--layers", "layers", std::int64_t(), "tiny: transformer layers");
  add("--heads", "heads", std::int64_t(), "tiny: attention heads");
  add("--width", "width", std::int64_t(), "tiny, bag: width of embeddings and hidden states");
  add("--hidden", "hidden", std::int64_t(), "tiny: width of the feed-forward layers");
  add("--vocabulary", "vocabulary", std::int64_t(), "tiny, bag: word pieces to learn, at most");
  add("--min-frequency", "min_frequency", std::int64_t(),
      "tiny, bag: pieces are joined that occur together this often");
  add("--lowercase", "lowercase", bool(), "tiny, bag: false keeps capitals and accents");
  add("--length", "length", std::int64_t(), "Tokens of a text that the model reads");
  add("--window", "window", std::int64_t(), "Sliding-window attention: how far a token sees; -1: everywhere");
  add("--pooling", "pooling", std::string(), "attention, cls, mean or max");
  add("--dropout", "dropout", double(), "Dropout of the encoder");
  add("--attention-dropout", "attention_dropout", double(), "Dropout of the encoder's attention weights");
  add("--pooled-dropout", "pooled_dropout", double(), "Dropout of the text's vector");
  add("--word-dropout", "word_dropout", double(), "Share of the tokens that training hides");
  add("--frozen", "frozen", bool(), "true: a pretrained encoder keeps its weights");
  add("--epochs", "epochs", std::int64_t(), "Passes over the data");
  add("--batch", "batch", std::int64_t(), "Texts in a batch");
  add("--learning-rate", "learning_rate", double(), "Peak of the learning rate");
  add("--head-learning-rate", "head_learning_rate", double(), "The same for what follows the encoder");
  add("--layer-decay", "layer_decay", double(), "Factor of the learning rate from each layer to the one below");
  add("--weight-decay", "weight_decay", double(), "Weight decay of AdamW");
  add("--warm-up", "warm_up", double(), "Share of the steps over which the learning rate rises");
  add("--clip-norm", "clip_norm", double(), "Largest norm of the gradients; 0: any");
  add("--average", "average", double(), "Decay per step of a moving average of the weights; 0: none");
  add("--label-smoothing", "label_smoothing", double(), "Label smoothing");
  add("--balanced", "balanced", bool(), "true: rare classes count as much as frequent ones");
  add("--patience", "patience", std::int64_t(), "Stop after so many epochs without gain on dev; 0: never");
  add("--dev-share", "dev_share", double(), "Without --dev: the share of the training data that serves as dev");
}

Settings settings_of(const SettingFlags& flags, std::uint64_t seed) {
  Settings settings;
  if (!flags.preset.empty())
    settings = settings_from_json(read_preset(flags.preset, HEED_CLASSIFIER_PRESETS), settings);
  settings.seed = seed;
  settings = settings_from_json(flags.overrides, settings);
  if (settings.encoder == "bag") settings.pooling = "mean";
  check_settings(settings);
  return settings;
}

// FILE and --json [TARGET] of the verbs that answer line by line. `--json FILE` alone is taken for the input: the answers
// go to standard output.
struct LineFlags {
  std::string input, target;
  CLI::Option* json = nullptr;

  void add(CLI::App& verb, const std::string& help) {
    verb.add_option("FILE", input, "Text, line by line; -: standard input, as without it");
    json = verb.add_option("--json", target, help)->expected(0, 1);
  }
  template <class Command>
  void fill(Command& command) const {
    command.json = json->count() > 0;
    command.input = input.empty() ? "-" : input;
    if (target.empty()) return;
    if (input.empty()) {
      command.input = target;
    } else {
      command.target = target;
    }
  }
};

void add_machine(CLI::App& verb, CommonOptions& common) {
  verb.add_option("--threads", common.threads, "Threads; 0: one per core. Results do not depend on it")
      ->capture_default_str();
  verb.add_option("--device", common.device, "Where to compute: cpu, cuda or cuda:N")->capture_default_str();
}

int run_program(int argc, char** argv) {
  CLI::App app("A text classifier: text in, class out, with attention that can be looked at.", "classifier");
  app.require_subcommand(1);
  CommonOptions common;
  SettingFlags flags;
  std::function<void()> action;

  DemoCommand demo;
  CLI::App* demo_verb = app.add_subcommand("demo", "Train on generated reviews, compare, and explain");
  add_common(*demo_verb, common);
  demo_verb->add_option("--report", common.output.report, "Where the HTML page goes (default: heed-classifier.html)");
  demo_verb->callback([&] {
    action = [&] {
      demo.seed = common.seed;
      demo.device = device_of(common);
      demo.output = common.output;
      if (demo.output.report.empty()) demo.output.report = "heed-classifier.html";
      run(demo);
    };
  });

  TrainCommand train;
  CLI::App* train_verb = app.add_subcommand("train", "Train a classifier and save it in a folder");
  train_verb->add_option("--train", train.train, "Labelled texts; -: standard input")->required();
  train_verb->add_option("--dev", train.dev, "Labelled texts to choose the best epoch by; without: a share of --train");
  train_verb->add_option("--output", train.folder, "The folder for the trained model")->required();
  train_verb->add_flag("--resume", train.resume, "Go on with the training for this --output that was interrupted");
  add_data(*train_verb, train.read);
  add_settings(*train_verb, flags);
  add_common(*train_verb, common);
  train_verb->callback([&] {
    action = [&] {
      train.settings = settings_of(flags, common.seed);
      train.device = device_of(common);
      train.output = common.output;
      run(train);
    };
  });

  TestCommand test;
  CLI::App* test_verb = app.add_subcommand("test", "How often a classifier is right");
  test_verb->add_option("--model", test.model, "The folder of a trained classifier")->required();
  test_verb->add_option("--data", test.data, "Labelled texts; -: standard input")->required();
  add_data(*test_verb, test.read);
  add_common(*test_verb, common);
  test_verb->callback([&] {
    action = [&] {
      test.device = device_of(common);
      test.output = common.output;
      run(test);
    };
  });

  PredictCommand predict;
  LineFlags predict_flags;
  CLI::App* predict_verb = app.add_subcommand("predict", "The class of each line of a text, and its probability");
  predict_verb->add_option("--model", predict.model, "The folder of a trained classifier")->required();
  predict_flags.add(*predict_verb, "A line of JSON each, with all probabilities; to a file if it is named");
  add_machine(*predict_verb, common);
  predict_verb->callback([&] {
    action = [&] {
      predict_flags.fill(predict);
      predict.device = device_of(common);
      run(predict);
    };
  });

  ExplainCommand explain;
  CLI::App* explain_verb = app.add_subcommand("explain", "What a classifier looks at, as a page to open in a browser");
  explain_verb->add_option("--model", explain.model, "The folder of a trained classifier")->required();
  explain_verb->add_option("TEXT", explain.text, "The text; or a file, whose first lines are explained")->required();
  explain_verb->add_option("--output", common.output.report, "The page (default: heed-explanation.html)");
  explain_verb->add_option("--steps", explain.steps, "Steps of the integrated gradients")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  explain_verb->add_option("--json", common.output.json,
                           "All of it as JSON, in BertViz's shape, to this file; - for standard output");
  add_machine(*explain_verb, common);
  explain_verb->callback([&] {
    action = [&] {
      explain.device = device_of(common);
      explain.output = common.output;
      if (explain.output.report.empty()) explain.output.report = "heed-explanation.html";
      run(explain);
    };
  });

  ExportCommand export_command;
  CLI::App* export_verb = app.add_subcommand("export", "Write a trained classifier as a folder for transformers");
  export_verb->add_option("--model", export_command.model, "The folder of a trained classifier")->required();
  export_verb->add_option("--output", export_command.folder, "The folder to write")->required();
  export_verb->add_option("--json", common.output.json, "Write the result as JSON to this file, - for standard output");
  export_verb->callback([&] {
    action = [&] {
      export_command.output = common.output;
      run(export_command);
    };
  });

  TokenizeCommand tokenize;
  LineFlags tokenize_flags;
  CLI::App* tokenize_verb = app.add_subcommand("tokenize", "The tokens of each line of a text");
  tokenize_verb->add_option("--encoder", tokenize.encoder, "A folder with a tokenizer, or a trained classifier's")
      ->required();
  tokenize_flags.add(*tokenize_verb, "A line of JSON each, ids and offsets in code points; to a file if it is named");
  tokenize_verb->callback([&] {
    action = [&] {
      tokenize_flags.fill(tokenize);
      run(tokenize);
    };
  });

  CLI11_PARSE(app, argc, argv);
  apply(common);
  action();
  return 0;
}

}  // namespace
}  // namespace heed::examples::classifier

int main(int argc, char** argv) {
  using namespace heed::examples;
  return guarded("classifier", [&] { return classifier::run_program(argc, argv); });
}
