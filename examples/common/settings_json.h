// Settings as JSON. A record of settings has one list of its members, for_each_setting(visit), which calls
// visit("name", member) for each; all else follows from it.
#pragma once

#include <filesystem>
#include <set>
#include <string>

#include "engine/error.h"
#include "engine/file.h"
#include "engine/joined.h"
#include "engine/json.h"

namespace heed::examples {

// Sets the members that `json` names. Unknown keys and wrong types throw heed::Error naming the key.
template <class ForEachSetting>
void read_settings(const nlohmann::json& json, ForEachSetting&& for_each_setting) {
  check(json.is_object(), "settings: expected a JSON object");
  std::set<std::string> known;
  for_each_setting([&](const char* name, auto& member) {
    known.insert(name);
    if (!json.contains(name)) return;
    try {
      member = json.at(name).template get<std::decay_t<decltype(member)>>();
    } catch (const nlohmann::json::exception&) {
      fail("settings: {} cannot be {}", name, json_text(json.at(name)));
    }
  });
  for (const auto& [key, value] : json.items()) check(known.contains(key), "settings: there is no setting '{}'", key);
}

// All members, under their names.
template <class ForEachSetting>
nlohmann::json write_settings(ForEachSetting&& for_each_setting) {
  nlohmann::json json = nlohmann::json::object();
  for_each_setting([&](const char* name, const auto& member) { json[name] = member; });
  return json;
}

// Throws heed::Error naming a setting that is not positive, or not in [0, 1).
template <class T>
void require_positive(const char* name, T value) {
  check(value > 0, "settings: {} is {}, not positive", name, value);
}
inline void require_share(const char* name, double value) {
  check(value >= 0 && value < 1, "settings: {} is {}, not in [0, 1)", name, value);
}

// The settings that a preset changes: PRESET is the name of a file in `folder` (without .json), or a file.
inline nlohmann::json read_preset(const std::string& preset, const std::filesystem::path& folder) {
  std::filesystem::path path = preset;
  if (!path.has_extension()) path = folder / (preset + ".json");
  if (!std::filesystem::exists(path)) {
    std::set<std::string> known;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) known.insert(entry.path().stem().string());
    fail("preset '{}' is neither a file nor one of: {}", preset, joined(known, ", "));
  }
  try {
    return parse_sorted_json(read_file(path));
  } catch (const nlohmann::json::exception& error) {
    fail("preset {}: {}", path.string(), error.what());
  }
}

}  // namespace heed::examples
