#include "examples/recommender/windows.h"

#include <algorithm>

namespace heed::examples::recommender {

Windows windows_of(std::span<const Person> people, std::int64_t length, double like_from) {
  const auto count = static_cast<std::int64_t>(people.size());
  std::int64_t longest = 1;
  bool any_ignored = false;
  for (const Person& person : people) {
    longest = std::max(longest, std::min(length, static_cast<std::int64_t>(person.history.size())));
    check(person.ignored.empty() || person.ignored.size() == person.history.size(), "person: {} flags for {} events",
          person.ignored.size(), person.history.size());
    any_ignored = any_ignored || !person.ignored.empty();
  }
  std::vector<std::int64_t> items(static_cast<std::size_t>(count * longest)), reactions(items.size()), lengths;
  std::vector<bool> visible(items.size(), true);
  Windows windows;
  for (std::int64_t p = 0; p < count; ++p) {
    const Person& person = people[static_cast<std::size_t>(p)];
    const auto events = static_cast<std::int64_t>(person.history.size());
    const std::int64_t kept = std::min(events, length);
    windows.last_visible.push_back(-1);
    windows.met.emplace_back();
    for (std::int64_t i = 0; i < kept; ++i) {
      const auto event = static_cast<std::size_t>(events - kept + i), at = static_cast<std::size_t>(p * longest + i);
      items[at] = person.history[event].item;
      reactions[at] = person.history[event].rating >= like_from ? 1 : 0;
      if (!person.ignored.empty()) visible[at] = !person.ignored[event];
      if (!visible[at]) continue;
      windows.last_visible.back() = i;
      windows.met.back().push_back(items[at]);
    }
    lengths.push_back(kept);
  }
  windows.items = from_vector(items, {count, longest});
  windows.reactions = from_vector(reactions, {count, longest});
  windows.lengths = from_vector(lengths, {count});
  if (any_ignored) windows.visible = from_vector(visible, {count, longest});
  return windows;
}

}  // namespace heed::examples::recommender
