// The sequential model: a causal transformer over a person's last events, in the layout of SASRec (Kang and McAuley 2018,
// arXiv 1808.09781). What it makes of the history up to an event is compared with every item's own embedding.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "examples/recommender/settings.h"
#include "nn/embedding.h"
#include "nn/positional.h"
#include "nn/transformer.h"

namespace heed::examples::recommender {

// Which items somebody had met up to an event: for models that are aware of repeats.
struct Seen {
  Tensor items;  // i64 [events, length]
  Tensor met;    // f32 [events, length]: 1 for each different item met, 0 for padding and repeats
};
// Adds one row to both: the items met, each counted once, padded to `length`.
void append_seen(std::span<const std::int64_t> met_items, std::int64_t length, std::vector<std::int64_t>& items,
                 std::vector<float>& met);

class SequentialModel : public nn::Module {
 public:
  SequentialModel(const Settings& settings, std::int64_t items);

  struct Encoded {
    Tensor hidden;                // [batch, length, width]
    std::vector<Tensor> weights;  // of each layer [batch, length, length], mean over the heads, if asked for
  };
  // history i64 [batch, length], oldest first, padded on the right with any item: being causal, no event sees what comes
  // after it. Events where `visible` (bool [batch, length]) is false are not attended to by any other.
  Encoded encode(const Tensor& history, const Tensor& visible = {}, bool need_weights = false) const;
  // hidden [events, width] against every item: [events, items]. A model that is aware of repeats adds one learned number
  // to the score of every item already met: people rarely see a film twice, but buy the same bread every week.
  Tensor scores(const Tensor& hidden, const Seen& seen = {}) const;

  nn::Embedding items;
  std::optional<nn::LearnedPositions> positions;
  nn::Dropout dropout;
  nn::TransformerEncoder encoder;
  Tensor repeat;  // [1], undefined unless settings.repeat_aware

 private:
  bool attention_;
  std::int64_t heads_;
  Tensor recency_;  // [heads, length, length], -inf above the diagonal; undefined with learned positions
};

// The loss of predicting target [n] i64 from hidden [n, width]: settings.loss. `negatives` [m] i64 are used by all but
// "softmax"; one that happens to be a row's own target does not count in that row. `seen` is for settings.repeat_aware.
Tensor sequential_loss(const SequentialModel& model, const Settings& settings, const Tensor& hidden,
                       const Tensor& target, const Tensor& negatives, const Seen& seen);

}  // namespace heed::examples::recommender
