#include "examples/recommender/ranker.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "examples/recommender/attentive_model.h"
#include "examples/recommender/sequential_model.h"
#include "examples/recommender/windows.h"

namespace heed::examples::recommender {
namespace {

// `weights` of the window's events, put where those events stand in the whole history.
std::vector<double> over_history(const Person& person, const std::vector<double>& weights, std::int64_t length) {
  std::vector<double> result(person.history.size(), 0.0);
  const std::size_t kept = std::min(result.size(), static_cast<std::size_t>(length));
  for (std::size_t i = 0; i < kept; ++i) result[result.size() - kept + i] = weights[i];
  return result;
}

class SequentialRanker : public Ranker {
 public:
  SequentialRanker(const Settings& settings, std::int64_t items) : settings_(settings), model_(settings, items) {}

  SequentialModel& module() override { return model_; }
  const SequentialModel& module() const override { return model_; }

  Tensor scores(std::span<const Person> people) const override {
    const NoGrad no_grad;
    const Windows windows = windows_of(people, settings_.length, settings_.like_from);
    const Tensor hidden = model_.encode(windows.items, windows.visible).hidden;  // [people, longest, width]
    const std::int64_t longest = windows.items.size(1);
    std::vector<std::int64_t> last;
    for (std::size_t p = 0; p < people.size(); ++p) {
      last.push_back(static_cast<std::int64_t>(p) * longest + std::max<std::int64_t>(windows.last_visible[p], 0));
    }
    const Tensor state =
        index_select(hidden.flatten(0, 1), 0, from_vector(last, {static_cast<std::int64_t>(last.size())}));
    const Tensor scores = model_.scores(state, seen(windows));  // [people, items]
    // Who has no visible event has no state either: all items are equal to them.
    std::vector<float> known;
    for (const std::int64_t position : windows.last_visible) known.push_back(position >= 0 ? 1.0f : 0.0f);
    return scores * from_vector(known, {static_cast<std::int64_t>(known.size()), 1});
  }

  // Where the newest visible event looked in the last layer, over all heads. The same for every item: this model makes
  // up its mind before it looks at the items.
  std::vector<double> attention(const Person& person, std::int32_t) const override {
    const NoGrad no_grad;
    const Windows windows = windows_of({&person, 1}, settings_.length, settings_.like_from);
    if (windows.last_visible[0] < 0) return std::vector<double>(person.history.size(), 0.0);
    const Tensor weights = model_.encode(windows.items, windows.visible, true).weights.back();  // [1, length, length]
    return over_history(person, weights.select(0, 0).select(0, windows.last_visible[0]).to_vector<double>(),
                        settings_.length);
  }

  Tensor evidence(const Tensor& scores) const override {
    const NoGrad no_grad;
    return log_softmax(scores, -1);
  }

 private:
  Seen seen(const Windows& windows) const {
    if (!settings_.repeat_aware) return {};
    std::vector<std::int64_t> items;
    std::vector<float> met;
    const std::int64_t people = windows.items.size(0), longest = windows.items.size(1);
    for (const std::vector<std::int64_t>& met_items : windows.met) append_seen(met_items, longest, items, met);
    return {from_vector(items, {people, longest}), from_vector(met, {people, longest})};
  }

  Settings settings_;
  SequentialModel model_;
};

class AttentiveRanker : public Ranker {
 public:
  AttentiveRanker(const Settings& settings, std::int64_t users, std::int64_t items)
      : settings_(settings), items_(items), model_(settings, users, items) {}

  AttentiveModel& module() override { return model_; }
  const AttentiveModel& module() const override { return model_; }

  Tensor scores(std::span<const Person> people) const override {
    const NoGrad no_grad;
    const auto count = static_cast<std::int64_t>(people.size());
    const Tensor candidates = arange(0, static_cast<double>(items_)).unsqueeze(0).expand({count, items_});
    return model_(examples(people, candidates)).logit;
  }

  std::vector<double> attention(const Person& person, std::int32_t item) const override {
    const NoGrad no_grad;
    const Tensor candidate = full({1, 1}, item, {Dtype::i64});
    const Tensor weights = model_(examples({&person, 1}, candidate), true).weights;  // [1, 1, length]
    return over_history(person, weights.to_vector<double>(), settings_.length);
  }

  Tensor evidence(const Tensor& scores) const override { return scores; }

 private:
  AttentiveModel::Examples examples(std::span<const Person> people, const Tensor& candidates) const {
    const Windows windows = windows_of(people, settings_.length, settings_.like_from);
    std::vector<std::int64_t> users;
    for (const Person& person : people) users.push_back(person.user < 0 ? model_.unknown_user() : person.user);
    return {from_vector(users, {static_cast<std::int64_t>(users.size())}),
            windows.items,
            windows.reactions,
            windows.lengths,
            candidates,
            windows.visible};
  }

  Settings settings_;
  std::int64_t items_;
  AttentiveModel model_;
};

}  // namespace

std::unique_ptr<Ranker> make_ranker(const Settings& settings, std::int64_t users, std::int64_t items) {
  check_settings(settings);
  if (settings.model == "attentive") return std::make_unique<AttentiveRanker>(settings, users, items);
  return std::make_unique<SequentialRanker>(settings, items);
}

std::vector<Explanation> explain(const Ranker& ranker, const Person& person, std::span<const std::int32_t> items) {
  // The person as they are, and once for every event with that event hidden.
  std::vector<Person> people(person.history.size() + 1, person);
  for (std::size_t event = 0; event < person.history.size(); ++event) {
    Person& without = people[event + 1];
    without.ignored.resize(person.history.size(), false);
    without.ignored[event] = true;
  }
  const Tensor evidence = ranker.evidence(ranker.scores(people));  // [1 + events, items]
  std::vector<Explanation> result;
  for (const std::int32_t item : items) {
    const std::vector<double> column = evidence.select(1, item).to_vector<double>();
    Explanation explanation{item, column[0], ranker.attention(person, item), {}};
    for (std::size_t event = 0; event < person.history.size(); ++event) {
      const bool hidden_already = !person.ignored.empty() && person.ignored[event];
      explanation.effect.push_back(hidden_already ? 0.0 : column[0] - column[event + 1]);
    }
    result.push_back(std::move(explanation));
  }
  return result;
}

std::vector<Recommended> recommend(const Ranker& ranker, const Person& person, std::int64_t k, bool include_seen) {
  std::vector<double> scores = ranker.scores({&person, 1}).to_vector<double>();
  if (!include_seen) {
    for (const Event& event : person.history)
      scores[static_cast<std::size_t>(event.item)] = -std::numeric_limits<double>::infinity();
  }
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  std::vector<Recommended> result;
  for (const std::int32_t item : order) {
    const double score = scores[static_cast<std::size_t>(item)];
    if (static_cast<std::int64_t>(result.size()) == k || score == -std::numeric_limits<double>::infinity()) break;
    result.push_back({item, score});
  }
  return result;
}

}  // namespace heed::examples::recommender
