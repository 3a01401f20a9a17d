// The recent past of several people as tensors.
#pragma once

#include <span>
#include <vector>

#include "engine/ops.h"
#include "examples/recommender/data.h"

namespace heed::examples::recommender {

// Somebody to recommend to: what they met, oldest first, and which of it the model must not look at.
struct Person {
  std::int32_t user = -1;  // -1: not one of the training data
  std::vector<Event> history;
  std::vector<bool> ignored = {};  // one per event of the history; empty: none is
};

// The last `length` events of each, padded on the right.
struct Windows {
  Tensor items, reactions;                     // i64 [people, longest]; reaction 1: liked, a rating from like_from on
  Tensor lengths;                              // i64 [people]
  Tensor visible;                              // bool [people, longest], undefined when nothing is ignored
  std::vector<std::int64_t> last_visible;      // per person: the newest event that counts, -1 if there is none
  std::vector<std::vector<std::int64_t>> met;  // per person: the visible items, oldest first
};
Windows windows_of(std::span<const Person> people, std::int64_t length, double like_from);

}  // namespace heed::examples::recommender
