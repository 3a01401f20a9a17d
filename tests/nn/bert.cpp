#include "nn/bert.h"
#include "engine/json.h"

#include <doctest/doctest.h>

#include "engine/file.h"
#include "engine/ops.h"
#include "engine/safetensors.h"
#include "nn/checkpoint.h"
#include "tests/harness/examine.h"
#include "tests/harness/temporary_folder.h"
#include "tests/nn/golden.h"

namespace heed::nn {
namespace {

using test::Array;
using test::difference;
using test::message_of;
using Json = nlohmann::json;

std::map<std::string, Tensor> golden_weights() {
  return load_safetensors(test::golden_folder() / "bert/model.safetensors").tensors;
}

// A folder with the golden model's configuration, to put weights in.
class Folder : public test::TemporaryFolder {
 public:
  Folder() { write_file(*this / "config.json", read_file(test::golden_folder() / "bert/config.json")); }
  std::string refusal() const {
    return message_of([this] { load_bert(path()); });
  }
};

void check_says(const std::string& message, const std::string& words) {
  CAPTURE(message);
  CHECK_NE(message.find(words), std::string::npos);
}

Tensor golden_hidden(const BertModel& model) {
  const test::Golden golden("bert");
  return model(golden["ids"], {.lengths = golden["lengths"], .type_ids = golden["type_ids"]}).hidden;
}

}  // namespace

TEST_CASE("BERT: hidden states, attention, pooler and gradients are transformers'") {
  const test::Golden golden("bert");
  for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
    const double tolerance = dtype == Dtype::f64 ? 1e-9 : 2e-5;
    const Bert bert = load_bert(test::golden_folder() / "bert");
    CHECK_EQ(bert.unused, std::vector<std::string>{"classifier.bias", "classifier.weight"});
    BertModel& model = *bert.model;
    model.to(dtype);
    for (const bool need_weights : {false, true}) {
      const BertOutput output = model(golden["ids"], {golden["lengths"], golden["type_ids"], -1, need_weights});
      REQUIRE_EQ(output.states.size(), 3);
      for (std::size_t i = 0; i < output.states.size(); ++i)
        CHECK_EQ(difference(output.states[i], Array(golden["state." + std::to_string(i)]), tolerance), "");
      CHECK_EQ(output.weights.size(), need_weights ? 2 : 0);
      for (std::size_t i = 0; i < output.weights.size(); ++i)
        CHECK_EQ(difference(output.weights[i], Array(golden["weights." + std::to_string(i)]), tolerance), "");
      CHECK_EQ(difference((*model.pooler)(output.hidden), Array(golden["pooled"]), tolerance), "");
      model.zero_grad();
      backward(output.hidden, golden["cotangent"].to(dtype));
      const NamedTensors parameters = model.named_parameters();
      const NamedTensors gradients = golden.below("grad");
      CHECK_EQ(gradients.size(), 4);
      for (const auto& [name, gradient] : gradients) {
        CAPTURE(name);
        const auto found =
            std::find_if(parameters.begin(), parameters.end(), [&](const auto& p) { return p.first == name; });
        REQUIRE_NE(found, parameters.end());
        CHECK_EQ(difference(found->second.grad(), Array(gradient), 10 * tolerance), "");
      }
    }
  }
}

TEST_CASE("BERT: a window keeps tokens from seeing further") {
  const Bert bert = load_bert(test::golden_folder() / "bert");
  const NoGrad no_grad;
  const auto output = [&](std::vector<std::int64_t> ids, std::int64_t window) {
    return (*bert.model)(from_vector(ids, {1, 8}), {.window = window}).hidden.select(1, 0).to_vector<double>();
  };
  // Two layers with a window of 2 reach 4 tokens.
  CHECK_EQ(output({1, 2, 3, 4, 5, 6, 7, 8}, 2), output({1, 2, 3, 4, 5, 9, 9, 9}, 2));
  CHECK_NE(output({1, 2, 3, 4, 5, 6, 7, 8}, 2), output({1, 2, 3, 4, 9, 6, 7, 8}, 2));
  CHECK_NE(output({1, 2, 3, 4, 5, 6, 7, 8}, -1), output({1, 2, 3, 4, 5, 9, 9, 9}, -1));
}

TEST_CASE("BERT: weights load from every kind of file in which they are published") {
  const std::vector<double> wanted =
      golden_hidden(*load_bert(test::golden_folder() / "bert").model).to_vector<double>();
  const Folder folder;
  const auto loaded = [&] { return golden_hidden(*load_bert(folder.path()).model); };

  std::map<std::string, Tensor> old, plain;
  for (const auto& [name, tensor] : golden_weights()) {
    std::string bare = name.starts_with("bert.") ? name.substr(5) : name;
    plain.emplace(bare, tensor);
    if (const auto at = bare.find("LayerNorm.weight"); at != std::string::npos) bare.replace(at, 16, "LayerNorm.gamma");
    if (const auto at = bare.find("LayerNorm.bias"); at != std::string::npos) bare.replace(at, 14, "LayerNorm.beta");
    old.emplace(bare, tensor);
  }
  for (const auto& tensors : {plain, old}) {
    save_safetensors(folder / "model.safetensors", tensors);
    CHECK_EQ(loaded().to_vector<double>(), wanted);
  }
  for (const Dtype dtype : {Dtype::bf16, Dtype::f16}) {
    std::map<std::string, Tensor> halves;
    for (const auto& [name, tensor] : plain) halves.emplace(name, tensor.to(dtype));
    save_safetensors(folder / "model.safetensors", halves);
    CHECK_EQ(loaded().dtype(), Dtype::f32);
    CHECK_EQ(difference(loaded(), Array(from_vector(wanted, loaded().shape())), dtype == Dtype::f16 ? 0.02 : 0.2), "");
  }

  std::filesystem::remove(folder / "model.safetensors");
  std::map<std::string, Tensor> shards[2];
  Json index;
  for (const auto& [name, tensor] : golden_weights()) {
    const std::size_t shard = name.find("encoder") != std::string::npos ? 1 : 0;
    shards[shard].emplace(name, tensor);
    index["weight_map"][name] = shard == 0 ? "first.safetensors" : "second.safetensors";
  }
  save_safetensors(folder / "first.safetensors", shards[0]);
  save_safetensors(folder / "second.safetensors", shards[1]);
  write_file(folder / "model.safetensors.index.json", json_text(index));
  CHECK_EQ(loaded().to_vector<double>(), wanted);
  shards[1].erase("bert.encoder.layer.0.output.dense.bias");
  save_safetensors(folder / "second.safetensors", shards[1]);
  check_says(folder.refusal(), "second.safetensors: there is no bert.encoder.layer.0.output.dense.bias in it");
  std::filesystem::remove(folder / "second.safetensors");
  check_says(folder.refusal(), "second.safetensors");
  write_file(folder / "model.safetensors.index.json", R"({"weight_map": {"a": "../b"}})");
  check_says(folder.refusal(), "a is in \"../b\", which is no file name");
}

TEST_CASE("BERT: a model without a pooler has none") {
  const Folder folder;
  std::map<std::string, Tensor> weights = golden_weights();
  weights.erase("bert.pooler.dense.weight");
  weights.erase("bert.pooler.dense.bias");
  save_safetensors(folder / "model.safetensors", weights);
  CHECK_FALSE(load_bert(folder.path()).model->pooler.has_value());
}

TEST_CASE("BERT: damaged or foreign weights are refused, naming file and key") {
  const Folder folder;
  check_says(folder.refusal(), "there is no model.safetensors");
  std::map<std::string, Tensor> weights = golden_weights();
  weights.erase("bert.encoder.layer.1.attention.self.key.bias");
  weights["bert.embeddings.LayerNorm.bias"] = zeros({3});
  save_safetensors(folder / "model.safetensors", weights);
  check_says(folder.refusal(), "model.safetensors: the state does not fit");
  check_says(folder.refusal(), "missing: encoder.layer.1.attention.self.key.bias");
  check_says(folder.refusal(), "mismatched: embeddings.LayerNorm.bias: shape [16], given [3]");
  weights["embeddings.LayerNorm.bias"] = zeros({16});
  save_safetensors(folder / "model.safetensors", weights);
  check_says(folder.refusal(), "embeddings.LayerNorm.bias is there twice");

  const std::string whole = read_file(test::golden_folder() / "bert/model.safetensors");
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{5}, std::size_t{100}, whole.size() / 2, whole.size() - 1}) {
    write_file(folder / "model.safetensors", std::string_view(whole).substr(0, length));
    check_says(folder.refusal(), "model.safetensors: ");
  }
}

TEST_CASE("BERT: configurations that make no sense are refused, naming the key") {
  const auto refusal = [](const char* text) { return message_of([&] { bert_config_from_json(text); }); };
  CHECK_EQ(refusal(R"({"hidden_size": "wide"})"), "hidden_size cannot be \"wide\"");
  CHECK_EQ(refusal(R"({"num_hidden_layers": 0})"), "num_hidden_layers cannot be 0");
  CHECK_EQ(refusal(R"({"hidden_size": 1e3})"), "hidden_size cannot be 1000.0");
  CHECK_EQ(refusal(R"({"hidden_dropout_prob": 1.5})"), "hidden_dropout_prob cannot be 1.5");
  CHECK_EQ(refusal(R"({"hidden_size": 30, "num_attention_heads": 4})"),
           "hidden_size 30 is not a multiple of num_attention_heads 4");
  CHECK_EQ(refusal(R"({"hidden_act": "swish"})"),
           "hidden_act 'swish' is none of gelu, gelu_new, gelu_pytorch_tanh, relu");
  CHECK_EQ(refusal(R"({"model_type": "roberta"})"), "model_type 'roberta' is not bert");
  CHECK_EQ(refusal(R"({"position_embedding_type": "relative_key"})"),
           "position_embedding_type 'relative_key' is not absolute, the only one that heed has");
  CHECK_EQ(refusal("[1]"), "expected a JSON object");
  check_says(refusal("{"), "parse error");
  BertConfig config;
  config.hidden_size = 24;
  config.hidden_act = "relu";
  CHECK_EQ(to_json(bert_config_from_json(to_json(config))), to_json(config));
  const Folder folder;
  write_file(folder / "config.json", R"({"hidden_size": 0})");
  check_says(folder.refusal(), "config.json: hidden_size cannot be 0");
}

TEST_CASE("BERT: no more tokens than positions, and dropout only while training") {
  BertConfig config;
  config.vocab_size = 10;
  config.hidden_size = 8;
  config.num_attention_heads = 2;
  config.num_hidden_layers = 1;
  config.intermediate_size = 8;
  config.max_position_embeddings = 4;
  BertModel model(config);
  CHECK_EQ(message_of([&] {
             model(zeros({1, 5}, {Dtype::i64}));
           }),
           "BertModel: 5 tokens, but max_position_embeddings is 4");
  const Tensor ids = from_vector<std::int64_t>({1, 2, 3}, {1, 3});
  const NoGrad no_grad;
  CHECK_NE(model(ids).hidden.to_vector<double>(), model(ids).hidden.to_vector<double>());
  model.eval();
  CHECK_EQ(model(ids).hidden.to_vector<double>(), model(ids).hidden.to_vector<double>());
}

}  // namespace heed::nn
