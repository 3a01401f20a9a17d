// The folder of a trained recommender: all it takes to serve, with no other file.
//
//   settings.json        what the model is made of and how it was trained
//   model.safetensors    its weights
//   catalogue.json       ids, titles, genres; ids and columns of the users
//   events.safetensors   who met what, when: the histories of known users
//   training.json        loss and validation, epoch by epoch
#pragma once

#include <filesystem>
#include <memory>

#include "examples/recommender/ranker.h"
#include "examples/recommender/training.h"

namespace heed::examples::recommender {

struct TrainedModel {
  Settings settings;
  Interactions data;
  TrainingRecord record;
  std::unique_ptr<Ranker> ranker;
};

// Replaces an older model of that name as a whole, never by halves. Throws heed::Error where the folder holds other things.
void save_model(const std::filesystem::path& folder, const TrainedModel& model);
// Throws heed::Error, naming what is missing or wrong.
TrainedModel load_model(const std::filesystem::path& folder);

// Other data seen with the eyes of a model: items by the model's numbers. Events with items that it does not know are
// left out; `unknown` tells how many.
Interactions adopt(const Interactions& data, const Interactions& catalogue, std::int64_t& unknown);

}  // namespace heed::examples::recommender
