#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>

#include "engine/file.h"
#include "engine/json.h"
#include "engine/ops.h"
#include "examples/text_classifier/commands.h"
#include "examples/text_classifier/explanation.h"
#include "examples/text_classifier/reviews.h"
#include "nn/checkpoint.h"
#include "tests/harness/examine.h"
#include "tests/harness/temporary_folder.h"

namespace heed::examples::classifier {
namespace {

using heed::test::message_of;

Settings small_settings(const std::string& pooling = "attention") {
  Settings settings;
  settings.pooling = pooling;
  settings.layers = 1;
  settings.heads = 2;
  settings.width = 16;
  settings.hidden = 16;
  settings.epochs = 2;
  settings.word_dropout = 0.1;
  return settings;
}

const Corpus& train_reviews() {
  static const Corpus corpus = generate_reviews(3, 200);
  return corpus;
}
const Corpus& dev_reviews() {
  static const Corpus corpus = generate_reviews(4, 60);
  return corpus;
}

Contest trained(const Settings& settings) {
  return train_contest(train_reviews(), dev_reviews(), settings, {.quiet = true});
}

std::vector<std::vector<float>> scores_of(const TrainedClassifier& trained, const std::vector<std::string>& texts) {
  std::vector<nn::Encoding> encodings;
  for (const std::string& text : texts) encodings.push_back(trained.encode(text));
  return probabilities(*trained.model, encodings, trained.tokenizer.pad_id(), {});
}
const std::vector<std::string> some_texts = {"the soup was bland", "",
                                             "the fish was not terrible. we sat by the window"};

void check_says(const std::string& message, const std::string& words) {
  CAPTURE(message);
  CHECK_NE(message.find(words), std::string::npos);
}

}  // namespace

TEST_CASE("classifier: a loss history repeats to the bit, whatever the number of threads") {
  for (const char* pooling : {"attention", "cls", "mean", "max"}) {
    CAPTURE(pooling);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const std::vector<double> first = trained(small_settings(pooling)).trained.record.losses;
    omp_set_num_threads(2);
    const std::vector<double> second = trained(small_settings(pooling)).trained.record.losses;
    omp_set_num_threads(threads);
    CHECK_EQ(first.size(), 14);
    CHECK_EQ(first, second);
    Settings other_seed = small_settings(pooling);
    other_seed.seed = 2;
    CHECK_NE(trained(other_seed).trained.record.losses, first);
  }
}

TEST_CASE("classifier: attention sees what a bag of words cannot") {
  Settings settings = small_settings();
  settings.width = 32;
  settings.hidden = 64;
  settings.word_dropout = 0;
  settings.dropout = settings.attention_dropout = 0;
  settings.epochs = 12;
  settings.learning_rate = 5e-3;
  const Contest contest = train_contest(generate_reviews(3, 1500), dev_reviews(), settings, {.quiet = true});
  CHECK_GT(contest.dev.accuracy, 0.9);
  CHECK_LT(contest.bag_dev->accuracy, 0.9);
  CHECK_GT(contest.dev.accuracy, contest.bag_dev->accuracy + 0.05);
}

TEST_CASE("classifier: what is kept is the epoch that was best on dev") {
  Settings settings = small_settings();
  settings.epochs = 6;
  settings.learning_rate = 0.05;  // jumps about
  const Contest contest = trained(settings);
  double best = 0;
  for (const EpochRecord& epoch : contest.trained.record.epochs) best = std::max(best, epoch.validation[0].second);
  CHECK_EQ(contest.dev.accuracy, best);
  settings.patience = 1;
  settings.epochs = 50;
  CHECK_LT(trained(settings).trained.record.epochs.size(), 50);
}

TEST_CASE("classifier: filling up a batch changes nothing, nor does the company of other texts") {
  for (const char* pooling : {"attention", "cls", "mean", "max"}) {
    CAPTURE(pooling);
    const TrainedClassifier made = std::move(trained(small_settings(pooling)).trained);
    const auto together = scores_of(made, some_texts);
    for (std::size_t i = 0; i < some_texts.size(); ++i) {
      const auto alone = scores_of(made, {some_texts[i]});
      float total = 0;
      for (std::size_t c = 0; c < alone[0].size(); ++c) {
        CHECK(std::abs(alone[0][c] - together[i][c]) <= 1e-5);
        total += alone[0][c];
      }
      CHECK_EQ(total, doctest::Approx(1));
    }
  }
}

TEST_CASE("classifier: the folder of a model predicts alone, and what is damaged in it is named") {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder / "model";
  const TrainedClassifier made = std::move(trained(small_settings()).trained);
  save_model(path, made);
  const TrainedClassifier loaded = load_model(path);
  CHECK_EQ(scores_of(made, some_texts), scores_of(loaded, some_texts));
  CHECK_EQ(loaded.record.losses, made.record.losses);
  CHECK_EQ(loaded.labels, made.labels);
  CHECK_EQ(loaded.baseline, made.baseline);

  for (const char* file :
       {"settings.json", "model.safetensors", "config.json", "tokenizer.json", "labels.json", "training.json"}) {
    CAPTURE(file);
    const std::string whole = read_file(path / file);
    write_file(path / file, std::string_view(whole).substr(0, whole.size() / 2));
    check_says(message_of([&] { load_model(path); }), file);
    std::filesystem::remove(path / file);
    check_says(message_of([&] { load_model(path); }), file);
    write_file(path / file, whole);
  }
  nn::NamedTensors weights = nn::load_tensors(path / "model.safetensors");
  std::erase_if(weights, [](const auto& entry) { return entry.first == "scorer.weight"; });
  nn::save_tensors(path / "model.safetensors", weights);
  check_says(message_of([&] { load_model(path); }),
             "model.safetensors: the state does not fit\n  missing: scorer.weight");
}

TEST_CASE("classifier: a pretrained encoder is fine-tuned, or stays as it is") {
  const test::TemporaryFolder folder;
  Settings settings = small_settings("cls");
  export_model(folder / "bert", trained(settings).trained);
  const nn::Bert pretrained = nn::load_bert(folder / "bert");
  CHECK_EQ(pretrained.unused, std::vector<std::string>{"classifier.bias", "classifier.weight"});
  settings.encoder = folder / "bert";
  settings.layer_decay = 0.5;
  for (const bool frozen : {false, true}) {
    settings.frozen = frozen;
    const Contest contest = trained(settings);
    const nn::NamedTensors before = pretrained.model->state_dict(), after = contest.trained.model->bert->state_dict();
    REQUIRE_EQ(before.size(), after.size());
    bool changed = false;
    for (std::size_t i = 0; i < before.size(); ++i)
      changed = changed || before[i].second.to_vector<float>() != after[i].second.to_vector<float>();
    CHECK_EQ(changed, !frozen);
  }
  settings.length = 1000;
  check_says(message_of([&] { trained(settings); }), "reads at most 128 tokens");
}

TEST_CASE(
    "classifier: layers have learning rates of their own, matrices alone decay, and the average is what is kept") {
  Settings settings = small_settings();
  settings.layers = 2;
  settings.epochs = 1;
  settings.batch = 200;  // one step, in which Adam moves a weight by its learning rate
  settings.weight_decay = 0;
  settings.learning_rate = 1e-3;
  settings.head_learning_rate = 4e-3;
  settings.layer_decay = 0.5;
  Settings still = settings, decaying = settings, averaging = settings;
  still.learning_rate = still.head_learning_rate = 1e-30;
  decaying.weight_decay = 0.5;
  averaging.average = 0.9;
  const auto weights_after = [](const Settings& s) { return trained(s).trained.model->state_dict(); };
  const nn::NamedTensors before = weights_after(still), after = weights_after(settings),
                         decayed = weights_after(decaying), averaged = weights_after(averaging);
  const auto rate_of = [](const std::string& name) {
    if (name.starts_with("bert.embeddings.")) return 1e-3 / 8;
    if (name.starts_with("bert.encoder.layer.0.")) return 1e-3 / 4;
    return name.starts_with("bert.encoder.layer.1.") ? 1e-3 / 2 : 4e-3;
  };
  for (std::size_t i = 0; i < before.size(); ++i) {
    const std::string& name = before[i].first;
    CAPTURE(name);
    const auto largest = [](const Tensor& t) { return max(abs(t)).item<double>(); };
    if (!name.ends_with("key.bias") && name != "scorer.bias")  // their gradients are rounding errors
      CHECK_EQ(largest(after[i].second - before[i].second), doctest::Approx(rate_of(name)).epsilon(0.01));
    const double decay = before[i].second.rank() >= 2 ? 0.5 * rate_of(name) : 0;
    CHECK(largest(after[i].second - decayed[i].second - before[i].second * decay) <= 2e-7);
    CHECK(largest(averaged[i].second - after[i].second * 0.9 - before[i].second * 0.1) <= 2e-7);
  }
}

TEST_CASE("classifier: explanations add up") {
  for (const char* pooling : {"attention", "cls"}) {
    Settings settings = small_settings(pooling);
    settings.learning_rate = 0.02;  // a model that has learned something
    const TrainedClassifier made = std::move(trained(settings).trained);
    const std::string text = "The Soup was n\xc3\xb6t \xff bland!";
    const Explanation e = explain(made, text, 200, {});
    REQUIRE_GE(e.tokens.size(), 6);
    CHECK_EQ(e.tokens.front(), "[CLS]");
    CHECK_EQ(e.tokens[1], "The");
    CHECK_EQ(e.tokens.back(), "[SEP]");
    REQUIRE_EQ(e.attention.size(), 1);
    REQUIRE_EQ(e.attention[0].size(), 2);
    for (const auto& row : e.attention[0][1]) {
      double total = 0;
      for (const float weight : row) total += weight;
      CHECK_EQ(total, doctest::Approx(1));
    }
    double pooled = 0, contributions = 0;
    for (const float weight : e.pooling) pooled += weight;
    CHECK_EQ(pooled, doctest::Approx(std::string(pooling) == "cls" ? 0 : 1));
    for (const float contribution : e.contributions) contributions += contribution;
    CHECK_EQ(contributions + e.residue, doctest::Approx(e.difference).epsilon(1e-3));
    CHECK(std::abs(e.residue) <= 0.01 * std::abs(e.difference) + 1e-3);
    CHECK_GT(std::abs(e.difference), 1e-3);
    CHECK_EQ(e.contributions.front(), 0);  // [CLS] is there with and without the words
    // The same from the scores: hiding all words is where the path begins.
    const auto odds = [&](const std::vector<float>& p) {
      return std::log(p[static_cast<std::size_t>(e.predicted)]) -
             std::log(1 - p[static_cast<std::size_t>(e.predicted)]);
    };
    nn::Encoding hidden = made.encode(text);
    for (std::size_t i = 0; i < hidden.size(); ++i)
      if (!hidden.added[i]) hidden.ids[i] = made.tokenizer.unk_id();
    const auto blank = probabilities(*made.model, {&hidden, 1}, 0, {})[0];
    CHECK_EQ(odds(e.probabilities) - odds(blank), doctest::Approx(e.difference).epsilon(1e-3));
  }
}

TEST_CASE("classifier: the page of an explanation holds any text without harm") {
  const TrainedClassifier made = std::move(trained(small_settings()).trained);
  const std::string text = "</script><script>alert(1)</script> & {{data}}";
  const std::string page = render_explanations({explain(made, text, 4, {})}, made.labels, "A <title>", facts_of(made));
  CHECK_EQ(page.find("<script>alert"), std::string::npos);
  CHECK_EQ(page.find("A <title>"), std::string::npos);
  CHECK_EQ(page.find("{{style}}"), std::string::npos);
  const nlohmann::ordered_json json = to_json(explain(made, text, 4, {}), made.labels);
  CHECK_EQ(json["attention"][0]["attn"].size(), 1);
  CHECK_EQ(json["attention"][0]["left_text"].size(), json["attention"][0]["attn"][0][0].size());
}

TEST_CASE("classifier: settings that make no sense are refused by name") {
  const auto refusal = [](const char* text) {
    return message_of([&] { check_settings(settings_from_json(parse_sorted_json(text))); });
  };
  CHECK_EQ(refusal(R"({"widht": 3})"), "settings: there is no setting 'widht'");
  CHECK_EQ(refusal(R"({"width": "wide"})"), "settings: width cannot be \"wide\"");
  CHECK_EQ(refusal(R"({"width": 30, "heads": 4})"), "settings: width 30 is not a multiple of heads 4");
  CHECK_EQ(refusal(R"({"pooling": "sum"})"), "settings: pooling 'sum' is none of attention, cls, mean, max");
  CHECK_EQ(refusal(R"({"encoder": "bag"})"), "settings: a bag is pooled by mean, not by attention");
  CHECK_EQ(refusal(R"({"frozen": true})"), "settings: frozen is for a pretrained encoder, not for tiny");
  CHECK_EQ(refusal(R"({"length": 2})"), "settings: length is 2, but two tokens stand around the text");
  CHECK_EQ(refusal(R"({"dropout": 1})"), "settings: dropout is 1, not in [0, 1)");
  CHECK_EQ(refusal(R"({"epochs": 0})"), "settings: epochs is 0, not positive");
  const Corpus one = parse_corpus("a x\na y\n", "one.txt");
  CHECK_EQ(message_of([&] { train_contest(one, one, Settings(), {.quiet = true}); }),
           "one.txt: every text has the label 'a'; there is nothing to learn");
}

}  // namespace heed::examples::classifier
