#include "examples/recommender/batches.h"

#include <algorithm>
#include <numeric>

#include "examples/common/random_stream.h"

namespace heed::examples::recommender {
namespace {

// Streams of the seed, apart from those of users: what is random in an epoch.
enum : std::uint64_t {
  windows_stream = 1ull << 62,
  order_stream = 1ull << 61,
  ties_stream = 1ull << 60,
  negatives_stream = 3ull << 60
};

template <class T>
void shuffle(std::vector<T>& values, RandomStream& random) {
  for (std::size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[random.below(static_cast<std::uint32_t>(i))]);
}

// The items of a history; those of one moment in random order if `random` is given.
std::vector<std::int64_t> items_of(std::span<const Event> history, RandomStream* random) {
  std::vector<std::int64_t> items;
  for (const Event& event : history) items.push_back(event.item);
  if (random == nullptr) return items;
  for (std::size_t begin = 0; begin < history.size();) {
    std::size_t end = begin + 1;
    while (end < history.size() && history[end].timestamp == history[begin].timestamp) ++end;
    for (std::size_t i = end - begin; i > 1; --i)
      std::swap(items[begin + i - 1], items[begin + random->below(static_cast<std::uint32_t>(i))]);
    begin = end;
  }
  return items;
}

// `count` items, uniform over all.
Tensor draw_negatives(std::int64_t items, std::int64_t count, RandomStream random) {
  std::vector<std::int64_t> negatives;
  for (std::int64_t i = 0; i < count; ++i) negatives.push_back(random.below(static_cast<std::uint32_t>(items)));
  return from_vector(negatives, {count});
}

}  // namespace

SequenceSampler::SequenceSampler(const Histories& histories, std::int64_t items, const Settings& settings)
    : items_(items), settings_(settings) {
  for (const std::span<const Event> history : histories) {
    if (history.size() < 2) continue;  // nothing to tell from nothing
    histories_.push_back(history);
    events_ += static_cast<std::int64_t>(history.size()) - 1;
  }
  check(!histories_.empty(), "training: nobody has two events to learn from");
}

std::vector<SequenceSampler::Window> SequenceSampler::windows(std::int64_t epoch) const {
  RandomStream random(settings_.seed, windows_stream + static_cast<std::uint64_t>(epoch));
  std::vector<Window> result;
  for (std::size_t h = 0; h < histories_.size(); ++h) {
    std::int64_t end = static_cast<std::int64_t>(histories_[h].size()) - 1;  // the last event is a target only
    if (end > settings_.length) {
      const std::int64_t cut = random.below(static_cast<std::uint32_t>(settings_.length));
      if (cut > 0) result.push_back({h, end - cut, cut});
      end -= cut;
    }
    for (; end > 0; end -= settings_.length) {
      const std::int64_t begin = std::max<std::int64_t>(0, end - settings_.length);
      result.push_back({h, begin, end - begin});
    }
  }
  shuffle(result, random);
  return result;
}

// From here to there windows of like lengths that together hold about batch_events.
std::vector<std::span<const SequenceSampler::Window>> SequenceSampler::grouped(std::vector<Window>& all) const {
  // Sorted by length within stretches of a few batches: short windows among short ones, yet in random company.
  const auto stretch =
      static_cast<std::size_t>(16 * settings_.batch_events * static_cast<std::int64_t>(all.size()) / events_ + 1);
  for (std::size_t begin = 0; begin < all.size(); begin += stretch) {
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(begin);
    std::stable_sort(first, first + static_cast<std::ptrdiff_t>(std::min(stretch, all.size() - begin)),
                     [](const Window& a, const Window& b) { return a.length < b.length; });
  }
  std::vector<std::span<const Window>> groups;
  for (std::size_t begin = 0; begin < all.size();) {
    std::size_t end = begin;
    std::int64_t longest = 0;
    for (; end < all.size(); ++end) {
      longest = std::max(longest, all[end].length);
      if (end > begin && longest * static_cast<std::int64_t>(end - begin + 1) > settings_.batch_events) break;
    }
    groups.emplace_back(all.data() + begin, end - begin);
    begin = end;
  }
  return groups;
}

SequenceBatch SequenceSampler::make_batch(std::span<const Window> windows, const ItemLists& items) const {
  std::int64_t longest = 0;
  for (const Window& window : windows) longest = std::max(longest, window.length);
  const auto rows = static_cast<std::int64_t>(windows.size());
  std::vector<std::int64_t> history(static_cast<std::size_t>(rows * longest)), positions, target, seen;
  std::vector<float> met;
  for (std::int64_t row = 0; row < rows; ++row) {
    const Window& window = windows[static_cast<std::size_t>(row)];
    const std::int64_t* first = items[window.history].data() + window.begin;
    std::copy(first, first + window.length, history.begin() + row * longest);
    for (std::int64_t i = 0; i < window.length; ++i) {
      positions.push_back(row * longest + i);
      target.push_back(first[i + 1]);
      if (settings_.repeat_aware) append_seen({first, static_cast<std::size_t>(i + 1)}, longest, seen, met);
    }
  }
  const auto events = static_cast<std::int64_t>(target.size());
  SequenceBatch batch{from_vector(history, {rows, longest}), from_vector(positions, {events}),
                      from_vector(target, {events})};
  if (settings_.repeat_aware) batch.seen = {from_vector(seen, {events, longest}), from_vector(met, {events, longest})};
  return batch;
}

std::vector<SequenceBatch> SequenceSampler::epoch(std::int64_t number) const {
  const auto epoch = static_cast<std::uint64_t>(number);
  RandomStream ties(settings_.seed, ties_stream + epoch);
  ItemLists items;
  for (const auto& history : histories_) items.push_back(items_of(history, settings_.shuffle_ties ? &ties : nullptr));
  std::vector<Window> all = windows(number);
  std::vector<SequenceBatch> batches;
  for (const std::span<const Window> group : grouped(all)) {
    SequenceBatch batch = make_batch(group, items);
    if (settings_.loss != "softmax") {
      const std::uint64_t stream = negatives_stream + (epoch << 32) + batches.size();
      batch.negatives = draw_negatives(items_, settings_.negatives, RandomStream(settings_.seed, stream));
    }
    batches.push_back(std::move(batch));
  }
  RandomStream order(settings_.seed, order_stream + epoch);
  shuffle(batches, order);
  return batches;
}

}  // namespace heed::examples::recommender
