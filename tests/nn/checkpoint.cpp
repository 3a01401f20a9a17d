#include "nn/checkpoint.h"

#include <doctest/doctest.h>

#include <fstream>

#include "engine/file.h"
#include "engine/ops.h"
#include "nn/linear.h"
#include "tests/harness/examine.h"
#include "tests/harness/temporary_folder.h"

namespace heed::test {
namespace {

namespace fs = std::filesystem;

// A model and its optimiser after `steps` updates.
struct Trained {
  explicit Trained(int steps, std::int64_t width = 3) : model(width, 2) {
    for (int i = 0; i < steps; ++i) {
      optimizer.zero_grad();
      backward(mean(model(ones({4, width})) * model(ones({4, width}))));
      optimizer.step();
    }
  }
  std::vector<float> weights() const { return model.weight.to_vector<float>(); }

  nn::Linear model;
  nn::AdamW optimizer{model, {.lr = 0.1}};
};

// "" when `folder` holds the checkpoint of that step and nothing lies beside it.
std::string contents(const fs::path& folder, std::int64_t step) {
  if (!nn::has_checkpoint(folder)) return "no checkpoint";
  Trained other(0);
  const std::int64_t found = nn::load_checkpoint(folder, other.model, other.optimizer).step;
  if (found != step) return fmt::format("step {}", found);
  return "";
}

}  // namespace

TEST_CASE("checkpoint: everything comes back") {
  const TemporaryFolder temporary;
  const fs::path folder = fs::path(temporary.path()) / "runs" / "first";
  const Trained trained(3);
  manual_seed(7);
  rand({5});
  const Generator generator = default_generator();
  CHECK(!nn::has_checkpoint(folder));
  nn::save_checkpoint(folder, trained.model, trained.optimizer,
                      {.step = 3,
                       .loader = {~std::uint64_t{0}, 2, 1},
                       .metadata = {{"note", "third \"try\""}},
                       .tensors = {{"best.weight", full({2}, 4.5)}}});
  CHECK(nn::has_checkpoint(folder));

  Trained other(1);
  manual_seed(1);
  const nn::TrainingState state = nn::load_checkpoint(folder, other.model, other.optimizer);
  CHECK_EQ(state.step, 3);
  CHECK_EQ(state.loader.seed, ~std::uint64_t{0});
  CHECK_EQ(state.loader.epoch, 2);
  CHECK_EQ(state.loader.position, 1);
  CHECK_EQ(state.metadata.at("note"), "third \"try\"");
  CHECK_EQ(nn::read_training_state(folder).metadata, state.metadata);
  REQUIRE_EQ(state.tensors.size(), 1);
  CHECK_EQ(state.tensors[0].first, "best.weight");
  CHECK_EQ(state.tensors[0].second.to_vector<float>(), std::vector<float>{4.5, 4.5});
  CHECK_EQ(default_generator().seed, generator.seed);
  CHECK_EQ(default_generator().offset, generator.offset);
  CHECK_EQ(other.weights(), trained.weights());
  const nn::NamedTensors saved = trained.optimizer.state_dict(), loaded = other.optimizer.state_dict();
  REQUIRE_EQ(saved.size(), 6);
  REQUIRE_EQ(loaded.size(), 6);
  for (std::size_t i = 0; i < saved.size(); ++i) {
    CHECK_EQ(loaded[i].first, saved[i].first);
    CHECK_EQ(loaded[i].second.to_vector<double>(), saved[i].second.to_vector<double>());
  }
}

TEST_CASE("checkpoint: a save killed at any moment leaves the old one or the new one") {
  const TemporaryFolder temporary;
  const fs::path parent = temporary.path(), folder = parent / "run", fresh = parent / ".run.fresh",
                 previous = parent / ".run.previous";
  const Trained trained(1);
  const auto save = [&](std::int64_t step) {
    nn::save_checkpoint(parent / "run/", trained.model, trained.optimizer, {.step = step});
  };
  save(1);
  CHECK(!fs::exists(fresh));
  CHECK(!fs::exists(previous));

  SUBCASE("while the new one is written") {
    fs::create_directory(fresh);
    std::ofstream(fresh / "model.safetensors") << "half";
    CHECK_EQ(contents(folder, 1), "");
    save(2);
    CHECK_EQ(contents(folder, 2), "");
  }
  SUBCASE("between the renames") {
    fs::rename(folder, previous);
    nn::save_checkpoint(fresh, trained.model, trained.optimizer, {.step = 2});
    SUBCASE("then loaded") {
      CHECK_EQ(contents(folder, 2), "");
    }
    SUBCASE("then saved") {
      save(3);
      CHECK_EQ(contents(folder, 3), "");
    }
  }
  SUBCASE("before the old one is removed") {
    fs::create_directory(previous);
    CHECK_EQ(contents(folder, 1), "");
    save(2);
    CHECK_EQ(contents(folder, 2), "");
    CHECK(!fs::exists(previous));
  }
  SUBCASE("removed by hand, then killed while the first new one is written") {
    fs::create_directory(previous);
    fs::remove_all(folder);
    CHECK(!nn::has_checkpoint(folder));
    save(2);
    CHECK(!fs::exists(previous));
    CHECK_EQ(contents(folder, 2), "");
  }
  CHECK(!fs::exists(fresh));
}

TEST_CASE("checkpoint: never replaces what is something else") {
  const TemporaryFolder temporary;
  const Trained trained(1);
  const auto save = [&](const std::string& path) {
    return message_of([&] { nn::save_checkpoint(path, trained.model, trained.optimizer, {}); });
  };
  const fs::path file = temporary.write("thesis/chapter.tex", "x");
  const std::string folder = file.parent_path().string();
  CHECK_EQ(save(folder),
           "write " + folder + ": the folder is there already and holds chapter.tex, which would be deleted");
  CHECK_EQ(save(file.string()), "write " + file.string() + ": is not a folder");
  CHECK(fs::exists(file));
}

TEST_CASE("checkpoint: what cannot be loaded says why and changes nothing") {
  const TemporaryFolder temporary;
  const std::string folder = temporary.path() + "/run";
  const Trained trained(2);
  nn::save_checkpoint(folder, trained.model, trained.optimizer, {.step = 2});
  Trained other(1);
  const std::vector<float> before = other.weights();
  const auto load = [&](const std::string& path) {
    return message_of([&] { nn::load_checkpoint(path, other.model, other.optimizer); });
  };

  CHECK_EQ(load(temporary.path() + "/none"), "load_checkpoint " + temporary.path() + "/none: there is no checkpoint");
  Trained wide(1, 4);
  CHECK_EQ(message_of([&] { nn::load_checkpoint(folder, wide.model, wide.optimizer); }),
           "load_checkpoint " + folder +
               "/model.safetensors: the state does not fit\n  mismatched: weight: shape [2, 4], given [2, 3]");
  nn::SGD sgd(other.model);
  CHECK_EQ(message_of([&] { nn::load_checkpoint(folder, other.model, sgd); }),
           "load_checkpoint " + folder +
               "/optimizer.safetensors: SGD::load_state_dict: the state does not fit\n"
               "  unexpected: bias.exp_avg, bias.exp_avg_sq, weight.exp_avg, weight.exp_avg_sq");
  const std::string json = folder + "/training.json", text = read_file(json);
  for (const auto& [from, to, reason] :
       {std::array<std::string, 3>{"heed checkpoint", "other", "its format is \"other\""},
        {"\"version\": 1", "\"version\": 2", "its version is 2, this program reads 1"},
        {"\"step\"", "\"stop\"", "key 'step' not found"},
        {"{", "", "parse error"}}) {
    std::string changed = text;
    write_file(json, changed.replace(changed.find(from), from.size(), to));
    const std::string message = load(folder);
    CHECK(message.starts_with("load_checkpoint " + json + ": "));
    CHECK(message.find(reason) != std::string::npos);
  }
  write_file(json, text);
  fs::resize_file(folder + "/optimizer.safetensors", 100);
  CHECK(load(folder).find("optimizer.safetensors") != std::string::npos);
  CHECK_EQ(other.weights(), before);
}

}  // namespace heed::test
