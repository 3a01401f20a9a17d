#include "examples/recommender/baselines.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "examples/common/random_stream.h"
#include "kernels/error.h"

namespace heed::examples::recommender {

namespace {

std::vector<float> count_events(const Histories& histories, std::int64_t items) {
  std::vector<float> counts(items);
  for (const auto& history : histories) {
    for (const Event& event : history) ++counts[event.item];
  }
  return counts;
}

class Popularity : public Baseline {
 public:
  Popularity(const Histories& histories, std::int64_t items) : counts_(count_events(histories, items)) {}
  std::string name() const override { return "popularity"; }
  void score(const Query&, std::span<float> scores) const override { std::ranges::copy(counts_, scores.begin()); }

 private:
  std::vector<float> counts_;
};

class Markov : public Baseline {
 public:
  Markov(const Histories& histories, std::int64_t items) : popularity_(count_events(histories, items)) {
    // Below one for every item, so that it decides between equal counts only.
    const float most = *std::ranges::max_element(popularity_);
    for (float& value : popularity_) value /= most + 1;
    std::vector<std::pair<std::int32_t, std::int32_t>> steps;
    for (const auto& history : histories) {
      for (std::size_t i = 1; i < history.size(); ++i) steps.emplace_back(history[i - 1].item, history[i].item);
    }
    std::ranges::sort(steps);
    begins_.assign(items + 1, 0);
    for (const auto& [from, to] : steps) ++begins_[from + 1];
    for (std::int64_t item = 0; item < items; ++item) begins_[item + 1] += begins_[item];
    for (const auto& step : steps) followers_.push_back(step.second);
  }
  std::string name() const override { return "markov"; }
  void score(const Query& query, std::span<float> scores) const override {
    std::ranges::copy(popularity_, scores.begin());
    if (query.history.empty()) return;
    const std::int32_t last = query.history.back().item;
    for (std::int64_t i = begins_[last]; i < begins_[last + 1]; ++i) scores[followers_[i]] += 1;
  }

 private:
  std::vector<float> popularity_;
  std::vector<std::int64_t> begins_;     // [items + 1] into followers_
  std::vector<std::int32_t> followers_;  // one entry per step seen
};

class SequentialKnn : public Baseline {
 public:
  SequentialKnn(const Histories& histories, std::int64_t items, const NeighbourSettings& settings)
      : histories_(histories), settings_(settings), lists_(items), idf_(items) {
    for (std::size_t user = 0; user < histories.size(); ++user) {
      for (std::size_t i = 0; i < histories[user].size(); ++i) {
        lists_[histories[user][i].item].push_back({static_cast<std::int32_t>(user), static_cast<std::int32_t>(i)});
      }
    }
    const auto users = static_cast<double>(histories.size());
    for (std::int64_t item = 0; item < items; ++item) {
      const std::size_t met = lists_[item].size();
      idf_[item] = met == 0 ? 0.0 : std::max(0.0, std::log(users / static_cast<double>(met)));
      shorten(lists_[item]);
    }
    for (const auto& history : histories) {
      length_factors_.push_back(
          1 / std::pow(std::max<double>(1, static_cast<double>(history.size())), settings_.length_power));
    }
  }

  std::string name() const override { return "knn"; }

  void score(const Query& query, std::span<float> scores) const override {
    std::ranges::fill(scores, 0.0F);
    std::vector<Match> matches = find_matches(query);
    std::vector<std::pair<double, std::size_t>> neighbours;  // similarity, the first of its matches
    for (std::size_t begin = 0, end; begin < matches.size(); begin = end) {
      double similarity = 0;
      for (end = begin; end < matches.size() && matches[end].user == matches[begin].user; ++end) {
        similarity += matches[end].weight;
      }
      neighbours.emplace_back(similarity * length_factors_[matches[begin].user], begin);
    }
    const auto kept = std::min(std::ssize(neighbours), settings_.neighbours);
    std::ranges::partial_sort(neighbours, neighbours.begin() + kept, [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    const auto steps = static_cast<std::int32_t>(5 * settings_.reach);  // e^-5: what lies beyond is below 1%
    for (const auto& [similarity, begin] : std::span(neighbours).first(kept)) {
      const std::int32_t user = matches[begin].user;
      for (std::size_t i = begin; i < matches.size() && matches[i].user == user; ++i) {
        const std::span<const Event> history = histories_[user];
        const double weight = similarity * matches[i].weight * length_factors_[user];
        const auto last = std::min(matches[i].position + steps, static_cast<std::int32_t>(history.size()) - 1);
        for (std::int32_t next = matches[i].position + 1; next <= last; ++next) {
          scores[history[next].item] +=
              static_cast<float>(weight * std::exp((matches[i].position - next) / settings_.reach));
        }
      }
    }
  }

 private:
  struct Place {
    std::int32_t user, position;
  };
  struct Match {
    std::int32_t user, position;
    double weight;  // r(i) idf(i)
  };

  void shorten(std::vector<Place>& list) const {
    const auto longest = static_cast<std::size_t>(settings_.longest_list);
    if (list.size() <= longest) return;
    for (std::size_t i = 0; i < longest; ++i) list[i] = list[i * list.size() / longest];
    list.resize(longest);
  }

  // The places where others met the history's recent items, by user.
  std::vector<Match> find_matches(const Query& query) const {
    std::vector<Match> matches;
    const auto recent = std::min(settings_.recent, std::ssize(query.history));
    double recency = 1;
    for (std::int64_t step = 0; step < recent; ++step, recency *= settings_.decay) {
      const std::int32_t item = query.history[query.history.size() - 1 - step].item;
      for (const Place& place : lists_[item]) {
        if (place.user != query.user) matches.push_back({place.user, place.position, recency * idf_[item]});
      }
    }
    std::ranges::stable_sort(matches, {}, &Match::user);
    return matches;
  }

  Histories histories_;
  NeighbourSettings settings_;
  std::vector<std::vector<Place>> lists_;  // [items]
  std::vector<double> idf_;                // [items]
  std::vector<double> length_factors_;     // [users]
};

void check_histories(const char* name, const Histories& histories, std::int64_t items) {
  if (items <= 0) throw Error(fmt::format("{}: no items", name));
  for (const auto& history : histories) {
    for (const Event& event : history) {
      if (event.item < 0 || event.item >= items) {
        throw Error(fmt::format("{}: item {} out of range for {} items", name, event.item, items));
      }
    }
  }
}

}  // namespace

std::unique_ptr<Baseline> popularity(const Histories& histories, std::int64_t items) {
  check_histories("popularity", histories, items);
  return std::make_unique<Popularity>(histories, items);
}

std::unique_ptr<Baseline> markov(const Histories& histories, std::int64_t items) {
  check_histories("markov", histories, items);
  return std::make_unique<Markov>(histories, items);
}

std::unique_ptr<Baseline> sequential_knn(const Histories& histories, std::int64_t items,
                                         const NeighbourSettings& settings) {
  check_histories("knn", histories, items);
  return std::make_unique<SequentialKnn>(histories, items, settings);
}

std::vector<std::unique_ptr<Baseline>> standard_baselines(const Histories& histories, std::int64_t items) {
  std::vector<std::unique_ptr<Baseline>> result;
  result.push_back(popularity(histories, items));
  result.push_back(markov(histories, items));
  result.push_back(sequential_knn(histories, items));
  return result;
}

}  // namespace heed::examples::recommender
