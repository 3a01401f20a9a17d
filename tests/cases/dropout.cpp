#include <doctest/doctest.h>

#include <cmath>

#include "kernels/random/random.h"
#include "tests/harness/examine.h"

namespace heed::test {

TEST_CASE("dropout") {
  for (const Shape& shape : small_shapes()) {
    for (const double p : {0.3, 1.0}) {
      verify({.name = "dropout",
              .inputs = {{shape}},
              .operation =
                  [=](const Tensors& x) {
                    Generator generator{.seed = 11, .offset = 3};
                    return dropout(x[0], p, &generator);
                  },
              .reference =
                  [=](const std::vector<Array>& x) {
                    Array y(x[0].shape);
                    for (std::size_t i = 0; i < y.values.size(); ++i) {
                      const bool kept = (kernels::philox_word(i, 11, 3) >> 8) * 0x1p-24 >= p;
                      y.values[i] = kept ? x[0].values[i] / (1 - p) : 0;
                    }
                    return y;
                  },
              .kernels = {&kernels::dropout}});
    }
  }
}

TEST_CASE("dropout draws anew each time, keeps the mean, and zeroes even NaN") {
  manual_seed(3);
  const Tensor x = ones({100000});
  const Tensor a = dropout(x, 0.2), b = dropout(x, 0.2);
  CHECK(a.to_vector<float>() != b.to_vector<float>());
  CHECK(std::abs(sum(a).item<double>() / 100000 - 1) < 0.01);
  CHECK(default_generator().offset == 50000);
  CHECK(dropout(full({50}, std::nan("")), 1.0).to_vector<float>() == std::vector<float>(50, 0.0f));
  CHECK(dropout(x, 0).impl() == x.impl());
}

TEST_CASE("dropout refuses what it cannot do") {
  CHECK_EQ(message_of([] { dropout(zeros({2}), 1.5); }), "dropout: probability 1.5 is not within [0, 1]");
  CHECK_EQ(message_of([] { dropout(zeros({2}), std::nan("")); }), "dropout: probability nan is not within [0, 1]");
  CHECK_EQ(message_of([] { dropout(zeros({2}, {Dtype::i64}), 0.5); }), "dropout: needs a floating dtype, not i64");
}

}  // namespace heed::test
