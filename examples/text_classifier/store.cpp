#include "examples/text_classifier/store.h"

#include "engine/error.h"
#include "engine/file.h"
#include "engine/json.h"
#include "nn/checkpoint.h"

namespace heed::examples::classifier {
namespace {

namespace fs = std::filesystem;

constexpr const char* settings_file = "settings.json";
constexpr const char* weights_file = "model.safetensors";
constexpr const char* config_file = "config.json";
constexpr const char* tokenizer_file = "tokenizer.json";
constexpr const char* labels_file = "labels.json";
constexpr const char* training_file = "training.json";
constexpr const char* vocabulary_file = "vocab.txt";
constexpr const char* tokenizer_config_file = "tokenizer_config.json";

// What read() gives; what it throws names the file.
template <class Read>
auto from_file(const fs::path& path, Read&& read) {
  try {
    return read(read_file(path));
  } catch (const std::exception& error) {
    const std::string message = error.what();
    if (message.find(path.string()) != std::string::npos) throw;
    fail("{}: {}", path.string(), message);
  }
}

std::string dumped(const Json& json, int indent) {
  return json_text(json, indent, NotUtf8::replace) + "\n";
}

}  // namespace

void save_model(const fs::path& path, const TrainedClassifier& trained) {
  AtomicFolder folder(path, {settings_file, weights_file, config_file, tokenizer_file, labels_file, training_file});
  write_file(folder.fresh() / settings_file, json_text(to_json(trained.settings), 2) + "\n");
  nn::save_tensors(folder.fresh() / weights_file, trained.model->state_dict());
  if (trained.model->bert) write_file(folder.fresh() / config_file, nn::to_json(trained.bert));
  write_file(folder.fresh() / tokenizer_file, trained.tokenizer.to_json());
  write_file(folder.fresh() / labels_file, dumped(trained.labels, 1));
  Json training = to_json(trained.record);
  training["baseline"] = parse_json(trained.baseline);
  write_file(folder.fresh() / training_file, dumped(training, 1));
  folder.commit();
}

TrainedClassifier load_model(const fs::path& folder, Device device) {
  check(AtomicFolder::exists(folder), "model {}: there is no such folder", folder.string());
  AtomicFolder::recover(folder);
  check(fs::exists(folder / settings_file), "model {}: there is no {} in it; `train --output` makes such a folder",
        folder.string(), settings_file);
  const Settings settings = from_file(folder / settings_file, [](const std::string& text) {
    const Settings read = settings_from_json(parse_sorted_json(text));
    check_settings(read);
    return read;
  });
  const auto labels = from_file(
      folder / labels_file, [](const std::string& text) { return parse_json(text).get<std::vector<std::string>>(); });
  TrainedClassifier trained(settings, labels, nn::Tokenizer::load(folder / tokenizer_file));
  check(!trained.labels.empty(), "{}: there is no label in it", (folder / labels_file).string());
  if (trained.settings.encoder != "bag") trained.bert = from_file(folder / config_file, nn::bert_config_from_json);
  from_file(folder / training_file, [&](const std::string& text) {
    const Json json = parse_json(text);
    trained.record = record_from_json(json);
    trained.baseline = json_text(json.value("baseline", Json()));
    return 0;
  });
  const nn::NamedTensors weights = nn::load_tensors(folder / weights_file);
  trained.model = std::make_unique<TextClassifier>(trained.settings, trained.bert, trained.tokenizer.vocabulary_size(),
                                                   static_cast<std::int64_t>(trained.labels.size()));
  nn::compare(trained.model->state_dict(), weights).require_exact((folder / weights_file).string());
  trained.model->load_state_dict(weights);
  trained.model->to(device);
  trained.model->eval();
  return trained;
}

void export_model(const fs::path& path, const TrainedClassifier& trained) {
  check(trained.model->bert.has_value(), "export: a bag of words is no BERT");
  AtomicFolder folder(path, {config_file, weights_file, tokenizer_file, vocabulary_file, tokenizer_config_file});
  Json config = parse_json(nn::to_json(trained.bert));
  if (trained.settings.pooling == "cls") config["architectures"] = {"BertForSequenceClassification"};
  for (std::size_t i = 0; i < trained.labels.size(); ++i) {
    config["id2label"][std::to_string(i)] = trained.labels[i];
    config["label2id"][trained.labels[i]] = i;
  }
  write_file(folder.fresh() / config_file, dumped(config, 2));
  nn::save_tensors(folder.fresh() / weights_file, trained.model->state_dict(), {{"format", "pt"}});
  write_file(folder.fresh() / tokenizer_file, trained.tokenizer.to_json());
  write_file(folder.fresh() / vocabulary_file, trained.tokenizer.to_vocabulary_text());
  const nn::TokenizerOptions& options = trained.tokenizer.options();
  Json tokenizer = {{"tokenizer_class", "BertTokenizer"},
                    {"do_lower_case", options.lowercase},
                    {"tokenize_chinese_chars", options.handle_chinese_chars},
                    {"strip_accents", options.strip_accents ? Json(*options.strip_accents) : Json()},
                    {"model_max_length", trained.settings.length}};
  write_file(folder.fresh() / tokenizer_config_file, dumped(tokenizer, 2));
  folder.commit();
}

}  // namespace heed::examples::classifier
