// The files of a tokenizer: vocab.txt, tokenizer_config.json and tokenizer.json.
#include <algorithm>

#include "engine/error.h"
#include "engine/file.h"
#include "engine/json.h"
#include "nn/tokenizer.h"

namespace heed::nn {
namespace {

namespace fs = std::filesystem;
constexpr const char* json_file = "tokenizer.json";
constexpr const char* vocabulary_file = "vocab.txt";
constexpr const char* config_file = "tokenizer_config.json";

std::vector<std::string> read_vocabulary(const fs::path& path) {
  const std::string text = read_file(path);
  std::vector<std::string> vocabulary;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = std::string_view(text).substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    vocabulary.push_back(valid_utf8(line));
    begin = end + 1;
  }
  return vocabulary;
}

// json[key] as a T, or `otherwise` where it is missing or null.
template <class T>
T value_or(const Json& json, const char* key, T otherwise) {
  if (!json.contains(key) || json.at(key).is_null()) return otherwise;
  try {
    return json.at(key).get<T>();
  } catch (const nlohmann::json::exception&) {
    fail("{} cannot be {}", key, json_text(json.at(key), -1, NotUtf8::replace));
  }
}

// A token in tokenizer_config.json: a string, or an object around it.
void read_token(const Json& config, const char* key, std::string& token) {
  if (!config.contains(key) || config.at(key).is_null()) return;
  token = config.at(key).is_object() ? value_or<std::string>(config.at(key), "content", token)
                                     : value_or<std::string>(config, key, token);
}

std::optional<bool> optional_bool(const Json& json, const char* key) {
  if (!json.contains(key) || json.at(key).is_null()) return {};
  return value_or<bool>(json, key, false);
}

TokenizerOptions options_of_config(const Json& config) {
  check(config.is_object(), "expected a JSON object");
  TokenizerOptions options;
  options.lowercase = value_or(config, "do_lower_case", true);
  options.strip_accents = optional_bool(config, "strip_accents");
  options.handle_chinese_chars = value_or(config, "tokenize_chinese_chars", true);
  read_token(config, "unk_token", options.unk_token);
  read_token(config, "sep_token", options.sep_token);
  read_token(config, "pad_token", options.pad_token);
  read_token(config, "cls_token", options.cls_token);
  read_token(config, "mask_token", options.mask_token);
  return options;
}

// The names of the tokens around a text: of TemplateProcessing, or of the older BertProcessing.
std::pair<std::string, std::string> cls_and_sep(const Json& processor) {
  const auto type = value_or<std::string>(processor, "type", "none");
  if (type == "BertProcessing") return {processor.at("cls").at(0), processor.at("sep").at(0)};
  check(type == "TemplateProcessing", "post_processor: type {} is neither TemplateProcessing nor BertProcessing", type);
  const Json& single = processor.at("single");
  const bool usual = single.is_array() && single.size() == 3 && single[0].contains("SpecialToken") &&
                     single[1].contains("Sequence") && single[2].contains("SpecialToken");
  check(usual, "post_processor: single is not a special token, the text and another special token");
  return {single[0].at("SpecialToken").at("id"), single[2].at("SpecialToken").at("id")};
}

void require_type(const Json& json, const char* key, const char* wanted) {
  const std::string found =
      json.contains(key) && json.at(key).is_object() ? value_or<std::string>(json.at(key), "type", "none") : "none";
  check(found == wanted, "{}: type {}, where a BERT tokenizer has {}", key, found, wanted);
}

void add_tokens(const Json& list, std::vector<std::string>& vocabulary, TokenizerOptions& options) {
  for (const Json& added : list) {
    const auto content = added.at("content").get<std::string>();
    for (const char* unsupported : {"single_word", "lstrip", "rstrip", "normalized"}) {
      check(!value_or(added, unsupported, false), "added_tokens: '{}' has {} set, which heed does not support", content,
            unsupported);
    }
    const auto id = added.at("id").get<std::size_t>();
    check(id <= vocabulary.size(), "added_tokens: '{}' has the id {} after a vocabulary of {}", content, id,
          vocabulary.size());
    if (id == vocabulary.size()) vocabulary.emplace_back();
    check(vocabulary[id].empty() || vocabulary[id] == content, "added_tokens: '{}' has the id {} of '{}'", content, id,
          vocabulary[id]);
    vocabulary[id] = content;
    options.more_special_tokens.push_back(content);
  }
}

std::vector<std::string> vocabulary_of(const Json& model) {
  const Json& vocab = model.at("vocab");
  check(vocab.is_object(), "model.vocab is not an object");
  std::vector<std::string> vocabulary;
  for (const auto& [token, id] : vocab.items()) {
    check(id.is_number_unsigned() && id.get<std::uint64_t>() < 4 * vocab.size() + 1000,
          "model.vocab: '{}' cannot have the id {}", token, json_text(id));
    const auto place = id.get<std::size_t>();
    if (place >= vocabulary.size()) vocabulary.resize(place + 1);
    vocabulary[place] = token;
  }
  return vocabulary;
}

Tokenizer from_parsed(const Json& json) {
  check(json.is_object() && json.contains("model"), "this is no tokenizer: it has no 'model'");
  require_type(json, "model", "WordPiece");
  require_type(json, "normalizer", "BertNormalizer");
  require_type(json, "pre_tokenizer", "BertPreTokenizer");
  const Json &model = json.at("model"), &normalizer = json.at("normalizer");
  std::vector<std::string> vocabulary = vocabulary_of(model);
  TokenizerOptions options;
  options.lowercase = value_or(normalizer, "lowercase", true);
  options.strip_accents = optional_bool(normalizer, "strip_accents");
  options.clean_text = value_or(normalizer, "clean_text", true);
  options.handle_chinese_chars = value_or(normalizer, "handle_chinese_chars", true);
  options.unk_token = value_or(model, "unk_token", options.unk_token);
  options.continuing_subword_prefix = value_or(model, "continuing_subword_prefix", options.continuing_subword_prefix);
  options.max_input_chars_per_word = value_or(model, "max_input_chars_per_word", options.max_input_chars_per_word);
  if (json.contains("post_processor") && json.at("post_processor").is_object())
    std::tie(options.cls_token, options.sep_token) = cls_and_sep(json.at("post_processor"));
  if (json.contains("added_tokens")) add_tokens(json.at("added_tokens"), vocabulary, options);
  return Tokenizer(std::move(vocabulary), std::move(options));
}

Json parse(const fs::path& path) {
  return parse_json(read_file(path));
}

Json template_of(const TokenizerOptions& options, bool pair) {
  const auto special = [](const std::string& name, int type) {
    return Json{{"SpecialToken", {{"id", name}, {"type_id", type}}}};
  };
  const auto sequence = [](const char* name, int type) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  Json parts = Json::array({special(options.cls_token, 0), sequence("A", 0), special(options.sep_token, 0)});
  if (pair) {
    parts.push_back(sequence("B", 1));
    parts.push_back(special(options.sep_token, 1));
  }
  return parts;
}

}  // namespace

Tokenizer Tokenizer::load(const fs::path& path) {
  check(fs::exists(path), "Tokenizer: {}: there is no such file or folder", path.string());
  const bool is_folder = fs::is_directory(path);
  fs::path file = path;
  if (is_folder) file /= fs::exists(path / json_file) ? json_file : vocabulary_file;
  check(fs::exists(file), "Tokenizer: {} holds neither {} nor {}", path.string(), json_file, vocabulary_file);
  fs::path reading = file;
  try {
    if (file.extension() == ".json") return from_json(read_file(file));
    std::vector<std::string> vocabulary = read_vocabulary(file);
    reading = file.parent_path() / config_file;
    const TokenizerOptions options = fs::exists(reading) ? options_of_config(parse(reading)) : TokenizerOptions();
    reading = file;
    return Tokenizer(std::move(vocabulary), options);
  } catch (const std::exception& error) {
    fail("Tokenizer: {}: {}", reading.string(), error.what());
  }
}

Tokenizer Tokenizer::from_json(std::string_view text) {
  try {
    return from_parsed(parse_json(text));
  } catch (const nlohmann::json::exception& error) {
    fail("{}", error.what());
  }
}

std::string Tokenizer::to_json() const {
  Json added = Json::array(), vocab = Json::object();
  for (std::int64_t id = 0; id < vocabulary_size(); ++id) {
    const std::string& content = token(id);
    if (content.empty()) continue;
    vocab[content] = id;
    if (!is_special(id)) continue;
    added.push_back({{"id", id},
                     {"content", content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const auto special = [&](const std::string& name) {
    return Json{{"id", name}, {"ids", {*find(name)}}, {"tokens", {name}}};
  };
  const Json strip_accents = options_.strip_accents ? Json(*options_.strip_accents) : Json();
  const Json json = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer",
       {{"type", "BertNormalizer"},
        {"clean_text", options_.clean_text},
        {"handle_chinese_chars", options_.handle_chinese_chars},
        {"strip_accents", strip_accents},
        {"lowercase", options_.lowercase}}},
      {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", template_of(options_, false)},
        {"pair", template_of(options_, true)},
        {"special_tokens",
         {{options_.cls_token, special(options_.cls_token)}, {options_.sep_token, special(options_.sep_token)}}}}},
      {"decoder", {{"type", "WordPiece"}, {"prefix", options_.continuing_subword_prefix}, {"cleanup", true}}},
      {"model",
       {{"type", "WordPiece"},
        {"unk_token", options_.unk_token},
        {"continuing_subword_prefix", options_.continuing_subword_prefix},
        {"max_input_chars_per_word", options_.max_input_chars_per_word},
        {"vocab", vocab}}}};
  return json_text(json, 1, NotUtf8::replace) + "\n";
}

std::string Tokenizer::to_vocabulary_text() const {
  std::string text;
  for (const std::string& token : vocabulary_) text += token + "\n";
  return text;
}

}  // namespace heed::nn
