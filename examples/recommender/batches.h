// From histories to the batches that the sequential model trains on.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/tensor.h"
#include "examples/recommender/baselines.h"
#include "examples/recommender/sequential_model.h"
#include "examples/recommender/settings.h"
#include "examples/recommender/split.h"

namespace heed::examples::recommender {

// Windows of several people's histories, padded on the right: from every event of a window the next one is to be told.
struct SequenceBatch {
  Tensor history;         // i64 [batch, length]
  Tensor positions;       // i64 [events]: where in the flattened history the real events stand
  Tensor target;          // i64 [events]: the event after each
  Tensor negatives = {};  // i64 [settings.negatives], shared by the batch; undefined for the loss "softmax"
  Seen seen = {};         // of every event, for settings.repeat_aware
};

// Cuts histories anew every epoch. A history longer than settings.length gives several windows, whose borders move from
// epoch to epoch, so that every event is seen with many a beginning. Windows of like lengths come into one batch, so
// that little of it is padding.
class SequenceSampler {
 public:
  SequenceSampler(const Histories& histories, std::int64_t items, const Settings& settings);

  // Fixed by the settings' seed and the number of the epoch. About the same number in every epoch.
  std::vector<SequenceBatch> epoch(std::int64_t number) const;
  std::int64_t events() const { return events_; }  // targets per epoch

 private:
  struct Window {
    std::size_t history;
    std::int64_t begin, length;  // of its inputs
  };
  using ItemLists = std::vector<std::vector<std::int64_t>>;  // of each history
  std::vector<Window> windows(std::int64_t epoch) const;
  std::vector<std::span<const Window>> grouped(std::vector<Window>& all) const;
  SequenceBatch make_batch(std::span<const Window> windows, const ItemLists& items) const;

  Histories histories_;
  std::int64_t items_;
  Settings settings_;
  std::int64_t events_ = 0;
};

}  // namespace heed::examples::recommender
