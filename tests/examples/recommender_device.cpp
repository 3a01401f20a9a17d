// Trainings on the device of the tests (HEED_TEST_DEVICE) against the same on the CPU.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/random.h"
#include "examples/recommender/cinema.h"
#include "examples/recommender/presentation.h"
#include "tests/harness/examine.h"

namespace heed::recommender {
namespace {

std::vector<double> losses_on(Device device, const Settings& settings) {
  const DefaultDevice scope(device);
  manual_seed(settings.seed);
  return train_model(simulate_cinema({.seed = 3, .users = 120}).data, settings, {.quiet = true}).record.losses;
}

}  // namespace

TEST_CASE("recommender: 50 steps on the device give the losses of the CPU, dropout and all") {
  if (default_device().type == DeviceType::cpu) {
    MESSAGE("skipped: HEED_TEST_DEVICE names no other device");
    return;
  }
  for (const char* model : {"sequential", "attentive"}) {
    CAPTURE(model);
    Settings settings;
    settings.model = model;
    settings.length = 16;
    settings.width = 16;
    settings.hidden = 32;
    settings.dropout = 0.2;
    settings.attention_dropout = 0.1;
    settings.epochs = 3;
    settings.batch_events = 130;
    settings.learning_rate = 3e-3;
    const std::vector<double> expected = losses_on({}, settings), actual = losses_on(default_device(), settings);
    REQUIRE_GE(expected.size(), 50);
    REQUIRE_EQ(actual.size(), expected.size());
    for (std::size_t step = 0; step < 50; ++step) {
      CAPTURE(step);
      CHECK(std::abs(actual[step] - expected[step]) <= 1e-4 * std::abs(expected[step]));
    }
    CHECK_LT(expected[49], expected[0]);
  }
}

}  // namespace heed::recommender
