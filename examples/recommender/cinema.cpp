#include "examples/recommender/cinema.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <string>

#include "examples/common/random_stream.h"
#include "kernels/error.h"

namespace heed::examples::recommender {

namespace {

struct Genre {
  const char* name;
  std::array<const char*, 12> subjects;  // what its titles speak of
};

constexpr std::array<Genre, 8> genres = {{
    {"Adventure",
     {"Caravan", "Compass", "Expedition", "Island", "Lagoon", "Mountain", "River", "Sail", "Summit", "Temple", "Trail",
      "Voyage"}},
    {"Animation",
     {"Acorn", "Balloon", "Beetle", "Bumblebee", "Duckling", "Hedgehog", "Kite", "Mitten", "Pancake", "Teapot", "Toad",
      "Walrus"}},
    {"Comedy",
     {"Bachelor", "Birthday", "Cousin", "Dentist", "Honeymoon", "Landlord", "Neighbour", "Office", "Picnic", "Roommate",
      "Uncle", "Wedding"}},
    {"Crime",
     {"Alibi", "Bank", "Blackmail", "Detective", "Fingerprint", "Forgery", "Getaway", "Heist", "Informer", "Ransom",
      "Verdict", "Witness"}},
    {"Drama",
     {"Autumn", "Daughter", "Farewell", "Garden", "Inheritance", "Letter", "Orchard", "Silence", "Station", "Teacher",
      "Village", "Winter"}},
    {"Horror",
     {"Attic", "Cellar", "Coven", "Crypt", "Curse", "Fog", "Grave", "Lantern", "Mirror", "Scarecrow", "Séance",
      "Shadow"}},
    {"Romance",
     {"Balcony", "Bouquet", "Kiss", "Lighthouse", "Moonlight", "Promise", "Rose", "Serenade", "Summer", "Valentine",
      "Violin", "Waltz"}},
    {"Science Fiction",
     {"Android", "Asteroid", "Beacon", "Colony", "Comet", "Galaxy", "Nebula", "Orbit", "Reactor", "Signal", "Starship",
      "Wormhole"}},
}};

constexpr std::array<const char*, 16> qualities = {"Broken", "Crimson", "Distant", "Empty",    "Fearless", "Forgotten",
                                                   "Golden", "Hidden",  "Last",    "Little",   "Lost",     "Midnight",
                                                   "Secret", "Silent",  "Stolen",  "Wandering"};

struct Film {
  std::string title;
  std::size_t genre = 0;
  int year = 0;
  int quality = 0;           // -1, 0 or 1: added to every rating
  int previous = -1;         // the part before
  int next = -1;             // the part after
  std::uint32_t weight = 0;  // popularity; sequels have none of their own
};

// Streams of the seed: visitors take those from 0 on.
constexpr std::uint64_t film_stream = ~std::uint64_t{0};

void add_sequels(std::vector<Film>& films, int first, RandomStream& random) {
  static constexpr std::array<const char*, 2> numerals = {" II", " III"};
  const std::array<std::uint32_t, 2> chances = {70, 50};
  const std::string title = films[first].title;
  int previous = first;
  for (int part = 0; part < 2 && random.percent(chances[part]); ++part) {
    const auto next = static_cast<int>(films.size());
    films[previous].next = next;
    films.push_back({title + numerals[part], films[previous].genre,
                     films[previous].year + 2 + static_cast<int>(random.below(4)), films[previous].quality, previous});
    previous = next;
  }
}

std::vector<Film> make_films(const CinemaSettings& settings) {
  RandomStream random(settings.seed, film_stream);
  std::vector<Film> films;
  for (std::size_t genre = 0; genre < genres.size(); ++genre) {
    const auto& subjects = genres[genre].subjects;
    const auto titles = static_cast<std::uint32_t>(qualities.size() * subjects.size());
    // Titles in a shuffled order: a walk whose step has no divisor in common with their number, 192 = 2^6 * 3.
    std::uint32_t title = random.below(titles);
    for (int rank = 0; rank < settings.films_per_genre; ++rank) {
      title = (title + 77) % titles;
      Film film;
      film.title = fmt::format("The {} {}", qualities[title % qualities.size()], subjects[title / qualities.size()]);
      film.genre = genre;
      film.year = 1970 + static_cast<int>(random.below(40));
      film.quality = static_cast<int>(random.below(3)) - 1;
      film.weight = 1'000'000U / static_cast<std::uint32_t>(rank + 1 + settings.zipf_shift);
      films.push_back(film);
      add_sequels(films, static_cast<int>(films.size()) - 1, random);
    }
  }
  return films;
}

struct Visit {
  int film = 0;
  int rating = 0;
  int cause = -1;  // the visit, among this visitor's, that made this one due
  double timestamp = 0;
};

constexpr std::array<const char*, 3> ages = {"18-29", "30-49", "50+"};
constexpr std::array<const char*, 3> habits = {"occasional", "regular", "devoted"};

// Friends or family.
struct Company {
  std::array<std::uint32_t, genres.size()> interest;  // weights
  std::size_t mood;
};

class Visitor {
 public:
  Visitor(const std::vector<Film>& films, const CinemaSettings& settings, int number)
      : films_(films), settings_(settings), random_(settings.seed, number), visit_of_(films.size(), -1) {
    age_ = random_.below(ages.size());
    habit_ = random_.below(habits.size());
    for (Company& company : companies_) {
      company.interest.fill(1);
      for (const std::uint32_t weight : {30, 20, 10}) company.interest[random_.below(genres.size())] += weight;
      // Age draws a little towards some genres: Animation, Comedy; Crime, Romance; Drama, Adventure.
      static constexpr int drawn[3][2] = {{1, 2}, {3, 6}, {4, 0}};
      for (const int genre : drawn[age_]) company.interest[genre] += 8;
      company.mood = random_.weighted(company.interest);
    }
  }

  std::vector<Visit> watch() {
    const int third = (settings_.longest - settings_.shortest) / 3;
    const int visits =
        settings_.shortest + static_cast<int>(habit_) * third + static_cast<int>(random_.below(third + 1));
    double day = 16436 + static_cast<double>(random_.below(365));  // days since 1970: in the year 2015
    while (static_cast<int>(visits_.size()) < visits) {
      Company& company = companies_[visits_.size() % companies_.size()];
      if (random_.percent(settings_.mood_change)) company.mood = random_.weighted(company.interest);
      Visit visit = choose(company);
      day += 1 + random_.below(13);
      visit.timestamp = day * 86400 + 20 * 3600;
      visit_of_[visit.film] = static_cast<int>(visits_.size());
      visits_.push_back(visit);
    }
    return visits_;
  }

  const char* age() const { return ages[age_]; }
  const char* habit() const { return habits[habit_]; }

 private:
  Visit choose(Company& company) {
    std::vector<int> due;
    for (const Visit& visit : visits_) {
      const int next = films_[visit.film].next;
      if (next >= 0 && visit_of_[next] < 0 && films_[next].genre == company.mood) due.push_back(next);
    }
    if (random_.percent(settings_.sequel) && !due.empty()) {
      const int film = due[random_.below(static_cast<std::uint32_t>(due.size()))];
      const int cause = visit_of_[films_[film].previous];
      return {film, rate(visits_[cause].rating), cause};
    }
    std::vector<std::uint32_t> weights(films_.size());
    for (std::size_t film = 0; film < films_.size(); ++film) {
      if (films_[film].genre == company.mood && visit_of_[film] < 0) weights[film] = films_[film].weight;
    }
    if (std::ranges::all_of(weights, [](std::uint32_t weight) { return weight == 0; })) {  // the genre is used up
      company.mood = (company.mood + 1) % genres.size();
      return choose(company);
    }
    const auto film = static_cast<int>(random_.weighted(weights));
    return {film, rate(3 + films_[film].quality + (company.interest[company.mood] >= 10 ? 1 : -1))};
  }

  int rate(int expected) { return std::clamp(expected + static_cast<int>(random_.below(3)) - 1, 1, 5); }

  const std::vector<Film>& films_;
  const CinemaSettings& settings_;
  RandomStream random_;
  std::size_t age_, habit_;
  std::array<Company, 2> companies_;
  std::vector<int> visit_of_;  // [films] which visit saw it, or -1
  std::vector<Visit> visits_;
};

void check(const CinemaSettings& settings) {
  const bool percents =
      std::min(settings.mood_change, settings.sequel) >= 0 && std::max(settings.mood_change, settings.sequel) <= 100;
  const bool counts = settings.users > 0 && settings.shortest > 0 && settings.longest >= settings.shortest &&
                      settings.zipf_shift >= 0 && settings.films_per_genre > 0 && settings.films_per_genre <= 192;
  const bool enough = settings.longest <= settings.films_per_genre * static_cast<int>(genres.size());
  if (!percents || !counts || !enough) {
    throw Error(
        fmt::format("simulate_cinema: impossible settings: users {}, films_per_genre {} (1 to 192), zipf_shift "
                    "{}, mood_change {} and sequel {} percent, shortest {}, longest {} (at most 8 times "
                    "films_per_genre)",
                    settings.users, settings.films_per_genre, settings.zipf_shift, settings.mood_change,
                    settings.sequel, settings.shortest, settings.longest));
  }
}

}  // namespace

Cinema simulate_cinema(const CinemaSettings& settings) {
  check(settings);
  const std::vector<Film> films = make_films(settings);
  Cinema cinema;
  InteractionsBuilder builder(true, true);
  std::vector<int> film_of_item;
  UserColumn age{"age", {}}, habit{"habit", {}};
  for (int number = 0; number < settings.users; ++number) {
    Visitor visitor(films, settings, number);
    const auto first = static_cast<std::int64_t>(cinema.cause.size());
    for (const Visit& visit : visitor.watch()) {
      builder.add(std::to_string(number + 1), std::to_string(visit.film + 1), static_cast<float>(visit.rating),
                  visit.timestamp);
      if (builder.items().ids().size() > film_of_item.size()) film_of_item.push_back(visit.film);
      cinema.cause.push_back(visit.cause < 0 ? -1 : first + visit.cause);
    }
    age.values.emplace_back(visitor.age());
    habit.values.emplace_back(visitor.habit());
  }
  cinema.data = builder.build(fmt::format("simulated cinema (seed {})", settings.seed));
  cinema.data.user_columns = {std::move(age), std::move(habit)};
  std::vector<std::int32_t> item_of_film(films.size(), -1);
  for (std::size_t item = 0; item < film_of_item.size(); ++item) {
    const Film& film = films[film_of_item[item]];
    cinema.data.item_info[item] = {fmt::format("{} ({})", film.title, film.year), {genres[film.genre].name}, film.year};
    item_of_film[film_of_item[item]] = static_cast<std::int32_t>(item);
  }
  for (const int film : film_of_item) {
    cinema.predecessor.push_back(films[film].previous < 0 ? -1 : item_of_film[films[film].previous]);
  }
  return cinema;
}

}  // namespace heed::examples::recommender
