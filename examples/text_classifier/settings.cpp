#include "examples/text_classifier/settings.h"

#include "engine/json.h"
#include "examples/common/settings_json.h"

namespace heed::examples::classifier {
namespace {

// Calls visit(name, member) for every setting: the one list of them.
template <class SettingsType, class Visit>
void for_each_setting(SettingsType& s, Visit&& visit) {
  visit("encoder", s.encoder);
  visit("layers", s.layers);
  visit("heads", s.heads);
  visit("width", s.width);
  visit("hidden", s.hidden);
  visit("vocabulary", s.vocabulary);
  visit("min_frequency", s.min_frequency);
  visit("lowercase", s.lowercase);
  visit("length", s.length);
  visit("window", s.window);
  visit("pooling", s.pooling);
  visit("dropout", s.dropout);
  visit("attention_dropout", s.attention_dropout);
  visit("pooled_dropout", s.pooled_dropout);
  visit("piece_dropout", s.piece_dropout);
  visit("word_dropout", s.word_dropout);
  visit("frozen", s.frozen);
  visit("epochs", s.epochs);
  visit("batch", s.batch);
  visit("learning_rate", s.learning_rate);
  visit("head_learning_rate", s.head_learning_rate);
  visit("layer_decay", s.layer_decay);
  visit("weight_decay", s.weight_decay);
  visit("warm_up", s.warm_up);
  visit("clip_norm", s.clip_norm);
  visit("average", s.average);
  visit("label_smoothing", s.label_smoothing);
  visit("balanced", s.balanced);
  visit("patience", s.patience);
  visit("dev_share", s.dev_share);
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
  require_positive("layers", s.layers);
  require_positive("heads", s.heads);
  require_positive("width", s.width);
  require_positive("hidden", s.hidden);
  require_positive("vocabulary", s.vocabulary);
  require_positive("min_frequency", s.min_frequency);
  require_positive("epochs", s.epochs);
  require_positive("batch", s.batch);
  require_positive("learning_rate", s.learning_rate);
  require_positive("layer_decay", s.layer_decay);
  check(s.length >= 3, "settings: length is {}, but two tokens stand around the text", s.length);
  check(s.width % s.heads == 0, "settings: width {} is not a multiple of heads {}", s.width, s.heads);
  check(s.pooling == "attention" || s.pooling == "cls" || s.pooling == "mean" || s.pooling == "max",
        "settings: pooling '{}' is none of attention, cls, mean, max", s.pooling);
  check(s.encoder != "bag" || s.pooling == "mean", "settings: a bag is pooled by mean, not by {}", s.pooling);
  check(!s.frozen || (s.encoder != "tiny" && s.encoder != "bag"),
        "settings: frozen is for a pretrained encoder, not for {}", s.encoder);
  require_share("dropout", s.dropout);
  require_share("attention_dropout", s.attention_dropout);
  require_share("pooled_dropout", s.pooled_dropout);
  require_share("piece_dropout", s.piece_dropout);
  require_share("word_dropout", s.word_dropout);
  require_share("warm_up", s.warm_up);
  require_share("average", s.average);
  require_share("label_smoothing", s.label_smoothing);
  require_share("dev_share", s.dev_share);
  const auto not_negative = [](const char* name, double value) {
    check(value >= 0, "settings: {} is {}", name, value);
  };
  not_negative("head_learning_rate", s.head_learning_rate);
  not_negative("weight_decay", s.weight_decay);
  not_negative("clip_norm", s.clip_norm);
  not_negative("patience", static_cast<double>(s.patience));
}

Settings bag_of(const Settings& settings) {
  Settings bag;
  bag.encoder = "bag";
  bag.pooling = "mean";
  bag.vocabulary = settings.vocabulary;
  bag.min_frequency = settings.min_frequency;
  bag.lowercase = settings.lowercase;
  bag.length = settings.length;
  bag.balanced = settings.balanced;
  bag.dev_share = settings.dev_share;
  bag.seed = settings.seed;
  bag.width = 128;
  bag.pooled_dropout = 0.3;
  bag.epochs = 12;
  bag.learning_rate = 3e-3;
  return bag;
}

}  // namespace heed::examples::classifier
