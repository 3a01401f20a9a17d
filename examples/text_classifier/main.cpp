// The text classifier: train, test, predict, explain, export, tokenize; `demo` shows it on data it brings along.
#include <functional>
#include <memory>

#include "engine/joined.h"
#include "examples/common/command_line.h"
#include "examples/common/settings_json.h"
#include "examples/text_classifier/commands.h"

namespace heed::examples::classifier {
namespace {

void add_data(CLI::App& verb, ReadOptions& read) {
  verb.add_option("--format", read.format, "Layout of the data: auto, " + joined(formats(), ", "))
      ->capture_default_str();
  verb.add_option("--text-column", read.text_column,
                  "tsv, csv: the text's column, by name or by number from 1; jsonl: its key");
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
  add("--piece-dropout", "piece_dropout", double(), "Probability that training takes smaller pieces of a word");
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

// The program's verbs, and what is common to them. A verb's flags fill a command; once all are read it is carried out.
class Program {
 public:
  Program() {
    app_.require_subcommand(1);
    add_demo();
    add_train();
    add_test();
    add_predict();
    add_explain();
    add_export();
    add_tokenize();
  }

  int run(int argc, char** argv) {
    CLI11_PARSE(app_, argc, argv);
    apply(common_);
    action_();
    return 0;
  }

 private:
  // `complete` does what is left to do when all flags are known.
  template <class Command>
  std::pair<CLI::App*, std::shared_ptr<Command>> add(
      const std::string& name, const std::string& help, std::function<void(Command&)> complete = [](Command&) {}) {
    CLI::App* verb = app_.add_subcommand(name, help);
    auto command = std::make_shared<Command>();
    verb->callback([this, command, complete] {
      action_ = [this, command, complete] {
        if constexpr (requires { command->device; }) command->device = device_of(common_);
        if constexpr (requires { command->output; }) command->output = common_.output;
        complete(*command);
        classifier::run(*command);
      };
    });
    return {verb, command};
  }

  // A verb that writes a page.
  template <class Command>
  auto add_with_page(const std::string& name, const std::string& help, const std::string& flag,
                     const std::string& page) {
    const auto made = add<Command>(name, help, [page](Command& command) {
      if (command.output.report.empty()) command.output.report = page;
    });
    made.first->add_option(flag, common_.output.report, fmt::format("Where the HTML page goes (default: {})", page));
    return made;
  }

  // A verb that answers line by line.
  template <class Command>
  auto add_with_lines(const std::string& name, const std::string& help, const std::string& json_help) {
    auto flags = std::make_shared<LineFlags>();
    const auto made = add<Command>(name, help, [flags](Command& command) { flags->fill(command); });
    flags->add(*made.first, json_help);
    return made;
  }

  static void add_model(CLI::App& verb, std::string& model) {
    verb.add_option("--model", model, "The folder of a trained classifier")->required();
  }

  void add_demo() {
    const auto [verb, demo] = add_with_page<DemoCommand>("demo", "Train on generated reviews, compare, and explain",
                                                         "--report", "heed-classifier.html");
    add_common(*verb, common_);
  }

  void add_train() {
    const auto [verb, train] =
        add<TrainCommand>("train", "Train a classifier and save it in a folder",
                          [this](TrainCommand& command) { command.settings = settings_of(settings_, common_.seed); });
    verb->add_option("--train", train->train, "Labelled texts; -: standard input")->required();
    verb->add_option("--dev", train->dev, "Labelled texts to choose the best epoch by; without: a share of --train");
    verb->add_option("--output", train->folder, "The folder for the trained model")->required();
    verb->add_flag("--resume", train->resume, "Go on with the training for this --output that was interrupted");
    verb->add_option("--save-every", train->save_every,
                     "Seconds after which an interrupted training loses no more; 0: saves after epochs alone")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    add_data(*verb, train->read);
    add_settings(*verb, settings_);
    add_common(*verb, common_);
  }

  void add_test() {
    const auto [verb, test] = add<TestCommand>("test", "How often a classifier is right");
    add_model(*verb, test->model);
    verb->add_option("--data", test->data, "Labelled texts; -: standard input")->required();
    add_data(*verb, test->read);
    add_common(*verb, common_);
  }

  void add_predict() {
    const auto [verb, predict] =
        add_with_lines<PredictCommand>("predict", "The class of each line of a text, and its probability",
                                       "A line of JSON each, with all probabilities; to a file if it is named");
    add_model(*verb, predict->model);
    add_machine(*verb, common_);
  }

  void add_explain() {
    const auto [verb, explain] = add_with_page<ExplainCommand>(
        "explain", "What a classifier looks at, as a page to open in a browser", "--output", "heed-explanation.html");
    add_model(*verb, explain->model);
    verb->add_option("TEXT", explain->text, "The text; or a file, whose first lines are explained")->required();
    verb->add_option("--steps", explain->steps, "Steps of the integrated gradients")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    verb->add_option("--json", common_.output.json,
                     "All of it as JSON, in BertViz's shape, to this file; - for standard output");
    add_machine(*verb, common_);
  }

  void add_export() {
    const auto [verb, command] =
        add<ExportCommand>("export", "Write a trained classifier as a folder for transformers");
    add_model(*verb, command->model);
    verb->add_option("--output", command->folder, "The folder to write")->required();
    verb->add_option("--json", common_.output.json, "Write the result as JSON to this file, - for standard output");
  }

  void add_tokenize() {
    const auto [verb, tokenize] = add_with_lines<TokenizeCommand>(
        "tokenize", "The tokens of each line of a text",
        "A line of JSON each, ids and offsets in code points; to a file if it is named");
    verb->add_option("--encoder", tokenize->encoder, "A folder with a tokenizer, or a trained classifier's")
        ->required();
  }

  CLI::App app_{"A text classifier: text in, class out, with attention that can be looked at.", "classifier"};
  CommonOptions common_;
  SettingFlags settings_;
  std::function<void()> action_;
};

}  // namespace
}  // namespace heed::examples::classifier

int main(int argc, char** argv) {
  using namespace heed::examples;
  return guarded("classifier", [&] { return classifier::Program().run(argc, argv); });
}
