// Trainings on the device of the tests (HEED_TEST_DEVICE) against the same on the CPU.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/file.h"
#include "engine/json.h"
#include "engine/random.h"
#include "examples/text_classifier/commands.h"
#include "examples/text_classifier/explanation.h"
#include "examples/text_classifier/reviews.h"
#include "nn/checkpoint.h"
#include "tests/harness/examine.h"
#include "tests/harness/temporary_folder.h"

namespace heed::examples::classifier {
namespace {

// A folder with a BERT of random weights that knows the reviews' words.
std::string random_bert(const Corpus& corpus, const test::TemporaryFolder& temporary) {
  nn::WordCounts words;
  for (const Example& example : corpus.examples) words.add(example.text);
  const nn::Tokenizer tokenizer(nn::learn_word_pieces(words.counts()));
  nn::BertConfig config;
  config.vocab_size = tokenizer.vocabulary_size();
  config.hidden_size = 16;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.intermediate_size = 32;
  config.max_position_embeddings = 32;
  config.pad_token_id = tokenizer.pad_id();
  manual_seed(5);
  temporary.write("bert/config.json", nn::to_json(config));
  const std::filesystem::path folder = temporary / "bert";
  write_file(folder / "tokenizer.json", tokenizer.to_json());
  nn::save_tensors(folder / "model.safetensors", nn::BertModel(config).state_dict());
  return folder.string();
}

struct Run {
  std::vector<double> losses;
  double dev_loss;
  std::vector<float> contributions;  // of the tokens of a text
};

Run run_on(Device device, const Settings& settings) {
  const DefaultDevice scope(device);
  const Contest contest =
      train_contest(generate_reviews(3, 64), generate_reviews(4, 16), settings, {.quiet = true, .device = device});
  return {contest.trained.record.losses, contest.dev.log_loss,
          explain(contest.trained, "the soup was not bland", 8, device).contributions};
}

}  // namespace

TEST_CASE("classifier: training on the device gives the losses of the CPU, dropout and all") {
  if (default_device().type == DeviceType::cpu) {
    MESSAGE("skipped: HEED_TEST_DEVICE names no other device");
    return;
  }
  const test::TemporaryFolder temporary;
  Settings tiny;
  tiny.layers = 1;
  tiny.heads = 2;
  tiny.width = tiny.hidden = 16;
  tiny.length = 32;
  tiny.word_dropout = tiny.piece_dropout = 0.1;
  tiny.average = 0.9;
  tiny.batch = 8;
  tiny.epochs = 2;
  tiny.learning_rate = 3e-3;
  Settings window = tiny;
  window.window = 2;
  window.pooling = "max";
  window.balanced = true;
  window.label_smoothing = 0.1;
  Settings pretrained = tiny;
  pretrained.encoder = random_bert(generate_reviews(3, 64), temporary);
  pretrained.layer_decay = 0.9;
  Settings frozen = pretrained;
  frozen.frozen = true;
  frozen.pooling = "cls";
  for (const Settings& settings : {tiny, window, pretrained, frozen}) {
    CAPTURE(to_json_text(settings));
    const Run expected = run_on({}, settings), actual = run_on(default_device(), settings);
    REQUIRE_EQ(expected.losses.size(), 16);
    REQUIRE_EQ(actual.losses.size(), expected.losses.size());
    const auto close = [](double a, double b) { return std::abs(a - b) <= 1e-4 * std::abs(b); };
    for (std::size_t step = 0; step < expected.losses.size(); ++step) {
      CAPTURE(step);
      CHECK(close(actual.losses[step], expected.losses[step]));
    }
    CHECK(close(actual.dev_loss, expected.dev_loss));
    REQUIRE_EQ(actual.contributions.size(), expected.contributions.size());
    for (std::size_t i = 0; i < expected.contributions.size(); ++i)
      CHECK(std::abs(actual.contributions[i] - expected.contributions[i]) <= 1e-3);
  }
}

}  // namespace heed::examples::classifier
