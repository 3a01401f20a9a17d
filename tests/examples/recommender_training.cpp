#include <doctest/doctest.h>
#include <omp.h>

#include "engine/json.h"
#include "examples/recommender/cinema.h"
#include "examples/recommender/presentation.h"
#include "examples/recommender/sequential_model.h"
#include "examples/recommender/store.h"
#include "tests/harness/examine.h"
#include "tests/harness/temporary_folder.h"

namespace heed::examples::recommender {
namespace {

using test::message_of;

const Interactions& small_cinema() {
  static const Interactions data = simulate_cinema({.seed = 3, .users = 120}).data;
  return data;
}

Settings small_settings(const std::string& model, const std::string& loss = "softmax") {
  Settings settings;
  settings.model = model;
  settings.loss = loss;
  settings.length = 16;
  settings.width = 16;
  settings.hidden = 16;
  settings.negatives = 20;
  settings.epochs = 2;
  settings.batch_events = 500;
  settings.learning_rate = 3e-3;
  return settings;
}

TrainedModel trained(const Settings& settings) {
  return train_model(small_cinema(), settings, {.quiet = true});
}

Person person_with(const std::vector<std::int32_t>& items) {
  Person person;
  for (const std::int32_t item : items) person.history.push_back({item, 5, 0});
  return person;
}

std::vector<double> scores_of(const Ranker& ranker, const Person& person) {
  return ranker.scores({&person, 1}).to_vector<double>();
}

}  // namespace

TEST_CASE("recommender: a loss history repeats to the bit, whatever the number of threads") {
  std::vector<Settings> all = {small_settings("sequential"), small_settings("sequential", "sampled"),
                               small_settings("attentive")};
  all.push_back(small_settings("sequential"));
  all.back().recency_slopes = {0.5, 0.03};
  all.back().shuffle_ties = true;
  all.push_back(small_settings("sequential"));
  all.back().repeat_aware = true;
  for (const Settings& settings : all) {
    CAPTURE(settings.model);
    CAPTURE(settings.loss);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const std::vector<double> first = trained(settings).record.losses;
    omp_set_num_threads(2);
    const std::vector<double> second = trained(settings).record.losses, third = trained(settings).record.losses;
    omp_set_num_threads(threads);
    CHECK_GT(first.size(), 4);
    CHECK_EQ(first, second);
    CHECK_EQ(second, third);
    Settings other_seed = settings;
    other_seed.seed = 2;
    CHECK_NE(trained(other_seed).record.losses, first);
  }
}

TEST_CASE("recommender: every loss falls") {
  for (const char* loss : {"softmax", "sampled", "bce", "gbce"}) {
    CAPTURE(loss);
    Settings settings = small_settings("sequential", loss);
    settings.epochs = 6;
    const std::vector<EpochRecord> epochs = trained(settings).record.epochs;
    CHECK_LT(epochs.back().loss, epochs.front().loss);
  }
}

TEST_CASE("recommender: the folder of a model serves alone, and is replaced as a whole") {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder / "model";
  for (const char* kind : {"sequential", "attentive"}) {
    const TrainedModel model = trained(small_settings(kind));
    save_model(path, model);
    const TrainedModel loaded = load_model(path);
    const Person person = person_with({1, 2, 3});
    CHECK_EQ(scores_of(*model.ranker, person), scores_of(*loaded.ranker, person));
    CHECK_EQ(loaded.data.user_ids, model.data.user_ids);
    CHECK_EQ(loaded.data.item_info[7].title, model.data.item_info[7].title);
    CHECK_EQ(loaded.record.losses, model.record.losses);
    CHECK_EQ(loaded.settings.model, kind);
  }
  const std::string missing = folder / "missing";
  CHECK_EQ(message_of([&] { load_model(missing); }), "model " + missing + ": there is no such folder");
  std::filesystem::remove(path / "model.safetensors");
  CHECK_NE(message_of([&] { load_model(path); }).find("model.safetensors"), std::string::npos);
}

TEST_CASE("recommender: what is ignored leaves no trace") {
  for (const char* kind : {"sequential", "attentive"}) {
    CAPTURE(kind);
    const TrainedModel model = trained(small_settings(kind));
    Person one = person_with({1, 2, 3, 4}), other = person_with({1, 20, 3, 30});
    CHECK_NE(scores_of(*model.ranker, one), scores_of(*model.ranker, other));
    one.ignored = other.ignored = {false, true, false, true};
    CHECK_EQ(scores_of(*model.ranker, one), scores_of(*model.ranker, other));
    Person nobody = person_with({1, 2});
    nobody.ignored = {true, true};
    for (const double score : scores_of(*model.ranker, nobody)) CHECK(std::isfinite(score));
  }
}

TEST_CASE("recommender: explanations say what hiding an event does, and where the model looked") {
  for (const char* kind : {"sequential", "attentive"}) {
    CAPTURE(kind);
    const TrainedModel model = trained(small_settings(kind));
    const Person person = person_with({5, 6, 7, 8, 9});
    const std::vector<std::int32_t> items = {11, 12};
    const std::vector<Explanation> why = explain(*model.ranker, person, items);
    REQUIRE_EQ(why.size(), 2);
    const auto evidence = [&](const Person& p, std::int32_t item) {
      return model.ranker->evidence(model.ranker->scores({&p, 1})).select(1, item).item<double>();
    };
    for (const Explanation& explanation : why) {
      double attention = 0;
      for (const double weight : explanation.attention) attention += weight;
      CHECK_EQ(attention, doctest::Approx(1));
      for (std::size_t event = 0; event < person.history.size(); ++event) {
        Person without = person;
        without.ignored.assign(5, false);
        without.ignored[event] = true;
        CHECK_EQ(
            explanation.effect[event],
            doctest::Approx(evidence(person, explanation.item) - evidence(without, explanation.item)).epsilon(1e-4));
      }
    }
  }
}

TEST_CASE("recommender: a model aware of repeats learns that nobody sees a film twice") {
  Settings settings = small_settings("sequential");
  settings.repeat_aware = true;
  settings.epochs = 8;
  settings.learning_rate = 0.02;
  const TrainedModel model = trained(settings);
  const auto& sequential = dynamic_cast<const SequentialModel&>(model.ranker->module());
  CHECK_LT(sequential.repeat.item<double>(), -0.3);
  // The learned number is added once for each item met, however often it was met, and not for ignored ones.
  Person person = person_with({1, 2, 1});
  const std::vector<double> with = scores_of(*model.ranker, person);
  const NoGrad no_grad;
  const double learned = sequential.repeat.item<double>();
  assign(sequential.repeat, zeros({1}));
  const std::vector<double> without = scores_of(*model.ranker, person);
  for (std::size_t item = 0; item < with.size(); ++item) {
    CHECK_EQ(with[item] - without[item], doctest::Approx(item == 1 || item == 2 ? learned : 0).epsilon(1e-4));
  }
}

TEST_CASE("recommender: lists leave out what was seen, and hold no more than there is") {
  const TrainedModel model = trained(small_settings("sequential"));
  const Person person = person_with({1, 2, 3});
  const std::vector<Recommended> list = recommend(*model.ranker, person, 10'000, false);
  CHECK_EQ(list.size(), static_cast<std::size_t>(model.data.items() - 3));
  for (std::size_t i = 0; i < list.size(); ++i) {
    CHECK((list[i].item != 1 && list[i].item != 2 && list[i].item != 3));
    if (i > 0) CHECK_GE(list[i - 1].score, list[i].score);
  }
  CHECK_EQ(recommend(*model.ranker, person, 10'000, true).size(), static_cast<std::size_t>(model.data.items()));
}

TEST_CASE("recommender: the sequential model is causal, and mean pooling weighs evenly") {
  Settings settings = small_settings("sequential");
  SequentialModel model(settings, 50);
  model.eval();
  const Tensor whole = model.encode(from_vector<std::int64_t>({1, 2, 3, 4}, {1, 4})).hidden;
  const Tensor prefix = model.encode(from_vector<std::int64_t>({1, 2, 9}, {1, 3})).hidden;
  CHECK_EQ(test::difference(whole.slice(1, 0, 2), test::Array(prefix.slice(1, 0, 2).detach()), 1e-6), "");
  settings.attention = false;
  SequentialModel pooling(settings, 50);
  pooling.eval();
  const NoGrad no_grad;
  const std::vector<Tensor> weights = pooling.encode(from_vector<std::int64_t>({1, 2, 3, 4}, {1, 4}), {}, true).weights;
  CHECK_EQ(test::difference(weights.back().select(0, 0).select(0, 3), test::Array({4}, 0.25), 1e-6), "");
}

TEST_CASE("recommender: settings that make no sense are refused by name") {
  const auto json = [](const char* text) { return parse_sorted_json(text); };
  CHECK_EQ(message_of([&] { settings_from_json(json(R"({"widht": 3})")); }), "settings: there is no setting 'widht'");
  CHECK_EQ(message_of([&] { settings_from_json(json(R"({"width": "wide"})")); }), "settings: width cannot be \"wide\"");
  CHECK_EQ(message_of([&] { check_settings(settings_from_json(json(R"({"width": 30, "heads": 4})"))); }),
           "settings: width 30 is not a multiple of heads 4");
  CHECK_EQ(message_of([&] { check_settings(settings_from_json(json(R"({"loss": "hinge"})"))); }),
           "settings: loss 'hinge' is none of softmax, sampled, bce, gbce");
  Settings settings = small_settings("attentive");
  settings.recency_slopes = {1, 2, 3};
  settings.heads = 3;
  CHECK_EQ(to_json(settings_from_json(to_json(settings))), to_json(settings));
}

}  // namespace heed::examples::recommender
