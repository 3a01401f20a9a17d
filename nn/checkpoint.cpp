#include "nn/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/file.h"
#include "engine/random.h"
#include "engine/safetensors.h"

namespace heed::nn {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* model_file = "model.safetensors";
constexpr const char* optimizer_file = "optimizer.safetensors";
constexpr const char* training_file = "training.json";
constexpr const char* format_name = "heed checkpoint";
constexpr int version = 1;

// A folder and its two stand-ins beside it. The moments of a save, and what lies on the disk:
//   the new one is written        folder    fresh (incomplete)
//   ... and complete              folder    fresh
//   the first rename              previous  fresh
//   the second                    folder    previous
//   previous is removed           folder
// `previous` and `fresh` exist together only after the first rename, and `fresh` is complete then.
struct Places {
  explicit Places(const fs::path& path) : folder(fs::absolute(path).lexically_normal()) {
    if (!folder.has_filename()) folder = folder.parent_path();  // "run/"
    fresh = beside(".fresh");
    previous = beside(".previous");
  }
  fs::path beside(const char* suffix) const {
    return folder.parent_path() / ("." + folder.filename().string() + suffix);
  }
  // Whether a save was killed between its two renames.
  bool interrupted() const { return !fs::exists(folder) && fs::exists(previous) && fs::exists(fresh); }

  fs::path folder, fresh, previous;
};

// Makes the names in a folder last: a rename is only on the disk once the folder is.
void sync_folder(const fs::path& folder) {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  const bool synced = descriptor >= 0 && fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) close(descriptor);
  check(synced, "save_checkpoint {}: {}", folder.string(), std::strerror(error));
}

// Completes a save that was killed between its two renames.
void recover(const Places& places) {
  if (!places.interrupted()) return;
  fs::rename(places.fresh, places.folder);
  sync_folder(places.folder.parent_path());
}

// What a checkpoint replaces is deleted: so it had better be one.
void check_replaceable(const fs::path& folder) {
  if (!fs::exists(folder)) return;
  check(fs::is_directory(folder), "save_checkpoint {}: is not a folder", folder.string());
  constexpr std::array names = {model_file, optimizer_file, training_file};
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    check(std::find(names.begin(), names.end(), name) != names.end(),
          "save_checkpoint {}: holds {}, which is no part of a checkpoint", folder.string(), name);
  }
}

std::string training_json(const TrainingState& state) {
  const Generator& generator = default_generator();
  const Json json = {
      {"format", format_name},
      {"version", version},
      {"step", state.step},
      {"loader", {{"seed", state.loader.seed}, {"epoch", state.loader.epoch}, {"position", state.loader.position}}},
      {"generator", {{"seed", generator.seed}, {"offset", generator.offset}}},
      {"metadata", state.metadata}};
  return json.dump(2) + "\n";
}

struct Training {
  TrainingState state;
  Generator generator;
};

Training parse_training(const fs::path& path) {
  try {
    const Json json = Json::parse(read_file(path));
    check(json.at("format") == format_name, "its format is {}", json.at("format").dump());
    check(json.at("version") == version, "its version is {}, this program reads {}", json.at("version").dump(),
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

void write_checkpoint(const Places& places, const Module& model, const Optimizer& optimizer,
                      const TrainingState& state) {
  fs::create_directories(places.folder.parent_path());
  recover(places);
  check_replaceable(places.folder);
  fs::remove_all(places.previous);
  fs::remove_all(places.fresh);
  fs::create_directory(places.fresh);
  save_tensors(places.fresh / model_file, model.state_dict());
  save_tensors(places.fresh / optimizer_file, optimizer.state_dict());
  write_file(places.fresh / training_file, training_json(state));
  sync_folder(places.fresh);
  if (fs::exists(places.folder)) fs::rename(places.folder, places.previous);
  fs::rename(places.fresh, places.folder);
  sync_folder(places.folder.parent_path());
  fs::remove_all(places.previous);
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
  try {
    write_checkpoint(Places(folder), model, optimizer, state);
  } catch (const fs::filesystem_error& error) {
    fail("save_checkpoint {}: {}", folder.string(), error.what());
  }
}

bool has_checkpoint(const fs::path& folder) {
  const Places places(folder);
  return fs::exists(places.folder / training_file) || places.interrupted();
}

TrainingState load_checkpoint(const fs::path& folder, Module& model, Optimizer& optimizer) {
  const Places places(folder);
  recover(places);
  check(has_checkpoint(folder), "load_checkpoint {}: there is no checkpoint", folder.string());
  const Training training = parse_training(places.folder / training_file);
  const NamedTensors weights = load_tensors(places.folder / model_file);
  const NamedTensors optimizer_state = load_tensors(places.folder / optimizer_file);
  // Both are compared before either is changed.
  compare(model.state_dict(), weights).require_exact(fmt::format("load_checkpoint {}", folder.string()));
  optimizer.load_state_dict(optimizer_state);
  model.load_state_dict(weights);
  default_generator() = training.generator;
  return training.state;
}

}  // namespace heed::nn
