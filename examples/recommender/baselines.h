// What a recommender has to beat: popularity, the last item's usual successors, similar people's next items.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "examples/recommender/data.h"
#include "examples/recommender/split.h"

namespace heed::examples::recommender {

// What a scorer is given of one user.
struct Query {
  std::int32_t user = -1;  // -1: a person who is not in the data
  std::span<const Event> history;
};

using Histories = std::vector<std::span<const Event>>;  // [users]: what to learn from

class Baseline {
 public:
  virtual ~Baseline() = default;
  virtual std::string name() const = 0;
  // Writes a score for each item, higher for the likelier next. Safe to call from several threads.
  virtual void score(const Query& query, std::span<float> scores) const = 0;
};

// The number of events of each item.
std::unique_ptr<Baseline> popularity(const Histories& histories, std::int64_t items);

// How often each item followed the history's last one directly; between equals, popularity.
std::unique_ptr<Baseline> markov(const Histories& histories, std::int64_t items);

// Sequential nearest neighbours, in the line of session-kNN (Jannach and Ludewig, 2017; Garg et al., STAN, 2019). With
// r(i) = decay^(steps from the end of the history) for its last `recent` items, and idf(i) = log(users / users who met i):
//   similarity(v) = sum over the items i shared with neighbour v of r(i) idf(i), over length(v)^length_power
//   score(j) = sum over the `neighbours` most similar v, the shared i, and the j that v met after i, of
//              similarity(v) r(i) idf(i) / length(v)^length_power exp(-(steps from i to j) / reach)
// The defaults were chosen on the validation events of MovieLens 100K.
struct NeighbourSettings {
  std::int64_t recent = 20;
  double decay = 0.7;
  std::int64_t neighbours = 1000;
  double length_power = 0.25;
  double reach = 6;
  std::int64_t longest_list = 2000;  // of the users who met an item, only so many are looked at, spread evenly
};
std::unique_ptr<Baseline> sequential_knn(const Histories& histories, std::int64_t items,
                                         const NeighbourSettings& settings = {});

// Popularity, Markov, kNN: those printed beside every evaluation.
std::vector<std::unique_ptr<Baseline>> standard_baselines(const Histories& histories, std::int64_t items);

// Logistic regression on ids, the baseline of the pointwise models: logit = bias + user bias + item bias, fitted to the
// labels by Adam with a penalty on the size of the biases. What the training rows do not hold counts as average.
// As a ranking it is the item bias alone: the other terms are the same for every item.
// The defaults were chosen on the validation rows of MovieLens 100K.
class LogisticRegression : public Baseline {
 public:
  struct Settings {
    int epochs = 20;
    double learning_rate = 0.02;
    double penalty = 0.03;
    std::uint64_t seed = 1;  // of the order of the rows
  };
  LogisticRegression(const Interactions& data, std::span<const Labelled> rows, const Settings& settings);
  LogisticRegression(const Interactions& data, std::span<const Labelled> rows)
      : LogisticRegression(data, rows, Settings()) {}

  std::string name() const override { return "logistic"; }
  void score(const Query& query, std::span<float> scores) const override;
  float logit(std::int32_t user, std::int32_t item) const;

 private:
  std::vector<double> weights_;  // [1 + users + items]
  std::int64_t users_;
};

}  // namespace heed::examples::recommender
