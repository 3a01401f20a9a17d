#include "nn/checkpoint.h"

#include "engine/file.h"
#include "engine/json.h"
#include "engine/random.h"
#include "engine/safetensors.h"

namespace heed::nn {
namespace {

namespace fs = std::filesystem;
constexpr const char* model_file = "model.safetensors";
constexpr const char* optimizer_file = "optimizer.safetensors";
constexpr const char* training_file = "training.json";
constexpr const char* tensors_file = "tensors.safetensors";
constexpr const char* format_name = "heed checkpoint";
constexpr int version = 1;

std::string training_json(const TrainingState& state) {
  const Generator& generator = default_generator();
  const Json json = {
      {"format", format_name},
      {"version", version},
      {"step", state.step},
      {"loader", {{"seed", state.loader.seed}, {"epoch", state.loader.epoch}, {"position", state.loader.position}}},
      {"generator", {{"seed", generator.seed}, {"offset", generator.offset}}},
      {"metadata", state.metadata}};
  return json_text(json, 2) + "\n";
}

struct Training {
  TrainingState state;
  Generator generator;
};

Training parse_training(const fs::path& path) {
  try {
    const Json json = parse_json(read_file(path));
    check(json.at("format") == format_name, "its format is {}", json_text(json.at("format")));
    check(json.at("version") == version, "its version is {}, this program reads {}", json_text(json.at("version")),
          version);
    const Json &loader = json.at("loader"), &generator = json.at("generator");
    return {{json.at("step").get<std::int64_t>(),
             {loader.at("seed").get<std::uint64_t>(), loader.at("epoch").get<std::int64_t>(),
              loader.at("position").get<std::int64_t>()},
             json.at("metadata").get<std::map<std::string, std::string>>()},
            {generator.at("seed").get<std::uint64_t>(), generator.at("offset").get<std::uint64_t>()}};
  } catch (const std::exception& error) {
    fail("load_checkpoint {}: {}", path.string(), error.what());
  }
}

}  // namespace

void save_tensors(const fs::path& path, const NamedTensors& tensors,
                  const std::map<std::string, std::string>& metadata) {
  save_safetensors(path, {tensors.begin(), tensors.end()}, metadata);
}

NamedTensors load_tensors(const fs::path& path) {
  Safetensors file = load_safetensors(path);
  return {file.tensors.begin(), file.tensors.end()};
}

void save_checkpoint(const fs::path& folder, const Module& model, const Optimizer& optimizer,
                     const TrainingState& state) {
  AtomicFolder checkpoint(folder, {model_file, optimizer_file, training_file, tensors_file});
  save_tensors(checkpoint.fresh() / model_file, model.state_dict());
  save_tensors(checkpoint.fresh() / optimizer_file, optimizer.state_dict());
  if (!state.tensors.empty()) save_tensors(checkpoint.fresh() / tensors_file, state.tensors);
  write_file(checkpoint.fresh() / training_file, training_json(state));
  checkpoint.commit();
}

bool has_checkpoint(const fs::path& folder) {
  if (!AtomicFolder::exists(folder)) return false;
  AtomicFolder::recover(folder);
  return fs::exists(folder / training_file);
}

TrainingState read_training_state(const fs::path& folder) {
  check(has_checkpoint(folder), "load_checkpoint {}: there is no checkpoint", folder.string());
  return parse_training(folder / training_file).state;
}

TrainingState load_checkpoint(const fs::path& folder, Module& model, Optimizer& optimizer) {
  check(has_checkpoint(folder), "load_checkpoint {}: there is no checkpoint", folder.string());
  Training training = parse_training(folder / training_file);
  if (fs::exists(folder / tensors_file)) training.state.tensors = load_tensors(folder / tensors_file);
  const NamedTensors weights = load_tensors(folder / model_file);
  const NamedTensors optimizer_state = load_tensors(folder / optimizer_file);
  // Both are compared before either is changed.
  compare(model.state_dict(), weights).require_exact(fmt::format("load_checkpoint {}", (folder / model_file).string()));
  try {
    optimizer.load_state_dict(optimizer_state);
  } catch (const Error& error) {
    fail("load_checkpoint {}: {}", (folder / optimizer_file).string(), error.what());
  }
  model.load_state_dict(weights);
  default_generator() = training.generator;
  return training.state;
}

}  // namespace heed::nn
