#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/gather/gather.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

// An index as the input of a case: whole numbers given as doubles.
Input index_input(const Shape& shape, std::vector<double> values, Dtype dtype = Dtype::i64) {
  return {.shape = shape, .differentiable = false, .dtype = dtype, .values = std::move(values)};
}

// Numbers in [0, length) that repeat themselves.
std::vector<double> positions(std::int64_t count, std::int64_t length) {
  std::vector<double> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i)
    values[static_cast<std::size_t>(i)] = static_cast<double>((i * i + 2 * i + 1) % length);
  return values;
}

Array select(const Array& x, int axis, const Array& index) {
  Shape shape = x.shape;
  shape[axis] = index.shape[0];
  return filled(shape, [&](const Dims& at) {
    Dims from = at;
    from[axis] = static_cast<std::int64_t>(index[{at[axis]}]);
    return x[from];
  });
}

Dims redirected(Dims at, int axis, const Array& index) {
  const auto target = static_cast<std::int64_t>(index[at]);
  at[axis] = target;
  return at;
}

// The best of a line by sorting all of it.
Array sorted_best(const Array& x, std::int64_t k, bool largest) {
  Shape shape = x.shape;
  const int last = shape.size() - 1;
  shape[last] = k;
  return filled(shape, [&](const Dims& at) {
    std::vector<double> line;
    Dims from = at;
    for (from[last] = 0; from[last] < x.shape[last]; ++from[last]) line.push_back(x[from]);
    std::ranges::sort(line);
    if (largest) std::ranges::reverse(line);
    return line[static_cast<std::size_t>(at[last])];
  });
}

}  // namespace

TEST_CASE("embedding") {
  const auto row_of = [](const std::vector<Array>& x) {
    Shape shape = x[1].shape;
    shape.push_back(x[0].shape[1]);
    return filled(shape, [&](const Dims& at) {
      Dims position = at;
      position.erase(position.size() - 1);
      return x[0][{static_cast<std::int64_t>(x[1][position]), at.back()}];
    });
  };
  for (const Shape& shape : std::vector<Shape>{{3}, {2, 5}, {}, {0}, {2, 2, 3}}) {
    for (const Dtype dtype : {Dtype::i64, Dtype::i32}) {
      verify({.name = "embedding at " + to_string(shape),
              .inputs = {{{7, 19}}, index_input(shape, positions(count_of(shape), 7), dtype)},
              .operation = [](const Tensors& x) { return embedding(x[0], x[1]); },
              .reference = row_of,
              .kernels = {&kernels::index_select, &kernels::index_add}});
    }
  }
}

TEST_CASE("embedding: rows equal to padding_idx get no gradient, of any order") {
  const Tensor weight = uniform({4, 3}, -1, 1, {Dtype::f64}, 1), index = from_vector<std::int64_t>({1, 0, 1, 3}, {4});
  const Tensor cotangent = uniform({4, 3}, -1, 1, {Dtype::f64}, 2), direction = uniform({4, 3}, -1, 1, {Dtype::f64}, 3);
  weight.set_requires_grad();
  cotangent.set_requires_grad();
  const Tensor y = embedding(weight, index, 1);
  CHECK_EQ(y.select(0, 0).to_vector<double>(), weight.select(0, 1).to_vector<double>());
  const Tensor dweight = grad({y}, {weight}, {cotangent}, {.create_graph = true})[0];
  const Array c(cotangent), d(direction);
  CHECK_EQ(difference(dweight,
                      filled({4, 3},
                             [&](const Dims& at) {
                               if (at[0] == 0) return c[{1, at[1]}];
                               return at[0] == 3 ? c[{3, at[1]}] : 0.0;
                             }),
                      1e-15),
           "");
  const Tensor back = grad({dweight}, {cotangent}, {direction})[0];
  CHECK_EQ(difference(back,
                      filled({4, 3},
                             [&](const Dims& at) {
                               if (at[0] == 1) return d[{0, at[1]}];
                               return at[0] == 3 ? d[{3, at[1]}] : 0.0;
                             }),
                      1e-15),
           "");
}

TEST_CASE("index_select") {
  for (int axis = 0; axis < 3; ++axis) {
    const Shape shape{4, 5, 19};
    verify({.name = "index_select",
            .inputs = {{shape}, index_input({6}, positions(6, shape[axis]))},
            .operation = [axis](const Tensors& x) { return index_select(x[0], axis - 3, x[1]); },
            .reference = [axis](const std::vector<Array>& x) { return select(x[0], axis, x[1]); },
            .kernels = {&kernels::index_select, &kernels::index_add}});
  }
}

TEST_CASE("gather and scatter_add") {
  for (int axis = 0; axis < 3; ++axis) {
    const Shape shape{3, 4, 5};
    for (Shape taken : std::vector<Shape>{{3, 4, 5}, {2, 3, 4}, {1, 1, 1}, {0, 2, 2}}) {
      if (taken[0] != 0) taken[axis] = 7;
      const Input index = index_input(taken, positions(count_of(taken), shape[axis]));
      verify({.name = "gather",
              .inputs = {{shape}, index},
              .operation = [axis](const Tensors& x) { return gather(x[0], axis, x[1]); },
              .reference =
                  [axis](const std::vector<Array>& x) {
                    return filled(x[1].shape, [&](const Dims& at) { return x[0][redirected(at, axis, x[1])]; });
                  },
              .kernels = {&kernels::gather, &kernels::scatter_add}});
      verify({.name = "scatter_add",
              .inputs = {{shape}, index, {taken}},
              .operation = [axis](const Tensors& x) { return scatter_add(x[0], axis, x[1], x[2]); },
              .reference =
                  [axis](const std::vector<Array>& x) {
                    Array y = x[0];
                    for_each_index(x[1].shape, [&](const Dims& at) { y[redirected(at, axis, x[1])] += x[2][at]; });
                    return y;
                  },
              .kernels = {&kernels::scatter_add, &kernels::gather}});
    }
  }
}

TEST_CASE("topk") {
  for (const bool largest : {true, false}) {
    for (const auto& [shape, k] : std::vector<std::pair<Shape, std::int64_t>>{
             {{5}, 1}, {{5}, 5}, {{3, 33}, 4}, {{2, 3, 10}, 0}, {{0, 4}, 2}, {{2, 1}, 1}}) {
      verify({.name = "topk of " + to_string(shape),
              .inputs = {{.shape = shape, .keep_away = 0.01}},
              .operation = [=, k = k](const Tensors& x) { return topk(x[0], k, largest).values; },
              .reference = [=, k = k](const std::vector<Array>& x) { return sorted_best(x[0], k, largest); },
              .kernels = {&kernels::top_k, &kernels::scatter_add}});
    }
  }
  const TopK best = topk(from_vector<float>({3, NAN, 7, 3, 7, -1}, {6}), 5);
  CHECK_EQ(best.indices.to_vector<std::int64_t>(), std::vector<std::int64_t>{1, 2, 4, 0, 3});
}

TEST_CASE("indexing operations refuse what does not fit") {
  const Tensor table = zeros({1683, 8}), x = zeros({3, 5});
  std::vector<std::int64_t> ids(20, 4);
  ids[12] = 1700;
  ids[15] = -1;
  CHECK_EQ(message_of([&] {
             embedding(table, from_vector(ids, {4, 5}));
           }),
           "embedding: index 1700 out of range for 1683 rows at position 12");
  CHECK_EQ(message_of([&] { embedding(table, zeros({2})); }), "embedding: index is f32, expected i64 or i32");
  CHECK_EQ(message_of([&] { embedding(table, zeros({2}, {Dtype::i64}), 1683); }),
           "embedding: padding_idx 1683 out of range for 1683 rows");
  CHECK_EQ(message_of([&] {
             index_select(x, 1, from_vector<std::int64_t>({0, -2}, {2}));
           }),
           "index_select: index -2 out of range for 5 elements at position 1");
  CHECK_EQ(message_of([&] { index_select(x, 2, zeros({1}, {Dtype::i64})); }),
           "index_select: axis 2 out of range for shape [3, 5]");
  CHECK_EQ(message_of([&] {
             index_select(x, 0, zeros({1, 1}, {Dtype::i64}));
           }),
           "index_select: index of shape [1, 1], expected one axis");
  CHECK_EQ(message_of([&] {
             gather(x, 0, zeros({2, 6}, {Dtype::i64}));
           }),
           "gather: index of shape [2, 6] exceeds shape [3, 5] beside axis 0");
  CHECK_EQ(message_of([&] {
             gather(x, 0, from_vector<std::int64_t>({3}, {1, 1}));
           }),
           "gather: index 3 out of range for 3 elements at position 0");
  CHECK_EQ(message_of([&] {
             scatter_add(x, 0, zeros({2, 5}, {Dtype::i64}), zeros({2, 4}));
           }),
           "scatter_add: index of shape [2, 5] and source of shape [2, 4] differ");
  CHECK_EQ(message_of([&] { topk(x, 6); }), "topk: k 6 out of range for the last axis of shape [3, 5]");
}

}  // namespace heed::test
