// Which events train, which validate, which test.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "examples/recommender/data.h"

namespace heed::examples::recommender {

enum class Part { validation, test };

// Leave-one-out by time: a user's last event tests, the one before validates, the others train. Users with fewer than
// three events are not evaluated; all they have trains. Keeps a reference to the data.
class LeaveOneOut {
 public:
  explicit LeaveOneOut(const Interactions& data);

  const Interactions& data() const { return *data_; }
  const std::vector<std::int32_t>& users() const { return users_; }  // those evaluated, in order
  std::span<const Event> train(std::int64_t user) const;
  // What is known when the target is to be guessed: for the test event that includes the validation event.
  std::span<const Event> history(std::int64_t user, Part part) const;
  const Event& target(std::int64_t user, Part part) const;  // user is one of users()
  // Every user's events before the part's target; all of them for users that are not evaluated. What a baseline may
  // learn from.
  std::vector<std::span<const Event>> histories(Part part) const;

 private:
  const Interactions* data_;
  std::vector<std::int32_t> users_;
};

struct Labelled {
  std::int32_t user = 0;
  std::int64_t event = 0;  // index into Interactions::events; a user's events before it are its history
  bool positive = false;   // rating >= threshold
};

// All events in order of time: the first 80% train, the next 10% validate, the last 10% test. Events of equal time stand
// in order of user, then of the user's sequence. Throws heed::Error where the data have no ratings or no timestamps.
struct GlobalTimeSplit {
  std::vector<Labelled> train, validation, test;
};
GlobalTimeSplit split_by_time(const Interactions& data, double threshold);

}  // namespace heed::examples::recommender
