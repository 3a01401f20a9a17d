// How the learning rate changes over training: a function from the step (0, 1, ...) to a factor for Optimizer::step.
// It has no state, so a resumed training continues with nothing but the number of its step.
#pragma once

#include <cstdint>
#include <functional>

namespace heed::nn {

using Schedule = std::function<double(std::int64_t step)>;

// Always 1.
Schedule constant();
// Half a cosine from 1 down to final_factor at `steps`, which it keeps from there on (Loshchilov and Hutter 2017).
Schedule cosine(std::int64_t steps, double final_factor = 0);
// 1, and times gamma after every `steps` steps.
Schedule step_decay(std::int64_t steps, double gamma = 0.1);
// Up in a straight line, 1/steps, 2/steps, ..., 1, then what `then` says, counted from there.
Schedule warmup(std::int64_t steps, Schedule then);

}  // namespace heed::nn
