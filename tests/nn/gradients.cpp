#include "tests/nn/gradients.h"

#include <cmath>

#include "engine/ops.h"
#include "tests/harness/examine.h"

namespace heed::test {

std::string gradient_difference(const nn::NamedTensors& leaves, const std::function<Tensor()>& forward) {
  const Tensor y = forward();
  const Tensor cotangent = uniform(y.shape(), -1, 1, {Dtype::f64}, 77);
  for (const auto& [name, leaf] : leaves) leaf.set_grad({});
  backward(y, cotangent);
  const auto loss = [&] {
    const NoGrad no_grad;
    return sum(forward() * cotangent).item<double>();
  };
  constexpr double h = 1e-5;
  for (const auto& [name, leaf] : leaves) {
    if (!leaf.grad().defined()) return name + ": no gradient";
    const std::vector<double> gradient = leaf.grad().to_vector<double>();
    double* const values = leaf.data<double>();
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      const double value = values[i];
      values[i] = value + h;
      const double above = loss();
      values[i] = value - h;
      const double slope = (above - loss()) / (2 * h);
      values[i] = value;
      if (!(std::abs(gradient[i] - slope) <= 1e-6 * (1 + std::abs(slope))))
        return fmt::format("{}[{}]: gradient {}, central difference {}", name, i, gradient[i], slope);
    }
  }
  return "";
}

nn::NamedTensors leaves_of(nn::Module& module, const nn::NamedTensors& inputs) {
  module.to(Dtype::f64);
  nn::NamedTensors leaves = module.named_parameters();
  leaves.insert(leaves.end(), inputs.begin(), inputs.end());
  return leaves;
}

Tensor leaf(const Shape& shape, std::uint64_t seed) {
  return uniform(shape, -1, 1, {Dtype::f64}, seed).set_requires_grad();
}

}  // namespace heed::test
