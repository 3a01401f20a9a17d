#include "nn/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "engine/error.h"

namespace heed::nn {

Schedule constant() {
  return [](std::int64_t) { return 1.0; };
}

Schedule cosine(std::int64_t steps, double final_factor) {
  check(steps > 0, "cosine: {} steps", steps);
  return [=](std::int64_t step) {
    const double progress = static_cast<double>(std::min(step, steps)) / static_cast<double>(steps);
    return final_factor + (1 - final_factor) * (1 + std::cos(std::numbers::pi * progress)) / 2;
  };
}

Schedule step_decay(std::int64_t steps, double gamma) {
  check(steps > 0, "step_decay: {} steps", steps);
  return [=](std::int64_t step) { return std::pow(gamma, static_cast<double>(step / steps)); };
}

Schedule warmup(std::int64_t steps, Schedule then) {
  check(steps >= 0, "warmup: {} steps", steps);
  return [steps, then = std::move(then)](std::int64_t step) {
    return step < steps ? static_cast<double>(step + 1) / static_cast<double>(steps) : then(step - steps);
  };
}

}  // namespace heed::nn
