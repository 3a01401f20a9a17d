#include <doctest/doctest.h>

#include <cmath>

#include "kernels/layer_norm/layer_norm.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

// Both normalisations in the plainest words; `weight` and `bias` of no elements are absent.
Array normalised(const Array& x, const Array& weight, const Array& bias, double eps, bool centred) {
  const int axis = x.shape.size() - 1;
  return filled(x.shape, [&](const Dims& index) {
    const std::int64_t n = x.shape[axis];
    Dims at = index;
    double mean = 0, squares = 0;
    for (at[axis] = 0; centred && at[axis] < n; ++at[axis]) mean += x[at] / static_cast<double>(n);
    for (at[axis] = 0; at[axis] < n; ++at[axis]) squares += std::pow(x[at] - mean, 2);
    const double xhat = (x[index] - mean) / std::sqrt(squares / static_cast<double>(n) + eps);
    const auto i = static_cast<std::size_t>(index[axis]);
    return xhat * (weight.values.empty() ? 1 : weight.values[i]) + (bias.values.empty() ? 0 : bias.values[i]);
  });
}

const std::vector<Shape> shapes = {{5}, {3, 1}, {70, 8}, {2, 3, 33}, {3, 130}, {0, 4}};
const Array absent(Shape{0});

}  // namespace

TEST_CASE("layer_norm") {
  const std::vector<const kernels::KernelSlot*> slots = {&kernels::layer_norm_forward, &kernels::layer_norm_backward};
  for (const Shape& shape : shapes) {
    const std::int64_t n = shape[shape.size() - 1];
    verify({.name = "layer_norm",
            .inputs = {{shape}, {{n}}, {{n}}},
            .operation = [](const Tensors& x) { return layer_norm(x[0], x[1], x[2], 0.1); },
            .reference = [](const auto& x) { return normalised(x[0], x[1], x[2], 0.1, true); },
            .kernels = slots});
  }
  verify({.name = "layer_norm without parameters",
          .inputs = {{{4, 9}}},
          .operation = [](const Tensors& x) { return layer_norm(x[0], {}, {}, 0.1); },
          .reference = [](const auto& x) { return normalised(x[0], absent, absent, 0.1, true); },
          .kernels = slots});
  verify({.name = "layer_norm without bias",
          .inputs = {{{4, 9}}, {{9}}},
          .operation = [](const Tensors& x) { return layer_norm(x[0], x[1], {}, 0.1); },
          .reference = [](const auto& x) { return normalised(x[0], x[1], absent, 0.1, true); },
          .kernels = slots});
}

TEST_CASE("rms_norm") {
  for (const Shape& shape : shapes) {
    verify({.name = "rms_norm",
            .inputs = {{shape}, {{shape[shape.size() - 1]}}},
            .operation = [](const Tensors& x) { return rms_norm(x[0], x[1], 0.1); },
            .reference = [](const auto& x) { return normalised(x[0], x[1], absent, 0.1, false); },
            .kernels = {&kernels::rms_norm_forward, &kernels::rms_norm_backward}});
  }
}

TEST_CASE("layer_norm loses no digits to an offset") {
  for (const char* variant : variants_of(kernels::layer_norm_forward)) {
    const kernels::ScopedVariant scope(kernels::layer_norm_forward, default_device().type, variant);
    const Tensor x = uniform({4, 1000}, 9999, 10001, {}, 7);
    CHECK_EQ(difference(layer_norm(x), normalised(Array(x), absent, absent, 1e-5, true), 2e-6), "");
  }
}

TEST_CASE("normalisations refuse what they cannot do") {
  CHECK_EQ(message_of([] {
             layer_norm(zeros({2, 4}), ones({3}));
           }),
           "layer_norm: parameter [3] does not fit the last axis of [2, 4]");
  CHECK_EQ(message_of([] { layer_norm(zeros({2, 0})); }), "layer_norm: shape [2, 0] has no elements along a last axis");
  CHECK_EQ(message_of([] { rms_norm(zeros({})); }), "rms_norm: shape [] has no elements along a last axis");
}

}  // namespace heed::test
