#include "engine/row_gradient.h"

#include <doctest/doctest.h>

#include "engine/autograd.h"
#include "engine/ops.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

using Values = std::vector<double>;
using Rows = std::vector<std::int64_t>;

Tensor index_of(const Rows& rows) {
  return from_vector(rows, {static_cast<std::int64_t>(rows.size())});
}

// A table [6, 2] that wants a gradient.
Tensor table() {
  const Tensor x = uniform({6, 2}, -1, 1, {Dtype::f64}, 7);
  x.set_requires_grad();
  return x;
}

const Values first_dy{1, 2, 3, 4, 5, 6, 7, 8};
const Tensor dy_of(const Values& values) {
  return from_vector(values, {static_cast<std::int64_t>(values.size()) / 2, 2});
}

// Rows 4, 1, 4, 2 of `weight` against first_dy: rows 1, 2 and 4 get {3, 4}, {7, 8} and {6, 8}.
void look_up(const Tensor& weight, bool sparse = true) {
  backward(embedding(weight, index_of({4, 1, 4, 2}), {}, sparse), dy_of(first_dy));
}
const Values looked_up{0, 0, 3, 4, 7, 8, 0, 0, 6, 8, 0, 0};

}  // namespace

TEST_CASE("row gradients: equal rows are summed, rows ascend, one may be left out") {
  const RowGradient all = sum_rows(index_of({4, 1, 4, 2}), dy_of(first_dy));
  CHECK_EQ(all.rows.to_vector<std::int64_t>(), Rows{1, 2, 4});
  CHECK_EQ(all.values.to_vector<double>(), Values{3, 4, 7, 8, 6, 8});
  const RowGradient some = sum_rows(index_of({4, 1, 4, 2}).to(Dtype::i32), dy_of(first_dy), 4);
  CHECK_EQ(some.rows.to_vector<std::int64_t>(), Rows{1, 2});
  CHECK_EQ(some.values.to_vector<double>(), Values{3, 4, 7, 8});
  const RowGradient none = sum_rows(index_of({}), dy_of({}));
  CHECK_EQ(none.rows.count(), 0);
  CHECK_EQ(none.values.shape(), Shape{0, 2});
}

TEST_CASE("row gradients: a leaf keeps its gradient sparse where that was asked for") {
  const Tensor weight = table(), plain = table();
  look_up(weight);
  look_up(plain, false);
  REQUIRE(weight.row_grad().has_value());
  CHECK_EQ(weight.row_grad()->rows.to_vector<std::int64_t>(), Rows{1, 2, 4});
  CHECK_EQ(weight.grad().to_vector<double>(), looked_up);
  CHECK_FALSE(plain.row_grad().has_value());
  CHECK_EQ(plain.grad().to_vector<double>(), looked_up);
  weight.set_grad({});
  CHECK_FALSE(weight.row_grad().has_value());
  CHECK_FALSE(weight.grad().defined());
}

TEST_CASE("row gradients: sums of sparse stay sparse, with dense they become dense") {
  const auto sum_of = [](bool first_sparse, bool second_sparse) {
    const Tensor weight = table();
    look_up(weight, first_sparse);
    backward(embedding(weight, index_of({5, 1}), {}, second_sparse), dy_of({10, 20, 30, 40}));
    CHECK_EQ(weight.row_grad().has_value(), first_sparse && second_sparse);
    return weight.grad().to_vector<double>();
  };
  const Values expected{0, 0, 33, 44, 7, 8, 0, 0, 6, 8, 10, 20};
  for (const bool first : {false, true})
    for (const bool second : {false, true}) CHECK_EQ(sum_of(first, second), expected);

  const Tensor weight = table();  // in one pass: looked up twice, and once more as a matrix, before and after
  const Tensor rows = embedding(weight, index_of({4, 1, 4, 2}), {}, true);
  backward(sum(rows * dy_of(first_dy)) + sum(embedding(weight, index_of({5, 1}), {}, true) * dy_of({10, 20, 30, 40})));
  CHECK(weight.row_grad().has_value());
  CHECK_EQ(weight.grad().to_vector<double>(), expected);
  for (const bool matrix_is_newer : {false, true}) {
    weight.set_grad({});
    const Tensor before = sum(weight), looked = sum(embedding(weight, index_of({1}), {}, true));
    backward(matrix_is_newer ? looked + sum(weight) : looked + before);
    CHECK_FALSE(weight.row_grad().has_value());
    CHECK_EQ(weight.grad().to_vector<double>(), Values{1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1});
  }
}

TEST_CASE("row gradients: a dense gradient that somebody holds keeps its values") {
  const Tensor weight = table();
  backward(sum(weight));
  const Tensor held = weight.grad();
  look_up(weight);
  CHECK_EQ(held.to_vector<double>(), Values(12, 1.0));
  CHECK_EQ(weight.grad().select(0, 4).to_vector<double>(), Values{7, 9});
}

TEST_CASE("row gradients: hooks, grad() and results of operations see whole tensors") {
  const Tensor weight = table();
  Values seen;
  const int hook = weight.register_hook([&](const Tensor& dy) {
    seen = dy.to_vector<double>();
    return Tensor();
  });
  look_up(weight);
  weight.remove_hook(hook);
  CHECK_EQ(seen, looked_up);
  CHECK_EQ(weight.grad().to_vector<double>(), looked_up);
  CHECK_FALSE(weight.row_grad().has_value());

  const Tensor y = embedding(weight, index_of({4, 1, 4, 2}), {}, true);
  CHECK_EQ(grad({y}, {weight}, {dy_of(first_dy)})[0].to_vector<double>(), looked_up);

  const Tensor scaled = table();
  look_up(scaled * 2);
  CHECK_EQ(scaled.grad().to_vector<double>()[4], 14);
  CHECK_FALSE(scaled.row_grad().has_value());
}

TEST_CASE("row gradients: a sparse one met by a backward that is itself recorded") {
  const Tensor weight = table();
  look_up(weight);
  const Tensor y = embedding(weight, index_of({0}), {}, true);
  backward(sum(y * y), {}, {.create_graph = true});
  const double w = weight.select(0, 0).to_vector<double>()[0];
  CHECK_EQ(weight.grad().to_vector<double>()[0], 2 * w);
  CHECK_EQ(weight.grad().to_vector<double>()[8], 6);
  weight.set_grad({});
}

}  // namespace heed::test
