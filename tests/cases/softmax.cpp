#include "kernels/softmax/softmax.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/harness/examine.h"

namespace heed::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Array softmax_reference(const Array& x, int axis) {
  Array y(x.shape);
  for_each_index(x.shape, [&](const Dims& first) {
    if (first[axis] != 0) return;
    Dims i = first;  // goes along the row
    const auto each = [&](const auto& body) {
      for (i[axis] = 0; i[axis] < x.shape[axis]; ++i[axis]) body();
    };
    double largest = -infinity, total = 0;
    each([&] { largest = std::max(largest, x[i]); });
    each([&] { total += std::exp(x[i] - largest); });
    each([&] { y[i] = largest == -infinity ? 0 : std::exp(x[i] - largest) / total; });
  });
  return y;
}

Case softmax_case(const Shape& shape, int axis) {
  return {.name = "softmax",
          .inputs = {{shape}},
          .operation = [axis](const Tensors& x) { return softmax(x[0], axis); },
          .reference =
              [axis](const std::vector<Array>& x) {
                return softmax_reference(x[0], axis < 0 ? axis + x[0].shape.size() : axis);
              },
          .kernels = {&kernels::softmax_forward, &kernels::softmax_backward}};
}

Array log_softmax_reference(const Array& x, int axis) {
  Array y = softmax_reference(x, axis);
  for (double& value : y.values) value = std::log(value);
  return y;
}

Case log_softmax_case(const Shape& shape, int axis) {
  return {.name = "log_softmax",
          .inputs = {{shape}},
          .operation = [axis](const Tensors& x) { return log_softmax(x[0], axis); },
          .reference =
              [axis](const std::vector<Array>& x) {
                return log_softmax_reference(x[0], axis < 0 ? axis + x[0].shape.size() : axis);
              },
          .kernels = {&kernels::log_softmax_forward, &kernels::log_softmax_backward}};
}

}  // namespace

TEST_CASE("log_softmax") {
  for (const Shape& shape : row_shapes()) verify(log_softmax_case(shape, -1));
  for (int axis = 0; axis < 3; ++axis) verify(log_softmax_case({4, 33, 5}, axis));
}

TEST_CASE("log_softmax of huge, tiny and masked values") {
  const Tensor x = from_vector<float>({-1000, 0, 1000, 0, 0, -INFINITY, -INFINITY, -INFINITY, -INFINITY}, {3, 3});
  Array expected(Shape{3, 3});
  expected.values = {-2000, -1000, 0, -std::log(2.0), -std::log(2.0), -infinity, -infinity, -infinity, -infinity};
  for (const char* variant : variants_of(kernels::log_softmax_forward)) {
    CAPTURE(variant);
    const kernels::ScopedVariant scope(kernels::log_softmax_forward, default_device().type, variant);
    CHECK_EQ(difference(log_softmax(x, 1), expected, 1e-6), "");
  }
}

TEST_CASE("one NaN or +inf makes a row NaN, wherever it stands and whatever else is masked") {
  for (const char* variant : variants_of(kernels::softmax_forward)) {
    CAPTURE(variant);
    const kernels::ScopedVariant scope(kernels::softmax_forward, default_device().type, variant);
    for (const float odd : {NAN, INFINITY}) {
      for (const std::int64_t place : {0, 13, 1030, 2047, 2049}) {
        for (const float others : {1.0f, -INFINITY}) {
          std::vector<float> values(2050, others);
          values[static_cast<std::size_t>(place)] = odd;
          CHECK_EQ(difference(softmax(from_vector(values, {2050}), 0), Array(Shape{2050}, std::nan("")), 0), "");
        }
      }
    }
  }
}

TEST_CASE("softmax") {
  for (const Shape& shape : row_shapes()) verify(softmax_case(shape, -1));
  for (int axis = 0; axis < 3; ++axis) verify(softmax_case({4, 33, 5}, axis));
}

TEST_CASE("softmax of huge, tiny and masked values") {
  const Array x(from_vector<double>({1e30, -1e30, 0, -infinity, -infinity, -infinity, 700, 710, -infinity}, {3, 3}));
  CHECK_EQ(difference(softmax(from_vector<float>(
                                  {1e30f, -1e30f, 0, -INFINITY, -INFINITY, -INFINITY, 700, 710, -INFINITY}, {3, 3}),
                              1),
                      softmax_reference(x, 1), 1e-6),
           "");
}

TEST_CASE("softmax refuses what it cannot do") {
  CHECK_EQ(message_of([] { softmax(zeros({2, 4}), 3); }), "softmax: axis 3 out of range for shape [2, 4]");
  CHECK_EQ(message_of([] { softmax(zeros({2, 4}, {Dtype::i64}), 0); }), "softmax: needs a floating dtype, not i64");
  CHECK_EQ(message_of([] { softmax(Tensor(), 0); }), "softmax: undefined tensor");
}

}  // namespace heed::test
