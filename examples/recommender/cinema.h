// A simulated cinema: the data that the recommender carries with it, and whose causes are known.
#pragma once

#include <cstdint>
#include <vector>

#include "examples/recommender/data.h"

namespace heed::recommender {

// How the simulation goes. Eight genres; in each, films of falling popularity (Zipf: the n-th has weight
// 1 / (n + zipf_shift)), most of which have a sequel and many a third part. A visitor has three favourite genres, set by
// taste and age, and at any time is in the mood for one genre:
//   1. the mood changes with a chance of mood_change percent, mostly to a favourite;
//   2. with a chance of sequel percent, if next parts of films of that genre that the visitor has seen are due, the
//      visitor watches one of them. A next part is due from some visit on, drawn uniformly from 1 to longest_wait
//      visits after the part before, until it is seen;
//   3. else a film of that genre, by popularity, not seen before and not a sequel.
// Nobody sees a film twice, nor a sequel before the part it follows. So the last film shows the mood and popularity the
// crowd's taste, but which sequel is due stands in the film before it, anywhere in the history: a recommender has to
// look back, and at the right place. With the chances below a little over a third of the visits are sequels; the other
// visits stay hard to predict, as visits are.
// A visitor's rating follows the film's quality and the visitor's taste; the rating of a sequel follows the rating
// given to the part before it.
struct CinemaSettings {
  std::uint64_t seed = 1;
  int users = 2500;
  int films_per_genre = 32;  // not counting sequels
  int zipf_shift = 4;
  int mood_change = 20;   // percent
  int sequel = 80;        // percent
  int longest_wait = 20;  // visits
  int shortest = 15;      // visits; regular and devoted visitors come more often
  int longest = 50;
};

struct Cinema {
  Interactions data;
  // The truth behind the data, to hold explanations against.
  std::vector<std::int32_t> predecessor;  // [items] the film this one continues; -1: it continues none
  std::vector<std::int64_t> cause;        // [events] index in data.events of the visit that made this one due; or -1
};

// Deterministic: the same settings give the same data on every platform, whatever the number of threads.
Cinema simulate_cinema(const CinemaSettings& settings = {});

}  // namespace heed::recommender
