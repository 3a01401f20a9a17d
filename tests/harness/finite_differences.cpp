#include "tests/harness/finite_differences.h"

#include <cmath>

namespace heed::test {
namespace {

// f at `arrays` moved by `step` in one element, or (element < 0) along a direction through all elements.
struct Probe {
  std::size_t input;
  std::int64_t element;
  std::uint64_t seed;
};

std::vector<double> direction_of(const Probe& probe, std::size_t count) {
  std::vector<double> direction(count, 0.0);
  if (probe.element >= 0) {
    direction[static_cast<std::size_t>(probe.element)] = 1;
  } else {
    std::mt19937_64 random(probe.seed);
    for (double& d : direction) d = std::uniform_real_distribution<double>(-1, 1)(random);
  }
  return direction;
}

// Every element of a small input; of a large one, some elements and a few random directions.
std::vector<Probe> probes(std::size_t input, std::int64_t count) {
  std::vector<Probe> result;
  const std::int64_t step = std::max<std::int64_t>(1, count / 12);
  for (std::int64_t i = 0; i < count; i += step) result.push_back({input, i, 0});
  if (step > 1) {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) result.push_back({input, -1, seed});
  }
  return result;
}

}  // namespace

void compare_with_differences(const Case& c, const std::vector<Array>& arrays, const Tensors& claimed,
                              const std::function<double(const Tensors&)>& function, const std::string& what,
                              std::vector<std::string>& findings) {
  constexpr double h = 1e-5, tolerance = 2e-7;
  std::size_t next = 0;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (!c.inputs[i].differentiable) continue;
    const Tensor& gradient = claimed[next++];
    const std::size_t count = arrays[i].values.size();
    const std::vector<double> g = gradient.defined() ? gradient.to_vector<double>() : std::vector<double>(count, 0.0);
    for (const Probe& probe : probes(i, static_cast<std::int64_t>(count))) {
      const std::vector<double> direction = direction_of(probe, count);
      std::vector<Array> moved = arrays;
      double scale = 1, analytic = 0;
      for (std::size_t k = 0; k < count; ++k) {
        analytic += g[k] * direction[k];
        scale += std::abs(g[k] * direction[k]);
      }
      const auto value_at = [&](double step) {
        for (std::size_t k = 0; k < count; ++k) moved[i].values[k] = arrays[i].values[k] + step * direction[k];
        return function(make_inputs(c, moved, {Dtype::f64, Arrangement::dense}));
      };
      // Fourth order, so that the step can be large enough for rounding not to matter.
      const double numeric = (8 * (value_at(h) - value_at(-h)) - (value_at(2 * h) - value_at(-2 * h))) / (12 * h);
      if (!(std::abs(numeric - analytic) <= tolerance * (scale + std::abs(numeric)) * 10)) {
        findings.push_back(fmt::format("{}: input {} {} {}: claimed {}, differences give {}", what, i,
                                       probe.element >= 0 ? "element" : "direction",
                                       probe.element >= 0 ? probe.element : static_cast<std::int64_t>(probe.seed),
                                       analytic, numeric));
        return;
      }
    }
  }
}

}  // namespace heed::test
