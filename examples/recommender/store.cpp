#include "examples/recommender/store.h"

#include <array>

#include "engine/file.h"
#include "engine/json.h"
#include "engine/ops.h"
#include "engine/safetensors.h"
#include "nn/checkpoint.h"

namespace heed::examples::recommender {
namespace {

namespace fs = std::filesystem;

constexpr const char* settings_file = "settings.json";
constexpr const char* weights_file = "model.safetensors";
constexpr const char* catalogue_file = "catalogue.json";
constexpr const char* events_file = "events.safetensors";
constexpr const char* training_file = "training.json";

Json catalogue_json(const Interactions& data) {
  Json items = Json::array(), columns = Json::object();
  for (std::size_t i = 0; i < data.item_ids.size(); ++i) {
    const ItemInfo& info = data.item_info[i];
    items.push_back({{"id", data.item_ids[i]}, {"title", info.title}, {"genres", info.genres}, {"year", info.year}});
  }
  for (const UserColumn& column : data.user_columns) columns[column.name] = column.values;
  return {{"source", data.source},     {"has_ratings", data.has_ratings}, {"has_timestamps", data.has_timestamps},
          {"items", std::move(items)}, {"users", data.user_ids},          {"user_columns", std::move(columns)}};
}

std::map<std::string, Tensor> events_of(const Interactions& data) {
  std::vector<std::int32_t> items;
  std::vector<float> ratings;
  std::vector<double> timestamps;
  for (const Event& event : data.events) {
    items.push_back(event.item);
    ratings.push_back(event.rating);
    timestamps.push_back(event.timestamp);
  }
  const auto count = static_cast<std::int64_t>(items.size());
  return {{"offsets", from_vector(data.offsets, {static_cast<std::int64_t>(data.offsets.size())})},
          {"items", from_vector(items, {count})},
          {"ratings", from_vector(ratings, {count})},
          {"timestamps", from_vector(timestamps, {count})}};
}

Interactions read_data(const fs::path& folder) {
  const Json catalogue = parse_json(read_file(folder / catalogue_file));
  Interactions data;
  data.source = catalogue.at("source");
  data.has_ratings = catalogue.at("has_ratings");
  data.has_timestamps = catalogue.at("has_timestamps");
  data.user_ids = catalogue.at("users").get<std::vector<std::string>>();
  for (const Json& item : catalogue.at("items")) {
    data.item_ids.push_back(item.at("id"));
    data.item_info.push_back({item.at("title"), item.at("genres").get<std::vector<std::string>>(), item.at("year")});
  }
  for (const auto& [name, values] : catalogue.at("user_columns").items()) {
    data.user_columns.push_back({name, values.get<std::vector<std::string>>()});
  }
  const std::map<std::string, Tensor> tensors = load_safetensors(folder / events_file).tensors;
  data.offsets = tensors.at("offsets").to_vector<std::int64_t>();
  const std::vector<std::int32_t> items = tensors.at("items").to_vector<std::int32_t>();
  const std::vector<float> ratings = tensors.at("ratings").to_vector<float>();
  const std::vector<double> timestamps = tensors.at("timestamps").to_vector<double>();
  const bool consistent = data.offsets.size() == data.user_ids.size() + 1 && data.offsets.front() == 0 &&
                          std::is_sorted(data.offsets.begin(), data.offsets.end()) &&
                          data.offsets.back() == static_cast<std::int64_t>(items.size()) &&
                          ratings.size() == items.size() && timestamps.size() == items.size();
  check(consistent, "{} does not fit {}", events_file, catalogue_file);
  for (std::size_t i = 0; i < items.size(); ++i) {
    check(items[i] >= 0 && items[i] < data.items(), "{}: item {} of {}", events_file, items[i], data.items());
    data.events.push_back({items[i], ratings[i], timestamps[i]});
  }
  return data;
}

}  // namespace

void save_model(const fs::path& path, const TrainedModel& model) {
  AtomicFolder folder(path, {settings_file, weights_file, catalogue_file, events_file, training_file});
  write_file(folder.fresh() / settings_file, json_text(to_json(model.settings), 2) + "\n");
  nn::save_tensors(folder.fresh() / weights_file, model.ranker->module().state_dict());
  write_file(folder.fresh() / catalogue_file, json_text(catalogue_json(model.data), 1) + "\n");
  save_safetensors(folder.fresh() / events_file, events_of(model.data));
  write_file(folder.fresh() / training_file, json_text(to_json(model.record), 1) + "\n");
  folder.commit();
}

TrainedModel load_model(const fs::path& folder) {
  check(AtomicFolder::exists(folder), "model {}: there is no such folder", folder.string());
  AtomicFolder::recover(folder);
  check(fs::exists(folder / settings_file), "model {}: there is no {} in it; `train --output` makes such a folder",
        folder.string(), settings_file);
  try {
    TrainedModel model;
    model.settings = settings_from_json(parse_sorted_json(read_file(folder / settings_file)));
    model.data = read_data(folder);
    model.record = record_from_json(parse_json(read_file(folder / training_file)));
    model.ranker = make_ranker(model.settings, model.data.users(), model.data.items());
    model.ranker->module().load_state_dict(nn::load_tensors(folder / weights_file));
    model.ranker->module().eval();
    return model;
  } catch (const std::exception& error) {
    fail("model {}: {}", folder.string(), error.what());
  }
}

Interactions adopt(const Interactions& data, const Interactions& catalogue, std::int64_t& unknown) {
  std::unordered_map<std::string_view, std::int32_t> number;
  for (std::size_t i = 0; i < catalogue.item_ids.size(); ++i)
    number.emplace(catalogue.item_ids[i], static_cast<std::int32_t>(i));
  Interactions result = data;
  result.item_ids = catalogue.item_ids;
  result.item_info = catalogue.item_info;
  result.offsets = {0};
  result.events.clear();
  unknown = 0;
  for (std::int64_t user = 0; user < data.users(); ++user) {
    for (Event event : data.events_of(user)) {
      const auto known = number.find(data.item_ids[static_cast<std::size_t>(event.item)]);
      if (known == number.end()) {
        ++unknown;
        continue;
      }
      event.item = known->second;
      result.events.push_back(event);
    }
    result.offsets.push_back(static_cast<std::int64_t>(result.events.size()));
  }
  return result;
}

}  // namespace heed::examples::recommender
