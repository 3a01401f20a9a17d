// Checkpoints: a training that was stopped at any moment, by a crash or kill -9, continues from its last checkpoint bit
// for bit as if it had never stopped.
//
//   TrainingState state;
//   if (nn::has_checkpoint("run")) state = nn::load_checkpoint("run", model, optimizer);
//   loader.restore(state.loader);
//   while (state.step < steps) {
//     ...                                          // one step
//     ++state.step;
//     state.loader = loader.state();
//     if (state.step % 100 == 0) nn::save_checkpoint("run", model, optimizer, state);
//   }
//
// A checkpoint is a folder of model.safetensors (Module::state_dict), optimizer.safetensors (Optimizer::state_dict) and
// training.json (the rest: format, version, step, loader, generator, metadata); tensors.safetensors if there are any.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "nn/data.h"
#include "nn/module.h"
#include "nn/optim.h"

namespace heed::nn {

// Where a training stands, apart from its tensors and the default generator. A Schedule has no state but the step.
struct TrainingState {
  std::int64_t step = 0;
  LoaderState loader = {};
  std::map<std::string, std::string> metadata = {};  // the caller's own
  NamedTensors tensors = {};                         // the caller's own, such as the best weights so far
};

// Writes a checkpoint as a whole: a new folder is completed beside the old one and then takes its place, so at every
// moment one complete checkpoint is to be found. Throws when something else than a checkpoint has that name.
void save_checkpoint(const std::filesystem::path& folder, const Module& model, const Optimizer& optimizer,
                     const TrainingState& state);

// Whether there is one: also one that was being replaced when the program was killed.
bool has_checkpoint(const std::filesystem::path& folder);

// What a checkpoint holds apart from its tensors. Throws when there is none.
TrainingState read_training_state(const std::filesystem::path& folder);

// Sets the model, the optimiser and the default generator to what they were. Throws when the folder is no checkpoint or
// is not one of this model and optimiser, naming what differs; they are unchanged then.
TrainingState load_checkpoint(const std::filesystem::path& folder, Module& model, Optimizer& optimizer);

// One file of tensors, such as a model's state_dict().
void save_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                  const std::map<std::string, std::string>& metadata = {});
NamedTensors load_tensors(const std::filesystem::path& path);

}  // namespace heed::nn
