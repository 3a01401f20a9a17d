#include "examples/recommender/data.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "engine/joined.h"
#include "kernels/error.h"

namespace heed::examples::recommender {

namespace {

std::optional<std::int32_t> find(const std::vector<std::string>& ids, std::string_view id) {
  const auto found = std::find(ids.begin(), ids.end(), id);
  if (found == ids.end()) return std::nullopt;
  return static_cast<std::int32_t>(found - ids.begin());
}

}  // namespace

std::optional<std::int32_t> Interactions::find_user(std::string_view id) const {
  return find(user_ids, id);
}
std::optional<std::int32_t> Interactions::find_item(std::string_view id) const {
  return find(item_ids, id);
}

const UserColumn& Interactions::user_column(std::string_view name) const {
  std::vector<std::string_view> names;
  for (const UserColumn& column : user_columns) {
    if (column.name == name) return column;
    names.push_back(column.name);
  }
  throw Error(fmt::format("{}: users have no column '{}'; there is {}", source, name,
                          names.empty() ? "no users' file" : joined(names, ", ")));
}

std::int32_t IdTable::number(std::string_view id) {
  if (const auto found = numbers_.find(id); found != numbers_.end()) return found->second;
  const auto next = static_cast<std::int32_t>(ids_.size());
  ids_.emplace_back(id);
  numbers_.emplace(id, next);
  return next;
}

std::optional<std::int32_t> IdTable::find(std::string_view id) const {
  const auto found = numbers_.find(id);
  if (found == numbers_.end()) return std::nullopt;
  return found->second;
}

std::vector<std::string> IdTable::take() {
  numbers_.clear();
  return std::exchange(ids_, {});
}

InteractionsBuilder::InteractionsBuilder(bool has_ratings, bool has_timestamps)
    : has_ratings_(has_ratings), has_timestamps_(has_timestamps) {}

void InteractionsBuilder::add(std::string_view user_id, std::string_view item_id, float rating, double timestamp) {
  // Files are often sorted by user: the last event's user is the best guess.
  const bool same = !event_users_.empty() && users_.ids()[event_users_.back()] == user_id;
  event_users_.push_back(same ? event_users_.back() : users_.number(user_id));
  events_.push_back({items_.number(item_id), rating, timestamp});
}

Interactions InteractionsBuilder::build(std::string source) {
  Interactions result;
  result.source = std::move(source);
  result.has_ratings = has_ratings_;
  result.has_timestamps = has_timestamps_;
  result.user_ids = users_.take();
  result.item_ids = items_.take();
  for (const std::string& id : result.item_ids) result.item_info.push_back({id, {}, 0});

  // A counting sort by user keeps the order of the file within each user; the sort by time is stable for the same
  // reason.
  result.offsets.assign(result.user_ids.size() + 1, 0);
  for (const std::int32_t user : event_users_) ++result.offsets[user + 1];
  for (std::size_t user = 0; user < result.user_ids.size(); ++user) result.offsets[user + 1] += result.offsets[user];
  result.events.resize(events_.size());
  std::vector<std::int64_t> next(result.offsets.begin(), result.offsets.end() - 1);
  for (std::size_t i = 0; i < events_.size(); ++i) result.events[next[event_users_[i]]++] = events_[i];
  event_users_ = {};
  events_ = {};
  const auto earlier = [](const Event& a, const Event& b) { return a.timestamp < b.timestamp; };
  for (std::size_t user = 0; user < result.user_ids.size(); ++user) {
    std::stable_sort(result.events.begin() + result.offsets[user], result.events.begin() + result.offsets[user + 1],
                     earlier);
  }
  return result;
}

}  // namespace heed::examples::recommender
