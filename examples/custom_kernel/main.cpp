// A kernel and an operation of one's own, used in attention beside heed's softmax. `tools/run custom_kernel`
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <vector>

#include "engine/ops.h"
#include "examples/custom_kernel/sink_softmax.h"

namespace {

using namespace heed;

void look_at_it() {
  const Tensor scores = from_vector<float>({4, 0, 0, -6, -6, -6}, {2, 3});
  fmt::print("scores: one row with something to find, one without\n{}\n", scores);
  fmt::print("softmax, which must choose\n{}\n", softmax(scores, -1));
  fmt::print("with a sink, which need not\n{}\n\n", sink::softmax(scores));
}

// The derivative along a random direction, by the operation's backward and by differences, under a random cotangent: a
// plain sum would hide much of what can be wrong with a softmax.
void check_gradient() {
  const TensorOptions f64{.dtype = Dtype::f64};
  const Tensor x = randn({4, 9}, f64).set_requires_grad();
  const Tensor cotangent = randn({4, 9}, f64), direction = randn({4, 9}, f64);
  const Tensor gradient = grad({sink::softmax(x)}, {x}, {cotangent})[0];
  const double claimed = sum(gradient * direction).item<double>();
  const auto value_at = [&](double step) {
    return sum(sink::softmax(x.detach() + direction * step) * cotangent).item<double>();
  };
  const double differences = (value_at(1e-5) - value_at(-1e-5)) / 2e-5;
  fmt::print("slope along a random direction: {:.9f} by backward, {:.9f} by differences\n", claimed, differences);
  check(std::abs(claimed - differences) <= 1e-8, "the gradient is wrong");
}

// Whatever is in a slot can be found, chosen and timed by name.
void time_the_variants() {
  const Tensor x = randn({4096, 512});
  for (const kernels::Variant& variant : sink::softmax_forward.variants()) {
    const kernels::ScopedVariant chosen(sink::softmax_forward, DeviceType::cpu, variant.name);
    std::vector<double> milliseconds;
    for (int i = 0; i < 7; ++i) {
      const auto start = std::chrono::steady_clock::now();
      sink::softmax(x);
      milliseconds.push_back(
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
    std::nth_element(milliseconds.begin(), milliseconds.begin() + 3, milliseconds.end());
    fmt::print("variant {:12} {:7.2f} ms for {} rows of {}\n", variant.name, milliseconds[3], x.size(0), x.size(1));
  }
}

}  // namespace

int main() {
  try {
    manual_seed(1);
    look_at_it();
    check_gradient();
    time_the_variants();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "custom_kernel: %s\n", error.what());
    return 1;
  }
}
