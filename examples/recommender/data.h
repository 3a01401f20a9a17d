// The dataset in memory: who met which item, when.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace heed::examples::recommender {

struct Event {
  std::int32_t item = 0;  // index into the items of Interactions
  float rating = 1;       // 1 where the data have no ratings
  double timestamp = 0;   // seconds since 1970 where the data say so; 0 where they have none
};

// What is known about an item besides its id.
struct ItemInfo {
  std::string title;  // the id where no title is known
  std::vector<std::string> genres;
  int year = 0;  // 0: unknown
};

// A column of the users' file, such as gender: one value per user, empty where the file does not list the user.
struct UserColumn {
  std::string name;
  std::vector<std::string> values;  // [users]
};

// Users and items are numbered in the order of their first appearance in the events file. This order also breaks ties
// between equal scores: the item that appeared first ranks first. Items that nobody met are not kept, nor are users
// without events.
struct Interactions {
  std::string source;                 // a path, or what generated the data
  std::vector<std::string> user_ids;  // [users] as the data write them
  std::vector<std::string> item_ids;  // [items]
  std::vector<ItemInfo> item_info;    // [items]
  std::vector<UserColumn> user_columns;
  std::vector<std::int64_t> offsets{0};  // [users + 1] into events
  std::vector<Event> events;             // by user; a user's by time, equal times in the order of the file
  bool has_ratings = false;
  bool has_timestamps = false;  // false: the order of the file is the order of time

  std::int64_t users() const { return static_cast<std::int64_t>(user_ids.size()); }
  std::int64_t items() const { return static_cast<std::int64_t>(item_ids.size()); }
  std::span<const Event> events_of(std::int64_t user) const {
    return std::span(events).subspan(offsets[user], offsets[user + 1] - offsets[user]);
  }
  // Linear in the number of ids; to look up many, build a map.
  std::optional<std::int32_t> find_user(std::string_view id) const;
  std::optional<std::int32_t> find_item(std::string_view id) const;
  // Throws heed::Error, naming the columns there are.
  const UserColumn& user_column(std::string_view name) const;
};

// Numbers ids in the order of their first appearance.
class IdTable {
 public:
  std::int32_t number(std::string_view id);  // adds the id if it is new
  std::optional<std::int32_t> find(std::string_view id) const;
  std::vector<std::string> take();  // the ids in order; leaves the table empty
  const std::vector<std::string>& ids() const { return ids_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view id) const { return std::hash<std::string_view>()(id); }
  };
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> numbers_;
  std::vector<std::string> ids_;
};

// Collects events in the order of the file, then sorts them by user and time. At its peak it holds about 36 bytes an
// event (20 million events: 700 MB), afterwards the Interactions hold 16.
class InteractionsBuilder {
 public:
  explicit InteractionsBuilder(bool has_ratings, bool has_timestamps);

  void add(std::string_view user_id, std::string_view item_id, float rating, double timestamp);
  const IdTable& users() const { return users_; }
  const IdTable& items() const { return items_; }

  // Titles default to ids. Leaves the builder empty.
  Interactions build(std::string source);

 private:
  bool has_ratings_, has_timestamps_;
  IdTable users_, items_;
  std::vector<std::int32_t> event_users_;
  std::vector<Event> events_;
};

}  // namespace heed::examples::recommender
