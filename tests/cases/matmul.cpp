#include "kernels/matmul/matmul.h"

#include <doctest/doctest.h>

#include "tests/harness/examine.h"

namespace heed::test {
namespace {

// torch.matmul, from its description: vectors become matrices, batch axes broadcast, the added axes disappear.
Array product(Array a, Array b) {
  const bool row = a.shape.size() == 1, column = b.shape.size() == 1;
  if (row) a.shape.insert(0, 1);
  if (column) b.shape.insert(1, 1);
  const auto batch = [](const Array& x) { return Shape(std::span(x.shape.begin(), x.shape.end() - 2)); };
  Shape shape = *broadcast(batch(a), batch(b));
  const int rank = shape.size() + 2;
  const std::int64_t inner = a.shape[a.shape.size() - 1];
  shape.push_back(a.shape[a.shape.size() - 2]);
  shape.push_back(b.shape[b.shape.size() - 1]);
  // Where in x the matrix that a batch position sees has its element (i, j).
  const auto at = [&](const Array& x, const Dims& index, std::int64_t i, std::int64_t j) {
    const int own_rank = x.shape.size(), added = rank - own_rank;
    Dims own = Dims::filled(own_rank, 0);
    for (int axis = 0; axis < own_rank - 2; ++axis) own[axis] = x.shape[axis] == 1 ? 0 : index[added + axis];
    own[own_rank - 2] = i;
    own[own_rank - 1] = j;
    return x[own];
  };
  Array c = filled(shape, [&](const Dims& index) {
    double sum = 0;
    for (std::int64_t p = 0; p < inner; ++p) sum += at(a, index, index[rank - 2], p) * at(b, index, p, index[rank - 1]);
    return sum;
  });
  if (row) c.shape.erase(rank - 2);
  if (column) c.shape.erase(c.shape.size() - 1);
  return c;
}

void verify_matmul(const Shape& a, const Shape& b) {
  verify({.name = "matmul " + to_string(a) + " " + to_string(b),
          .inputs = {{a}, {b}},
          .operation = [](const Tensors& x) { return matmul(x[0], x[1]); },
          .reference = [](const std::vector<Array>& x) { return product(x[0], x[1]); },
          .kernels = {&kernels::matmul}});
}

void verify_linear(const Shape& x, std::int64_t out, bool with_bias) {
  const std::int64_t in = x[x.size() - 1];
  Case c{.name = fmt::format("linear {} to {}{}", x, out, with_bias ? " with bias" : ""),
         .inputs = {{x}, {{out, in}}},
         .operation = [](const Tensors& x) { return linear(x[0], x[1], x.size() > 2 ? x[2] : Tensor()); },
         .reference =
             [](const std::vector<Array>& x) {
               const Array &weight = x[1], &input = x[0];
               Shape shape = input.shape;
               shape[shape.size() - 1] = weight.shape[0];
               return filled(shape, [&](const Dims& index) {
                 const std::int64_t o = index.back();
                 double sum = x.size() > 2 ? x[2][{o}] : 0;
                 Dims from = index;
                 for (std::int64_t i = 0; i < weight.shape[1]; ++i) {
                   from[from.size() - 1] = i;
                   sum += input[from] * weight[{o, i}];
                 }
                 return sum;
               });
             },
         .kernels = {&kernels::matmul}};
  if (with_bias) c.inputs.push_back({{out}});
  verify(c);
}

}  // namespace

TEST_CASE("matmul of matrices") {
  for (const auto& [m, n, k] : std::vector<std::array<std::int64_t, 3>>{
           {1, 1, 1}, {3, 4, 5}, {1, 5, 7}, {6, 1, 3}, {5, 4, 1}, {17, 33, 9}, {0, 3, 2}, {3, 0, 2}, {3, 2, 0}}) {
    verify_matmul({m, k}, {k, n});
  }
}

TEST_CASE("matmul of vectors") {
  verify_matmul({5}, {5});
  verify_matmul({5}, {5, 3});
  verify_matmul({3, 5}, {5});
  verify_matmul({2, 3, 5}, {5});
  verify_matmul({5}, {2, 5, 3});
  verify_matmul({0}, {0});
}

TEST_CASE("matmul of batches, with broadcasting") {
  verify_matmul({2, 3, 4}, {2, 4, 5});
  verify_matmul({2, 3, 4}, {4, 5});
  verify_matmul({3, 4}, {2, 4, 5});
  verify_matmul({2, 1, 3, 4}, {3, 4, 2});
  verify_matmul({1, 3, 4}, {5, 4, 2});
  verify_matmul({2, 2, 1, 4}, {4, 3});
  verify_matmul({0, 3, 4}, {4, 2});
}

TEST_CASE("linear") {
  for (const bool with_bias : {false, true}) {
    verify_linear({5}, 3, with_bias);
    verify_linear({4, 5}, 3, with_bias);
    verify_linear({2, 3, 5}, 4, with_bias);
    verify_linear({2, 2, 3, 1}, 1, with_bias);
    verify_linear({0, 5}, 3, with_bias);
    verify_linear({3, 0}, 2, with_bias);
  }
}

TEST_CASE("a transposed operand is read in place") {
  const Tensor a = uniform({3, 4}, -1, 1, {}, 1), b = uniform({5, 4}, -1, 1, {}, 2);
  CHECK(kernels::is_blas_matrix(b.transpose(0, 1).view()));
  CHECK_EQ(matmul(a, b.transpose(0, 1)).to_vector<float>(), linear(a, b).to_vector<float>());
}

TEST_CASE("matmul and linear refuse what does not fit") {
  const Tensor x = zeros({2, 3});
  CHECK_EQ(message_of([&] {
             matmul(x, zeros({4, 5}));
           }),
           "matmul: shapes [2, 3] and [4, 5] do not fit: inner lengths 3 and 4");
  CHECK_EQ(message_of([&] { matmul(x, zeros({4})); }),
           "matmul: shapes [2, 3] and [4] do not fit: inner lengths 3 and 4");
  CHECK_EQ(message_of([&] { matmul(scalar(1), x); }), "matmul: shapes [] and [2, 3], expected at least one axis each");
  CHECK_EQ(message_of([&] {
             matmul(zeros({2, 4, 3}), zeros({3, 3, 2}));
           }),
           "matmul: batch axes of shapes [2, 4, 3] and [3, 3, 2] do not broadcast");
  CHECK_EQ(message_of([&] {
             matmul(zeros({2, 3}, {Dtype::i64}), zeros({3, 2}, {Dtype::i64}));
           }),
           "matmul: needs a floating dtype, not i64");
  CHECK_NE(message_of([&] { matmul(x, zeros({3, 2}, {Dtype::f64})); }), "(nothing thrown)");
  CHECK_EQ(message_of([&] {
             linear(x, zeros({4, 2}));
           }),
           "linear: x [2, 3] and weight [4, 2] do not fit; expected [..., in] and [out, in]");
  CHECK_EQ(message_of([&] {
             linear(x, zeros({4, 3}), zeros({3}));
           }),
           "linear: bias [3] does not fit weight [4, 3]; expected [out]");
}

}  // namespace heed::test
