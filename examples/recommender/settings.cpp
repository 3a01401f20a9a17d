#include "examples/recommender/settings.h"

#include "engine/json.h"
#include "examples/common/settings_json.h"

namespace heed::examples::recommender {
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
  read_settings(json, [&](auto&& visit) { for_each_setting(base, visit); });
  return base;
}

nlohmann::json to_json(const Settings& settings) {
  return write_settings([&](auto&& visit) { for_each_setting(settings, visit); });
}

std::string to_json_text(const Settings& settings) {
  return json_text(to_json(settings));
}

void check_settings(const Settings& s) {
  check(s.model == "sequential" || s.model == "attentive", "settings: model '{}' is neither sequential nor attentive",
        s.model);
  check(s.loss == "softmax" || s.loss == "sampled" || s.loss == "bce" || s.loss == "gbce",
        "settings: loss '{}' is none of softmax, sampled, bce, gbce", s.loss);
  require_positive("length", s.length);
  require_positive("width", s.width);
  require_positive("layers", s.layers);
  require_positive("heads", s.heads);
  require_positive("hidden", s.hidden);
  require_positive("negatives", s.negatives);
  require_positive("epochs", s.epochs);
  require_positive("batch_events", s.batch_events);
  require_positive("learning_rate", s.learning_rate);
  check(s.width % s.heads == 0, "settings: width {} is not a multiple of heads {}", s.width, s.heads);
  check(s.recency_slopes.empty() || static_cast<std::int64_t>(s.recency_slopes.size()) == s.heads,
        "settings: {} recency_slopes for {} heads", s.recency_slopes.size(), s.heads);
  check(!s.repeat_aware || s.loss == "softmax", "settings: repeat_aware needs the loss softmax, not {}", s.loss);
  require_share("dropout", s.dropout);
  require_share("attention_dropout", s.attention_dropout);
  require_share("label_smoothing", s.label_smoothing);
  require_share("warm_up", s.warm_up);
  check(s.weight_decay >= 0, "settings: weight_decay is {}", s.weight_decay);
  check(s.clip_norm >= 0, "settings: clip_norm is {}", s.clip_norm);
}

}  // namespace heed::examples::recommender
