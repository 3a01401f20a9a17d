#include "examples/text_classifier/explanation.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/autograd.h"
#include "engine/ops.h"
#include "examples/common/page.h"
#include "examples/text_classifier/page_files.h"

namespace heed::examples::classifier {
namespace {

using Json = nlohmann::ordered_json;

// The code points [span) of a text.
std::string piece_of(const std::string& text, const nn::Span& span) {
  std::size_t at = 0, begin = 0;
  for (std::int64_t i = 0; i < span.end; ++i) {
    if (i == span.start) begin = at;
    nn::next_code_point(text, at);
  }
  return nn::valid_utf8(std::string_view(text).substr(begin, at - begin));
}

// log(p / (1 - p)) of one class: its logit, less the log of the sum of the others' exponentials.
Tensor log_odds(const Tensor& logits, std::int64_t chosen) {
  const std::int64_t classes = logits.size(1);
  const Tensor others = cat({logits.slice(1, 0, chosen), logits.slice(1, chosen + 1, classes)}, 1);
  return logits.select(1, chosen) - log_sum_exp(others, {1});  // [batch]
}

// The token that says nothing: what pretraining hid words behind, or what training from scratch hides them behind.
std::int64_t blank_token(const TrainedClassifier& trained) {
  const bool pretrained = trained.settings.encoder != "tiny" && trained.settings.encoder != "bag";
  const auto mask = trained.tokenizer.find(trained.tokenizer.options().mask_token);
  return pretrained && mask ? *mask : trained.tokenizer.unk_id();
}

void integrate_gradients(const TrainedClassifier& trained, const nn::Encoding& encoding, const nn::TokenBatch& tokens,
                         std::int64_t steps, Explanation& result) {
  constexpr std::int64_t at_once = 8;
  const TextClassifier& model = *trained.model;
  const Tensor words = model.words(tokens.ids).detach();  // [1, length, width]
  std::vector<float> is_word;
  for (const std::uint8_t added : encoding.added) is_word.push_back(added ? 0.0f : 1.0f);
  const Tensor blank = model.words(from_vector<std::int64_t>({blank_token(trained)}, {1, 1}, words.device())).detach();
  const Tensor path = (words - blank) * from_vector(is_word, {1, words.size(1), 1}, words.device());
  Tensor total = zeros_like(words);
  const auto along = [&](const std::vector<float>& shares) {  // words - (1 - share) path, for each share
    std::vector<float> missing;
    for (const float share : shares) missing.push_back(1 - share);
    const auto count = static_cast<std::int64_t>(shares.size());
    return words - from_vector(missing, {count, 1, 1}, words.device()) * path;
  };
  for (std::int64_t begin = 0; begin < steps; begin += at_once) {
    std::vector<float> shares;  // midpoints
    for (std::int64_t i = begin; i < std::min(begin + at_once, steps); ++i)
      shares.push_back((static_cast<float>(i) + 0.5f) / static_cast<float>(steps));
    const Tensor x = along(shares).detach().set_requires_grad();
    const Tensor odds = sum(log_odds(model.from_words(x, {}).logits, result.predicted));
    total = total + sum(grad({odds}, {x})[0].detach(), {0}, true);
  }
  const NoGrad no_grad;
  const Tensor contributions = sum(total * path, {2}) / static_cast<double>(steps);  // [1, length]
  result.contributions = contributions.to_vector<float>();
  const std::vector<double> ends =
      log_odds(model.from_words(along({0, 1}), {}).logits, result.predicted).to_vector<double>();
  result.difference = ends[1] - ends[0];
  result.residue = result.difference - sum(contributions).item<double>();
}

}  // namespace

Explanation explain(const TrainedClassifier& trained, const std::string& text, std::int64_t steps, Device device) {
  const nn::Encoding encoding = trained.encode(text);
  Explanation result;
  result.text = nn::valid_utf8(text);
  result.truncated = trained.tokenizer.encode(text).size() > encoding.size();
  for (std::size_t i = 0; i < encoding.size(); ++i) {
    const std::string& token = trained.tokenizer.token(encoding.ids[i]);
    result.tokens.push_back(encoding.added[i] ? token : piece_of(text, encoding.offsets[i]));
    result.continues.push_back(token.starts_with(trained.tokenizer.options().continuing_subword_prefix));
  }
  const nn::TokenBatch tokens = nn::pad({&encoding, 1}, trained.tokenizer.pad_id(), device);
  {
    const NoGrad no_grad;
    const Classified classified = (*trained.model)(tokens, true);
    result.probabilities = softmax(classified.logits, -1).to_vector<float>();
    result.predicted = most_probable(result.probabilities);
    if (classified.pooling.defined()) result.pooling = classified.pooling.to_vector<float>();
    const std::size_t length = encoding.size();
    for (const Tensor& weights : classified.attention) {  // [1, heads, length, length]
      const std::vector<float> values = weights.to_vector<float>();
      auto& heads = result.attention.emplace_back(static_cast<std::size_t>(weights.size(1)));
      auto next = values.begin();
      for (auto& head : heads) {
        for (std::size_t from = 0; from < length; ++from, next += static_cast<std::ptrdiff_t>(length))
          head.emplace_back(next, next + static_cast<std::ptrdiff_t>(length));
      }
    }
  }
  integrate_gradients(trained, encoding, tokens, steps, result);
  return result;
}

Json to_json(const Explanation& e, const std::vector<std::string>& labels) {
  Json probabilities = Json::object();
  for (std::size_t c = 0; c < labels.size(); ++c) probabilities[labels[c]] = e.probabilities[c];
  return {
      {"attention", {{{"name", nullptr}, {"attn", e.attention}, {"left_text", e.tokens}, {"right_text", e.tokens}}}},
      {"default_filter", "0"},
      {"text", e.text},
      {"tokens", e.tokens},
      {"prediction", labels[static_cast<std::size_t>(e.predicted)]},
      {"probabilities", probabilities},
      {"pooling", e.pooling},
      {"integrated_gradients", e.contributions},
      {"log_odds_difference", e.difference},
      {"integration_error", e.residue},
      {"truncated", e.truncated}};
}

namespace {

// A head's weights as one character each, of 64 levels: the square root of a weight, so that small ones show.
std::string levels_of(const std::vector<std::vector<float>>& head) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string levels;
  for (const std::vector<float>& row : head) {
    for (const float weight : row)
      levels += digits[static_cast<std::size_t>(std::lround(63 * std::sqrt(std::clamp(weight, 0.0f, 1.0f))))];
  }
  return levels;
}

Json page_json(const Explanation& e) {
  Json attention = Json::array();
  for (const auto& layer : e.attention) {
    Json heads = Json::array();
    for (const auto& head : layer) heads.push_back(levels_of(head));
    attention.push_back(std::move(heads));
  }
  return {{"tokens", e.tokens},
          {"continues", e.continues},
          {"probabilities", e.probabilities},
          {"predicted", e.predicted},
          {"pooling", e.pooling},
          {"contributions", e.contributions},
          {"difference", e.difference},
          {"residue", e.residue},
          {"truncated", e.truncated},
          {"attention", std::move(attention)}};
}

}  // namespace

std::string render_explanations(const std::vector<Explanation>& explanations, const std::vector<std::string>& labels,
                                const std::string& title,
                                const std::vector<std::pair<std::string, std::string>>& facts) {
  Json texts = Json::array();
  for (const Explanation& explanation : explanations) texts.push_back(page_json(explanation));
  const std::string heading = escaped_html(title);
  const std::string data = escaped_json({{"labels", labels}, {"facts", facts}, {"texts", std::move(texts)}});
  return filled(explanation_html,
                {{"title", heading}, {"style", explanation_css}, {"data", data}, {"script", explanation_js}});
}

std::vector<std::pair<std::string, std::string>> facts_of(const TrainedClassifier& trained) {
  const Settings& s = trained.settings;
  std::string encoder =
      fmt::format("{}, {} parameters", s.encoder == "tiny" || s.encoder == "bag" ? s.encoder : "pretrained BERT",
                  format_count(static_cast<double>(trained.record.parameters)));
  if (trained.model->bert) {
    const auto counted = [](std::int64_t count, const char* thing) {
      return fmt::format(", {} {}{}", count, thing, count == 1 ? "" : "s");
    };
    encoder += counted(trained.bert.num_hidden_layers, "layer") + counted(trained.bert.num_attention_heads, "head") +
               fmt::format(", width {}", trained.bert.hidden_size);
  }
  return {{"encoder", encoder}, {"pooling", s.pooling}, {"reads", fmt::format("the first {} tokens", s.length)}};
}

}  // namespace heed::examples::classifier
