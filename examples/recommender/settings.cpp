#include "examples/recommender/settings.h"

#include <set>

#include "engine/error.h"

namespace heed::recommender {
namespace {

// Calls visit(name, member) for every setting: the one list of them.
template <class SettingsType, class Visit>
void for_each_setting(SettingsType& s, Visit&& visit) {
  visit("model", s.model);
  visit("length", s.length);
  visit("width", s.width);
  visit("layers", s.layers);
  visit("heads", s.heads);
  visit("hidden", s.hidden);
  visit("attention", s.attention);
  visit("recency_slopes", s.recency_slopes);
  visit("repeat_aware", s.repeat_aware);
  visit("dropout", s.dropout);
  visit("attention_dropout", s.attention_dropout);
  visit("loss", s.loss);
  visit("negatives", s.negatives);
  visit("gbce_calibration", s.gbce_calibration);
  visit("label_smoothing", s.label_smoothing);
  visit("like_from", s.like_from);
  visit("epochs", s.epochs);
  visit("batch_events", s.batch_events);
  visit("learning_rate", s.learning_rate);
  visit("weight_decay", s.weight_decay);
  visit("warm_up", s.warm_up);
  visit("clip_norm", s.clip_norm);
  visit("shuffle_ties", s.shuffle_ties);
  visit("fit_validation", s.fit_validation);
  visit("seed", s.seed);
}

}  // namespace

Settings settings_from_json(const nlohmann::json& json, Settings base) {
  check(json.is_object(), "settings: expected a JSON object");
  std::set<std::string> known;
  for_each_setting(base, [&](const char* name, auto& member) {
    known.insert(name);
    if (!json.contains(name)) return;
    try {
      member = json.at(name).template get<std::decay_t<decltype(member)>>();
    } catch (const nlohmann::json::exception&) {
      fail("settings: {} cannot be {}", name, json.at(name).dump());
    }
  });
  for (const auto& [key, value] : json.items()) check(known.contains(key), "settings: there is no setting '{}'", key);
  return base;
}

nlohmann::json to_json(const Settings& settings) {
  nlohmann::json json = nlohmann::json::object();
  for_each_setting(settings, [&](const char* name, const auto& member) { json[name] = member; });
  return json;
}

void check_settings(const Settings& s) {
  const auto positive = [](const char* name, auto value) {
    check(value > 0, "settings: {} is {}, not positive", name, value);
  };
  const auto share = [](const char* name, double value) {
    check(value >= 0 && value < 1, "settings: {} is {}, not in [0, 1)", name, value);
  };
  check(s.model == "sequential" || s.model == "attentive", "settings: model '{}' is neither sequential nor attentive",
        s.model);
  check(s.loss == "softmax" || s.loss == "sampled" || s.loss == "bce" || s.loss == "gbce",
        "settings: loss '{}' is none of softmax, sampled, bce, gbce", s.loss);
  positive("length", s.length);
  positive("width", s.width);
  positive("layers", s.layers);
  positive("heads", s.heads);
  positive("hidden", s.hidden);
  positive("negatives", s.negatives);
  positive("epochs", s.epochs);
  positive("batch_events", s.batch_events);
  positive("learning_rate", s.learning_rate);
  check(s.width % s.heads == 0, "settings: width {} is not a multiple of heads {}", s.width, s.heads);
  check(s.recency_slopes.empty() || static_cast<std::int64_t>(s.recency_slopes.size()) == s.heads,
        "settings: {} recency_slopes for {} heads", s.recency_slopes.size(), s.heads);
  check(!s.repeat_aware || s.loss == "softmax", "settings: repeat_aware needs the loss softmax, not {}", s.loss);
  share("dropout", s.dropout);
  share("attention_dropout", s.attention_dropout);
  share("label_smoothing", s.label_smoothing);
  share("warm_up", s.warm_up);
  check(s.weight_decay >= 0, "settings: weight_decay is {}", s.weight_decay);
  check(s.clip_norm >= 0, "settings: clip_norm is {}", s.clip_norm);
}

}  // namespace heed::recommender
