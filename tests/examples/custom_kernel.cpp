// An operation from outside the library passes the same case table as those inside.
#include <doctest/doctest.h>

#include <cmath>

#include "examples/custom_kernel/sink_softmax.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

Array sink_softmax_reference(const Array& x) {
  const std::size_t axis = x.shape.size() - 1;
  return filled(x.shape, [&](const Dims& index) {
    Dims other = index;
    double total = 1;
    for (other[axis] = 0; other[axis] < x.shape[axis]; ++other[axis]) total += std::exp(x[other]);
    return std::exp(x[index]) / total;
  });
}

TEST_CASE("custom kernel: the case table") {
  for (const Shape& shape : row_shapes()) {
    if (shape.empty()) continue;
    verify({.name = "sink_softmax",
            .inputs = {{shape}},
            .operation = [](const Tensors& x) { return sink::softmax(x[0]); },
            .reference = [](const std::vector<Array>& x) { return sink_softmax_reference(x[0]); },
            .kernels = {&sink::softmax_forward},
            .halves = 0});
  }
}

TEST_CASE("custom kernel: extreme rows") {
  const float infinity = std::numeric_limits<float>::infinity();
  const Tensor x = from_vector<float>({-infinity, -infinity, 1000, 999, -1000, -1000, NAN, 0}, {4, 2});
  const Tensor y = sink::softmax(x);
  const double e = std::exp(-1.0);
  Array expected({4, 2});
  expected.values = {0, 0, 1 / (1 + e), e / (1 + e), 0, 0, NAN, NAN};
  CHECK(difference(y, expected, 1e-6) == "");
}

TEST_CASE("custom kernel: bad input") {
  CHECK(message_of([] { sink::softmax(zeros({2}, {Dtype::i64})); }) == "sink_softmax: x is i64, neither f32 nor f64");
  CHECK(message_of([] { sink::softmax(scalar(1)); }) == "sink_softmax: axis -1 out of range for shape []");
}

}  // namespace
}  // namespace heed::test
