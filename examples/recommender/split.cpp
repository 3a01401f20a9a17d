#include "examples/recommender/split.h"

#include <fmt/core.h>

#include <algorithm>

#include "kernels/error.h"

namespace heed::examples::recommender {

namespace {

constexpr std::size_t fewest_events = 3;  // one to train on, one to validate, one to test

}  // namespace

LeaveOneOut::LeaveOneOut(const Interactions& data) : data_(&data) {
  for (std::int32_t user = 0; user < data.users(); ++user) {
    if (data.events_of(user).size() >= fewest_events) users_.push_back(user);
  }
}

std::span<const Event> LeaveOneOut::train(std::int64_t user) const {
  return history(user, Part::validation);
}

std::span<const Event> LeaveOneOut::history(std::int64_t user, Part part) const {
  const std::span<const Event> events = data_->events_of(user);
  if (events.size() < fewest_events) return events;
  return events.first(events.size() - (part == Part::test ? 1 : 2));
}

const Event& LeaveOneOut::target(std::int64_t user, Part part) const {
  const std::span<const Event> events = data_->events_of(user);
  if (events.size() < fewest_events) {
    throw Error(fmt::format("leave-one-out: user {} has {} events; only users with {} are evaluated",
                            data_->user_ids[user], events.size(), fewest_events));
  }
  return events[events.size() - (part == Part::test ? 1 : 2)];
}

std::vector<std::span<const Event>> LeaveOneOut::histories(Part part) const {
  std::vector<std::span<const Event>> result;
  for (std::int64_t user = 0; user < data_->users(); ++user) result.push_back(history(user, part));
  return result;
}

GlobalTimeSplit split_by_time(const Interactions& data, double threshold) {
  if (!data.has_ratings || !data.has_timestamps) {
    throw Error(fmt::format("split by time: {} has no {}", data.source, data.has_ratings ? "timestamps" : "ratings"));
  }
  std::vector<Labelled> all;
  for (std::int32_t user = 0; user < data.users(); ++user) {
    for (std::int64_t event = data.offsets[user]; event < data.offsets[user + 1]; ++event) {
      all.push_back({user, event, data.events[event].rating >= threshold});
    }
  }
  std::ranges::stable_sort(all, {}, [&data](const Labelled& row) { return data.events[row.event].timestamp; });
  const auto validation = static_cast<std::ptrdiff_t>(all.size() * 8 / 10);
  const auto test = static_cast<std::ptrdiff_t>(all.size() * 9 / 10);
  return {{all.begin(), all.begin() + validation},
          {all.begin() + validation, all.begin() + test},
          {all.begin() + test, all.end()}};
}

}  // namespace heed::examples::recommender
