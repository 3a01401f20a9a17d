// BERT from files.
#include <algorithm>
#include <set>

#include "engine/error.h"
#include "engine/file.h"
#include "engine/json.h"
#include "engine/safetensors.h"
#include "nn/bert.h"
#include "nn/checkpoint.h"

namespace heed::nn {
namespace {

namespace fs = std::filesystem;
constexpr const char* config_file = "config.json";
constexpr const char* weights_file = "model.safetensors";
constexpr const char* index_file = "model.safetensors.index.json";

// Calls visit(key, member) for every entry of config.json that heed uses.
template <class Config, class Visit>
void for_each_key(Config& config, Visit&& visit) {
  visit("vocab_size", config.vocab_size);
  visit("hidden_size", config.hidden_size);
  visit("num_hidden_layers", config.num_hidden_layers);
  visit("num_attention_heads", config.num_attention_heads);
  visit("intermediate_size", config.intermediate_size);
  visit("hidden_act", config.hidden_act);
  visit("hidden_dropout_prob", config.hidden_dropout_prob);
  visit("attention_probs_dropout_prob", config.attention_probs_dropout_prob);
  visit("max_position_embeddings", config.max_position_embeddings);
  visit("type_vocab_size", config.type_vocab_size);
  visit("initializer_range", config.initializer_range);
  visit("layer_norm_eps", config.layer_norm_eps);
  visit("pad_token_id", config.pad_token_id);
}

std::string shown(const Json& json) {
  return json_text(json, -1, NotUtf8::replace);
}

void check_config(const BertConfig& config) {
  constexpr std::int64_t most = std::int64_t{1} << 24;  // of anything: what is larger is no configuration
  for_each_key(config, [&]<class T>(const char* key, const T& value) {
    if constexpr (std::is_same_v<T, std::int64_t>) {
      const std::int64_t least = std::string_view(key) == "pad_token_id" ? 0 : 1;
      check(value >= least && value <= most, "{} cannot be {}", key, value);
    } else if constexpr (std::is_same_v<T, double>) {
      check(value >= 0 && value < 1, "{} cannot be {}", key, value);
    }
  });
  check(config.pad_token_id < config.vocab_size, "pad_token_id {} of {} tokens", config.pad_token_id,
        config.vocab_size);
  check(config.hidden_size % config.num_attention_heads == 0,
        "hidden_size {} is not a multiple of num_attention_heads {}", config.hidden_size, config.num_attention_heads);
  const std::set<std::string> activations = {"gelu", "gelu_new", "gelu_pytorch_tanh", "relu"};
  check(activations.contains(config.hidden_act), "hidden_act '{}' is none of gelu, gelu_new, gelu_pytorch_tanh, relu",
        config.hidden_act);
}

// As heed's modules name it.
std::string modern_name(std::string name) {
  if (name.starts_with("bert.")) name.erase(0, 5);
  for (const auto& [old, modern] : {std::pair(".gamma", ".weight"), std::pair(".beta", ".bias")}) {
    const std::string ending = std::string("LayerNorm") + old;
    if (name.ends_with(ending)) name.replace(name.size() - std::string_view(old).size(), std::string::npos, modern);
  }
  return name;
}

std::map<std::string, Tensor> read_shards(const fs::path& folder) {
  const fs::path index = folder / index_file;
  std::set<std::string> files;
  std::map<std::string, std::string> place;
  try {
    const Json json = parse_json(read_file(index));
    for (const auto& [key, file] : json.at("weight_map").items()) {
      check(file.is_string(), "weight_map: {} is in {}, which is no file name", key, shown(file));
      place[key] = file.get<std::string>();
      check(fs::path(place[key]).filename() == place[key], "weight_map: {} is in {}, which is no file name", key,
            shown(file));
      files.insert(place[key]);
    }
  } catch (const std::exception& error) {
    fail("{}: {}", index.string(), error.what());
  }
  std::map<std::string, Tensor> tensors;
  for (const std::string& file : files) {
    const std::map<std::string, Tensor> shard = load_safetensors(folder / file).tensors;
    for (const auto& [key, in] : place) {
      if (in != file) continue;
      check(shard.contains(key), "{}: there is no {} in it, though {} says so", (folder / file).string(), key,
            index_file);
      tensors.emplace(key, shard.at(key));
    }
  }
  return tensors;
}

bool is_given(const NamedTensors& tensors, const std::string& name) {
  return std::any_of(tensors.begin(), tensors.end(), [&](const auto& entry) { return entry.first == name; });
}

}  // namespace

BertConfig bert_config_from_json(const std::string& text) {
  BertConfig config;
  try {
    const Json json = parse_json(text);
    check(json.is_object(), "expected a JSON object");
    for_each_key(config, [&](const char* key, auto& member) {
      if (!json.contains(key) || json.at(key).is_null()) return;
      const Json& value = json.at(key);
      using Member = std::decay_t<decltype(member)>;
      const bool fits = std::is_same_v<Member, std::string>    ? value.is_string()
                        : std::is_same_v<Member, std::int64_t> ? value.is_number_integer()
                                                               : value.is_number();
      check(fits, "{} cannot be {}", key, shown(value));
      member = value.get<Member>();
    });
    const auto asked = [&](const char* key, const std::string& otherwise) {
      return json.contains(key) && json.at(key).is_string() ? json.at(key).get<std::string>() : otherwise;
    };
    check(asked("model_type", "bert") == "bert", "model_type '{}' is not bert", asked("model_type", ""));
    check(asked("position_embedding_type", "absolute") == "absolute",
          "position_embedding_type '{}' is not absolute, the only one that heed has",
          asked("position_embedding_type", ""));
    check_config(config);
  } catch (const nlohmann::json::exception& error) {
    fail("{}", error.what());
  }
  return config;
}

std::string to_json(const BertConfig& config) {
  Json json = {{"architectures", {"BertModel"}}, {"model_type", "bert"}};
  for_each_key(config, [&](const char* key, const auto& member) { json[key] = member; });
  json["position_embedding_type"] = "absolute";
  return json_text(json, 2) + "\n";
}

NamedTensors read_bert_weights(const fs::path& folder) {
  const bool sharded = !fs::exists(folder / weights_file) && fs::exists(folder / index_file);
  check(sharded || fs::exists(folder / weights_file), "{}: there is no {} and no {} in it", folder.string(),
        weights_file, index_file);
  NamedTensors tensors;
  std::set<std::string> names;
  const std::map<std::string, Tensor> read =
      sharded ? read_shards(folder) : load_safetensors(folder / weights_file).tensors;
  for (const auto& [name, tensor] : read) {
    const std::string modern = modern_name(name);
    check(names.insert(modern).second, "{}: {} is there twice, under an old name too", folder.string(), modern);
    tensors.emplace_back(modern, tensor);
  }
  return tensors;
}

Bert load_bert(const fs::path& folder) {
  check(fs::exists(folder / config_file), "{}: there is no {} in it", folder.string(), config_file);
  BertConfig config;
  try {
    config = bert_config_from_json(read_file(folder / config_file));
  } catch (const Error& error) {
    fail("{}: {}", (folder / config_file).string(), error.what());
  }
  const NamedTensors weights = read_bert_weights(folder);
  Bert bert{std::make_unique<BertModel>(config, is_given(weights, "pooler.dense.weight")), {}};
  LoadReport report = compare(bert.model->state_dict(), weights);
  bert.unused = std::move(report.unexpected);
  report.unexpected.clear();
  report.require_exact((folder / weights_file).string());
  bert.model->load_state_dict(weights, false);
  bert.model->eval();
  return bert;
}

}  // namespace heed::nn
