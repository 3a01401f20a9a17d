// A simulated cinema: the data that the recommender carries with it, and whose causes are known.
#pragma once

#include <cstdint>
#include <vector>

#include "examples/recommender/data.h"

namespace heed::examples::recommender {

// How the simulation goes. There are eight genres; in each, films of falling popularity (Zipf: the n-th has weight
// 1 / (n + zipf_shift)), most of which have a sequel and many a third part. A visitor goes to the cinema by turns with
// friends and with family. Either company has three favourite genres, and at any time a mood for one genre. A visit:
//   1. the mood of the company whose turn it is changes with a chance of mood_change percent, mostly to a favourite;
//   2. with a chance of sequel percent, if the visitor has seen films of that genre whose next part is still to be
//      seen, they watch one of those next parts, however long ago the part before was seen;
//   3. else they watch a film of that genre by popularity, one that the visitor has not seen and that is no sequel.
// Nobody sees a film twice, nor a sequel before the part it follows.
// What comes next stands in the history, but neither in its last film nor in its average: the mood to go by is that of
// the last film but one, and the part to follow lies anywhere before. A recommender has to look back at the right
// places, which attention can learn. It still fails often: moods change, and within a genre the choice is wide.
// A visitor's rating follows the film's quality and the company's taste; the rating of a sequel follows the rating
// given to the part before it.
struct CinemaSettings {
  std::uint64_t seed = 1;
  int users = 2500;
  int films_per_genre = 24;  // not counting sequels
  int zipf_shift = 4;
  int mood_change = 15;  // percent
  int sequel = 40;       // percent
  int shortest = 15;     // visits; regular and devoted visitors come more often
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

}  // namespace heed::examples::recommender
