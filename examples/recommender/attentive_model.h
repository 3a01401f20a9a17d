// The attentive model: would this person like this item? A pointwise recommender that looks at the history with the
// candidate in mind, in the spirit of Deep Interest Network (Zhou et al. 2018, arXiv 1706.06978).
//
//   context = attention of the candidate over the recent items and how the person took them
//   logit   = out(tanh(hidden([user, context, candidate])))
#pragma once

#include "examples/recommender/settings.h"
#include "nn/attention.h"
#include "nn/dropout.h"
#include "nn/embedding.h"

namespace heed::examples::recommender {

class AttentiveModel : public nn::Module {
 public:
  AttentiveModel(const Settings& settings, std::int64_t users, std::int64_t items);

  struct Examples {
    Tensor user;          // i64 [batch]; `users` stands for somebody unknown
    Tensor history;       // i64 [batch, length], padded on the right with any item
    Tensor reaction;      // i64 [batch, length]: 1 where the person liked the item, else 0
    Tensor lengths;       // i64 [batch], of the histories; 0 is fine
    Tensor candidate;     // i64 [batch]
    Tensor visible = {};  // bool [batch, length]: events to look at; undefined: all
  };
  struct Scored {
    Tensor logit;    // [batch, candidates]
    Tensor weights;  // [batch, candidates, length], if asked for
  };
  Scored operator()(const Examples& examples, bool need_weights = false) const;

  std::int64_t unknown_user() const { return users.weight.size(0) - 1; }

  nn::Embedding users, items, reactions;
  nn::MultiheadAttention attention;
  nn::Dropout dropout;
  nn::Linear hidden, out;

 private:
  bool attends_;
};

}  // namespace heed::examples::recommender
