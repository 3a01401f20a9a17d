#include "examples/text_classifier/commands.h"

#include <cstdio>

#include "engine/error.h"
#include "engine/file.h"
#include "engine/json.h"
#include "examples/common/progress.h"
#include "examples/common/text_table.h"
#include "examples/text_classifier/lines.h"

namespace heed::examples::classifier {
namespace {

namespace fs = std::filesystem;

std::string compact(const Json& json) {
  return json_text(json, -1, NotUtf8::replace);
}

// Where lines of results go: standard output, or a file.
class LineSink {
 public:
  explicit LineSink(const std::string& path) : file_(path == "-" ? stdout : std::fopen(path.c_str(), "wb")) {
    check(file_ != nullptr, "{}: cannot write it", path);
  }
  ~LineSink() {
    if (file_ != stdout) std::fclose(file_);
  }
  LineSink(const LineSink&) = delete;
  LineSink& operator=(const LineSink&) = delete;

  void write(std::string line) {
    line += '\n';
    std::fwrite(line.data(), 1, line.size(), file_);
  }
  // What was written so far is on its way. Throws when nobody takes it.
  void flush() { check(std::fflush(file_) == 0, "cannot write the result"); }

 private:
  std::FILE* file_;
};

// Calls answer(lines) with the lines as they arrive; it returns one line of the result for each.
template <class Answer>
void line_by_line(const std::string& input, const std::string& target, Answer&& answer) {
  LineStream lines(input);
  LineSink sink(target);
  for (std::vector<std::string> some = lines.next(); !some.empty(); some = lines.next()) {
    for (std::string& line : answer(some)) sink.write(std::move(line));
    sink.flush();
  }
}

std::string class_table(const Evaluation& evaluation, const std::vector<std::string>& labels) {
  std::vector<std::vector<std::string>> rows{{"class", "precision", "recall", "F1", "examples"}};
  for (std::size_t c = 0; c < labels.size(); ++c) {
    const ClassScore& score = evaluation.per_class[c];
    rows.push_back({shortened(labels[c], 30), fmt::format("{:.4f}", score.precision),
                    fmt::format("{:.4f}", score.recall), fmt::format("{:.4f}", score.f1),
                    std::to_string(score.support)});
  }
  return text_table(rows);
}

std::string confusion_table(const Evaluation& evaluation, const std::vector<std::string>& labels) {
  std::vector<std::vector<std::string>> rows{{"is \\ called"}};
  for (std::size_t c = 0; c < labels.size(); ++c) {
    rows.front().push_back(shortened(labels[c], 12));
    rows.push_back({shortened(labels[c], 30)});
    for (const std::int64_t count : evaluation.confusion[c]) rows.back().push_back(std::to_string(count));
  }
  return text_table(rows);
}

void check_folder(const std::string& folder) {
  check(!folder.empty(), "train: --output names no folder");
  check(!fs::exists(folder) || fs::is_empty(folder) || fs::exists(fs::path(folder) / "settings.json"),
        "train: {} is there already and is no model", folder);
}

}  // namespace

void run(const TrainCommand& command) {
  check_folder(command.folder);  // before an hour of training, not after it
  Corpus corpus = read_corpus(command.train, command.read);
  ReadOptions read_dev = command.read;
  read_dev.labels = corpus.labels;
  const Corpus dev = command.dev.empty() ? split_off(corpus, command.settings.dev_share, command.settings.seed)
                                         : read_corpus(command.dev, read_dev);
  if (!corpus.columns.empty()) note_unless(command.output.quiet, "{}: {}", corpus.source, corpus.columns);
  note_unless(command.output.quiet, "{}: {} texts to train on, {} to choose by, {} classes", corpus.source,
              format_count(static_cast<double>(corpus.examples.size())),
              format_count(static_cast<double>(dev.examples.size())), corpus.labels.size());
  // Not inside the folder: that changes from the old model to the new one as a whole.
  fs::path checkpoint = fs::path(command.folder).lexically_normal();
  if (!checkpoint.has_filename()) checkpoint = checkpoint.parent_path();  // "model/"
  checkpoint += ".checkpoint";
  if (!command.resume && nn::has_checkpoint(checkpoint))
    note("{} holds a training that was interrupted (--resume goes on with it); starting anew", checkpoint.string());
  const Contest contest = train_contest(corpus, dev, command.settings,
                                        {.quiet = command.output.quiet,
                                         .checkpoint = checkpoint,
                                         .resume = command.resume,
                                         .save_every = command.save_every,
                                         .device = command.device});
  save_model(command.folder, contest.trained);
  fs::remove_all(checkpoint);
  say(command.output, "on the {} texts of dev, with the epoch that was best there:\n\n{}\nsaved in {}",
      format_count(static_cast<double>(dev.examples.size())), contest_table(contest), command.folder);
  Json json = to_json(contest.trained.record);
  json["dev"] = to_json(contest.dev, corpus.labels);
  json["baseline"] = parse_json(contest.trained.baseline);
  write_json(command.output, json);
}

void run(const TestCommand& command) {
  const TrainedClassifier trained = load_model(command.model, command.device);
  ReadOptions read = command.read;
  read.labels = trained.labels;
  const Corpus corpus = read_corpus(command.data, read);
  const Evaluation evaluation = evaluate(*trained.model, encode(corpus, trained.tokenizer, trained.settings.length),
                                         trained.tokenizer.pad_id(), command.device);
  say(command.output, "{} texts: accuracy {:.4f}, macro-F1 {:.4f}, log loss {:.4f}\n\n{}\n{}",
      format_count(static_cast<double>(evaluation.examples)), evaluation.accuracy, evaluation.macro_f1,
      evaluation.log_loss, class_table(evaluation, trained.labels), confusion_table(evaluation, trained.labels));
  write_json(command.output, to_json(evaluation, trained.labels));
}

void run(const PredictCommand& command) {
  const TrainedClassifier trained = load_model(command.model, command.device);
  line_by_line(command.input, command.target, [&](const std::vector<std::string>& lines) {
    std::vector<nn::Encoding> texts;
    for (const std::string& line : lines) texts.push_back(trained.encode(line));
    std::vector<std::string> answers;
    for (const std::vector<float>& scores :
         probabilities(*trained.model, texts, trained.tokenizer.pad_id(), command.device)) {
      const auto best = static_cast<std::size_t>(most_probable(scores));
      if (!command.json) {
        answers.push_back(fmt::format("{}\t{:.4f}", trained.labels[best], scores[best]));
        continue;
      }
      Json json = {{"label", trained.labels[best]}, {"probability", scores[best]}, {"probabilities", Json::object()}};
      for (std::size_t c = 0; c < scores.size(); ++c) json["probabilities"][trained.labels[c]] = scores[c];
      answers.push_back(compact(json));
    }
    return answers;
  });
}

void run(const TokenizeCommand& command) {
  const nn::Tokenizer tokenizer = nn::Tokenizer::load(command.encoder);
  line_by_line(command.input, command.target, [&](const std::vector<std::string>& lines) {
    std::vector<std::string> answers;
    for (const std::string& line : lines) {
      const nn::Encoding encoding = tokenizer.encode(line);
      std::string answer;
      if (command.json) {
        Json offsets = Json::array();
        for (const nn::Span& span : encoding.offsets) offsets.push_back({span.start, span.end});
        answer = compact({{"ids", encoding.ids}, {"offsets", offsets}});
      } else {
        for (const std::int64_t id : encoding.ids) answer += (answer.empty() ? "" : " ") + tokenizer.token(id);
      }
      answers.push_back(std::move(answer));
    }
    return answers;
  });
}

void run(const ExportCommand& command) {
  export_model(command.folder, load_model(command.model));
  say(command.output, "a folder for transformers: {}", command.folder);
  write_json(command.output, {{"folder", command.folder}});
}

}  // namespace heed::examples::classifier
