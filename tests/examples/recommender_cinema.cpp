// The simulated cinema: always the same, and what its header says it is.
#include "examples/recommender/cinema.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "examples/common/random_stream.h"
#include "examples/recommender/metrics.h"
#include "examples/recommender/split.h"
#include "kernels/error.h"

namespace {

using namespace heed::examples;
using namespace heed::examples::recommender;

// FNV-1a over everything that a model could learn from.
std::uint64_t fingerprint(const Interactions& data) {
  std::uint64_t hash = 14695981039346656037ULL;
  const auto add = [&hash](std::uint64_t value) {
    for (int byte = 0; byte < 8; ++byte) hash = (hash ^ (value >> 8 * byte & 0xff)) * 1099511628211ULL;
  };
  const auto add_text = [&add](const std::string& text) {
    for (const char c : text) add(static_cast<unsigned char>(c));
  };
  for (const Event& event : data.events) {
    add(event.item);
    add(static_cast<std::uint64_t>(event.rating));
    add(static_cast<std::uint64_t>(event.timestamp));
  }
  for (const std::int64_t offset : data.offsets) add(offset);
  for (const ItemInfo& info : data.item_info) add_text(info.title + info.genres.at(0));
  for (const UserColumn& column : data.user_columns) {
    for (const std::string& value : column.values) add_text(value);
  }
  return hash;
}

TEST_CASE("random streams: fair, and apart from each other") {
  RandomStream random(1, 0), other(1, 1), again(1, 0);
  std::vector<int> counts(7);
  int equal = 0;
  for (int i = 0; i < 70000; ++i) {
    const std::uint32_t drawn = random.below(7);
    CHECK_UNARY(drawn == again.below(7));
    equal += drawn == other.below(7);
    ++counts[drawn];
  }
  for (const int count : counts) CHECK(std::abs(count - 10000) < 400);  // more than four standard deviations
  CHECK(std::abs(equal - 10000) < 400);
  const std::vector<std::uint32_t> weights = {0, 30, 0, 70, 0};
  int first = 0;
  for (int i = 0; i < 10000; ++i) {
    const std::size_t drawn = random.weighted(weights);
    REQUIRE(weights[drawn] > 0);
    first += drawn == 1;
  }
  CHECK(std::abs(first - 3000) < 200);
}

TEST_CASE("cinema: the same data from the same seed, on every platform") {
  const Cinema cinema = simulate_cinema();
  CHECK(fingerprint(cinema.data) == fingerprint(simulate_cinema().data));
  CHECK(fingerprint(cinema.data) == 10545651876084212408ULL);
  CinemaSettings other;
  other.seed = 2;
  CHECK(fingerprint(cinema.data) != fingerprint(simulate_cinema(other).data));
}

TEST_CASE("cinema: visits obey the rules") {
  const CinemaSettings settings;
  const Cinema cinema = simulate_cinema(settings);
  const Interactions& data = cinema.data;
  REQUIRE(std::ssize(cinema.cause) == std::ssize(data.events));
  REQUIRE(std::ssize(cinema.predecessor) == data.items());
  CHECK(data.users() == settings.users);
  std::set<std::string> titles;
  for (std::int64_t item = 0; item < data.items(); ++item) {
    titles.insert(data.item_info[item].title);
    const std::int32_t previous = cinema.predecessor[item];
    if (previous < 0) continue;
    CHECK(data.item_info[item].genres == data.item_info[previous].genres);
    CHECK(data.item_info[item].year > data.item_info[previous].year);
    CHECK(data.item_info[item].title.find(" II") != std::string::npos);
  }
  CHECK(std::ssize(titles) == data.items());
  bool rules = true;
  for (std::int64_t user = 0; user < data.users(); ++user) {
    std::map<std::int32_t, std::int64_t> seen;  // item -> event
    for (std::int64_t event = data.offsets[user]; event < data.offsets[user + 1]; ++event) {
      const std::int32_t item = data.events[event].item, previous = cinema.predecessor[item];
      const bool causes_agree =
          previous < 0 ? cinema.cause[event] == -1 : seen.contains(previous) && cinema.cause[event] == seen[previous];
      const bool ordered =
          event == data.offsets[user] || data.events[event - 1].timestamp < data.events[event].timestamp;
      rules = rules && causes_agree && ordered && seen.emplace(item, event).second && data.events[event].rating >= 1 &&
              data.events[event].rating <= 5;
    }
    const std::int64_t visits = data.offsets[user + 1] - data.offsets[user];
    rules = rules && visits >= settings.shortest && visits <= settings.longest;
  }
  CHECK(rules);
}

TEST_CASE("cinema: its statistics") {
  const Cinema cinema = simulate_cinema();
  const Interactions& data = cinema.data;
  std::vector<std::int64_t> counts(data.items()), distances;
  std::int64_t positive = 0;
  for (std::size_t event = 0; event < data.events.size(); ++event) {
    ++counts[data.events[event].item];
    positive += data.events[event].rating >= 4;
    if (cinema.cause[event] >= 0) distances.push_back(static_cast<std::int64_t>(event) - cinema.cause[event]);
  }
  std::ranges::sort(counts, std::greater());
  std::ranges::sort(distances);
  const auto events = static_cast<double>(data.events.size());
  const double sequels = static_cast<double>(distances.size()) / events;
  MESSAGE(data.users(), " users, ", data.items(), " films, ", data.events.size(), " visits, ",
          events / static_cast<double>(data.users()), " a user; sequels ", sequels, " of the visits, median distance ",
          distances[distances.size() / 2], ", 90% within ", distances[distances.size() * 9 / 10],
          "; most watched film ", counts[0], ", median ", counts[counts.size() / 2], ", least ", counts.back(),
          "; ratings of 4 and 5: ", static_cast<double>(positive) / events);
  CHECK(data.items() >= 350);
  CHECK(data.items() <= 600);
  CHECK(sequels > 0.2);
  CHECK(sequels < 0.45);
  CHECK(distances[distances.size() / 2] >= 3);  // the last film is not what a sequel follows
  CHECK(distances[distances.size() * 9 / 10] >= 10);
  CHECK(counts[0] > 3 * counts[counts.size() / 2]);
}

// What the header claims of the history: whoever knows the rules and where to look ranks far better than whoever knows
// the rules and the films seen, but not their order; and both better than popularity.
TEST_CASE("cinema: the order of the history holds what its contents do not") {
  const CinemaSettings settings;
  const Cinema cinema = simulate_cinema(settings);
  const Interactions& data = cinema.data;
  const LeaveOneOut split(data);
  std::map<std::string, int> genre_numbers;
  std::vector<int> genre(data.items());
  std::vector<double> popularity(data.items());
  for (std::int64_t item = 0; item < data.items(); ++item) {
    genre[item] = genre_numbers.emplace(data.item_info[item].genres[0], std::ssize(genre_numbers)).first->second;
  }
  for (const Event& event : data.events) ++popularity[event.item];
  REQUIRE(genre_numbers.size() == 8);

  // P(item) = P(genre) P(item | genre): a part that is due, or a new film by popularity.
  const auto hit_rate = [&](auto&& weigh_genres) {
    std::vector<std::int64_t> ranks;
    for (const std::int32_t user : split.users()) {
      const auto history = split.history(user, Part::test);
      std::vector<double> mood(8, 0.01);
      weigh_genres(history, mood);
      std::set<std::int32_t> seen;
      for (const Event& event : history) seen.insert(event.item);
      const auto due = [&](std::int32_t item) {
        return cinema.predecessor[item] >= 0 && seen.contains(cinema.predecessor[item]) && !seen.contains(item);
      };
      std::vector<int> parts_due(8);
      std::vector<double> films_left(8);
      for (std::int32_t item = 0; item < data.items(); ++item) {
        parts_due[genre[item]] += due(item);
        if (cinema.predecessor[item] < 0 && !seen.contains(item)) films_left[genre[item]] += popularity[item];
      }
      std::vector<float> scores(data.items());
      const double sequel = settings.sequel / 100.0;
      for (std::int32_t item = 0; item < data.items(); ++item) {
        const int g = genre[item];
        if (due(item)) scores[item] = static_cast<float>(mood[g] * sequel / parts_due[g]);
        if (cinema.predecessor[item] >= 0 || seen.contains(item)) continue;
        scores[item] =
            static_cast<float>(mood[g] * (parts_due[g] > 0 ? 1 - sequel : 1) * popularity[item] / films_left[g]);
      }
      ranks.push_back(full_rank(scores, split.target(user, Part::test).item));
    }
    const RankingMetrics metrics = ranking_metrics(ranks);
    MESSAGE("HR@10 ", metrics.hit_rate.value, " NDCG@10 ", metrics.ndcg.value);
    return metrics.hit_rate;
  };
  const Estimate by_order = hit_rate([&](std::span<const Event> history, std::vector<double>& mood) {
    double weight = 1;  // of the visits with the same company, the latest count most
    for (std::int64_t i = std::ssize(history) - 2; i >= 0; i -= 2, weight *= 0.2)
      mood[genre[history[i].item]] += weight;
  });
  const Estimate by_contents = hit_rate([&](std::span<const Event> history, std::vector<double>& mood) {
    for (const Event& event : history) mood[genre[event.item]] += 1;
  });
  const Estimate by_last_film = hit_rate(
      [&](std::span<const Event> history, std::vector<double>& mood) { mood[genre[history.back().item]] += 1; });
  CHECK(by_order.low > by_contents.high + 0.15);
  CHECK(by_contents.low > by_last_film.high);
  CHECK(by_order.high < 0.8);  // and nobody can know it all
}

TEST_CASE("cinema: impossible settings") {
  CinemaSettings settings;
  settings.users = 0;
  CHECK_THROWS_AS(simulate_cinema(settings), heed::Error);
  settings = {};
  settings.sequel = 101;
  CHECK_THROWS_AS(simulate_cinema(settings), heed::Error);
  settings = {};
  settings.films_per_genre = 193;  // more than there are titles
  CHECK_THROWS_AS(simulate_cinema(settings), heed::Error);
  settings = {};
  settings.films_per_genre = 3;
  settings.longest = 24;  // every film there is without sequels
  CHECK_NOTHROW(simulate_cinema(settings));
}

}  // namespace
