// A trained model as the rest of the program sees it: people in, scores for every item out, and reasons.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/tensor.h"
#include "examples/recommender/baselines.h"
#include "examples/recommender/settings.h"
#include "examples/recommender/windows.h"
#include "nn/module.h"

namespace heed::examples::recommender {

class Ranker {
 public:
  virtual ~Ranker() = default;

  virtual nn::Module& module() = 0;
  virtual const nn::Module& module() const = 0;
  // Higher for what the person is likelier to meet (sequential) or to like (attentive) next: f32 [people, items].
  // The last settings.length events count; a person without visible events gets the scores of an empty history.
  virtual Tensor scores(std::span<const Person> people) const = 0;
  // The attention that each event of the history got in scoring `item`: one number per event, 0 for those that are
  // ignored or too long ago, 1 in all.
  virtual std::vector<double> attention(const Person& person, std::int32_t item) const = 0;
  // How much a score says: of the sequential model log(probability), of the attentive one its logit.
  virtual Tensor evidence(const Tensor& scores) const = 0;
};

std::unique_ptr<Ranker> make_ranker(const Settings& settings, std::int64_t users, std::int64_t items);

// Why an item was recommended: per event of the history, attention, and by how much the evidence for the item falls when
// the event is hidden. Attention says where the model looked; the effect says what it changed (raw attention misreports
// even the sign: arXiv 2201.12114).
struct Explanation {
  std::int32_t item = 0;
  double evidence = 0;
  std::vector<double> attention;  // [events]
  std::vector<double> effect;     // [events]
};
std::vector<Explanation> explain(const Ranker& ranker, const Person& person, std::span<const std::int32_t> items);

struct Recommended {
  std::int32_t item = 0;
  double score = 0;
};
// The k best, best first, ties in the order of the items; without what the person has met unless include_seen.
std::vector<Recommended> recommend(const Ranker& ranker, const Person& person, std::int64_t k, bool include_seen);

}  // namespace heed::examples::recommender
