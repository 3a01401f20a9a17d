#include <algorithm>
#include <cmath>
#include <numeric>

#include "examples/common/random_stream.h"
#include "examples/recommender/baselines.h"

namespace heed::examples::recommender {

namespace {

// Adam (Kingma and Ba, 2015) for a few weights at a time. A weight that a row does not touch is left alone, and its
// moments with it.
class SparseAdam {
 public:
  SparseAdam(std::size_t weights, double learning_rate) : learning_rate_(learning_rate), state_(weights) {}

  void step(std::vector<double>& weights, std::size_t index, double gradient) {
    constexpr double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
    State& state = state_[index];
    state.mean += (1 - beta1) * (gradient - state.mean);
    state.square += (1 - beta2) * (gradient * gradient - state.square);
    state.power1 *= beta1;
    state.power2 *= beta2;
    const double mean = state.mean / (1 - state.power1), square = state.square / (1 - state.power2);
    weights[index] -= learning_rate_ * mean / (std::sqrt(square) + epsilon);
  }
  void set_learning_rate(double learning_rate) { learning_rate_ = learning_rate; }

 private:
  struct State {
    double mean = 0, square = 0, power1 = 1, power2 = 1;
  };
  double learning_rate_;
  std::vector<State> state_;
};

}  // namespace

LogisticRegression::LogisticRegression(const Interactions& data, std::span<const Labelled> rows,
                                       const Settings& settings)
    : weights_(1 + data.users() + data.items()), users_(data.users()) {
  SparseAdam adam(weights_.size(), settings.learning_rate);
  RandomStream random(settings.seed, 0);
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (int epoch = 0; epoch < settings.epochs; ++epoch) {
    // Down to zero in a straight line, so that the last steps average over many rows.
    adam.set_learning_rate(settings.learning_rate * (1 - static_cast<double>(epoch) / settings.epochs));
    for (std::size_t i = order.size(); i > 1; --i) {
      std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
    }
    for (const std::size_t i : order) {
      const Labelled& row = rows[i];
      const std::int32_t item = data.events[row.event].item;
      const double probability = 1 / (1 + std::exp(-static_cast<double>(logit(row.user, item))));
      const double gradient = probability - (row.positive ? 1.0 : 0.0);
      const auto user_index = static_cast<std::size_t>(1 + row.user),
                 item_index = static_cast<std::size_t>(1 + users_ + item);
      adam.step(weights_, 0, gradient);
      adam.step(weights_, user_index, gradient + settings.penalty * weights_[user_index]);
      adam.step(weights_, item_index, gradient + settings.penalty * weights_[item_index]);
    }
  }
}

float LogisticRegression::logit(std::int32_t user, std::int32_t item) const {
  return static_cast<float>(weights_[0] + weights_[1 + user] + weights_[1 + users_ + item]);
}

void LogisticRegression::score(const Query&, std::span<float> scores) const {
  std::transform(weights_.begin() + 1 + users_, weights_.end(), scores.begin(),
                 [](double weight) { return static_cast<float>(weight); });
}

}  // namespace heed::examples::recommender
