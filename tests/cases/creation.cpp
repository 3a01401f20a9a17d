#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/random/random.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

using Values = std::vector<double>;
Values values_of(const Tensor& x) {
  return x.to_vector<double>();
}

}  // namespace

TEST_CASE("constant leaves") {
  for (const Dtype dtype :
       {Dtype::f32, Dtype::f64, Dtype::bf16, Dtype::f16, Dtype::i32, Dtype::i64, Dtype::u8, Dtype::boolean}) {
    CHECK(values_of(zeros({2, 2}, {dtype})) == Values{0, 0, 0, 0});
    CHECK(values_of(ones_like(empty({3}, {dtype}))) == Values{1, 1, 1});
    CHECK(full({0, 3}, 1, {dtype}).count() == 0);
  }
  CHECK(values_of(full({2}, -2.5)) == Values{-2.5, -2.5});
  CHECK(values_of(full_like(zeros({2}, {Dtype::i64}), 7.9)) == Values{7, 7});
  CHECK(scalar(3).shape() == Shape{});
}

TEST_CASE("arange, linspace, eye, one_hot") {
  CHECK(values_of(arange(0, 5)) == Values{0, 1, 2, 3, 4});
  CHECK(values_of(arange(5, 0, -2)) == Values{5, 3, 1});
  CHECK(values_of(arange(0, 1, 0.25, {Dtype::f32})) == Values{0, 0.25, 0.5, 0.75});
  CHECK(arange(3, 3).count() == 0);
  CHECK(arange(0, 3).dtype() == Dtype::i64);
  const std::vector<std::int64_t> many = arange(0, 100000).to_vector<std::int64_t>();
  CHECK(many.size() == 100000);
  CHECK(std::ranges::adjacent_find(many, [](auto a, auto b) { return b != a + 1; }) == many.end());
  CHECK(values_of(linspace(-1, 1, 5)) == Values{-1, -0.5, 0, 0.5, 1});
  CHECK(values_of(linspace(2, 3, 1)) == Values{2});
  CHECK(linspace(0, 1, 0).count() == 0);
  CHECK(values_of(linspace(0, 0.1, 50, {Dtype::f64})).back() == 0.1);
  CHECK(values_of(eye(2)) == Values{1, 0, 0, 1});
  CHECK(eye(0).count() == 0);
  const Tensor encoded = one_hot(from_vector<std::int64_t>({2, 0}, {2, 1}), 3);
  CHECK(encoded.shape() == Shape{2, 1, 3});
  CHECK(values_of(encoded) == Values{0, 0, 1, 1, 0, 0});
}

TEST_CASE("random leaves depend on the generator alone") {
  Generator generator{.seed = 5};
  const Tensor first = rand({3, 5}, {}, &generator);
  CHECK(generator.offset == 4);  // 15 words in blocks of four
  const Tensor second = rand({3, 5}, {Dtype::f64}, &generator);
  CHECK(generator.offset == 4 + 8);
  for (std::int64_t i = 0; i < 15; ++i) {
    CHECK(values_of(first)[i] == static_cast<float>(kernels::philox_word(i, 5, 0) >> 8) * 0x1p-24f);
  }
  manual_seed(5);
  CHECK(values_of(rand({3, 5})) == values_of(first));
  CHECK(values_of(rand({3, 5}, {Dtype::f64})) == values_of(second));
}

TEST_CASE("random leaves have the distribution they claim") {
  manual_seed(1);
  const std::int64_t n = 200000;
  const auto moment = [](const Values& x, int power) {
    double total = 0;
    for (const double v : x) total += std::pow(v, power);
    return total / static_cast<double>(x.size());
  };
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    const Values u = values_of(rand({n}, {dtype})), z = values_of(randn({n}, {dtype}));
    CHECK(*std::ranges::min_element(u) >= 0);
    CHECK(*std::ranges::max_element(u) < 1);
    for (const int power : {1, 2, 3}) CHECK(std::abs(moment(u, power) - 1.0 / (power + 1)) < 0.005);
    CHECK(std::abs(moment(z, 1)) < 0.01);
    CHECK(std::abs(moment(z, 2) - 1) < 0.02);
    CHECK(std::abs(moment(z, 3)) < 0.04);
    CHECK(std::abs(moment(z, 4) - 3) < 0.12);
  }
  CHECK(std::abs(moment(values_of(bernoulli({n}, 0.3)), 1) - 0.3) < 0.006);
  CHECK(moment(values_of(bernoulli({1000}, 0)), 1) == 0);
  CHECK(moment(values_of(bernoulli({1000}, 1, {Dtype::boolean})), 1) == 1);

  std::vector<std::int64_t> counts(7);
  for (const std::int64_t i : randint(-3, 4, {70000}).to_vector<std::int64_t>()) ++counts.at(i + 3);
  for (const std::int64_t count : counts) CHECK(std::abs(static_cast<double>(count) - 10000) < 500);
}

TEST_CASE("randperm holds every number once, and all orders are as likely") {
  manual_seed(2);
  std::vector<std::int64_t> order = randperm(1000).to_vector<std::int64_t>();
  CHECK_FALSE(std::ranges::is_sorted(order));
  std::ranges::sort(order);
  for (std::int64_t i = 0; i < 1000; ++i) CHECK(order[i] == i);
  std::vector<int> counts(27);
  for (int draw = 0; draw < 6000; ++draw) {
    const auto p = randperm(3).to_vector<std::int64_t>();
    ++counts[p[0] * 9 + p[1] * 3 + p[2]];
  }
  CHECK(std::ranges::count_if(counts, [](int c) { return c > 0; }) == 6);
  for (const int c : counts) CHECK((c == 0 || std::abs(c - 1000) < 150));
  CHECK(randperm(0).count() == 0);
}

TEST_CASE("creation refuses what it cannot do") {
  CHECK_EQ(message_of([] { arange(0, 5, -1); }), "arange: steps of -1 do not lead from 0 to 5");
  CHECK_EQ(message_of([] { arange(0, 5, 0); }), "arange: steps of 0 do not lead from 0 to 5");
  CHECK_EQ(message_of([] { rand({2}, {Dtype::i64}); }), "rand: needs a floating dtype, not i64");
  CHECK_EQ(message_of([] { bernoulli({2}, 1.5); }), "bernoulli: probability 1.5 is not within [0, 1]");
  CHECK_EQ(message_of([] { bernoulli({2}, std::nan("")); }), "bernoulli: probability nan is not within [0, 1]");
  CHECK_EQ(message_of([] { randint(3, 3, {2}); }), "randint: no integers in [3, 3)");
  CHECK_EQ(message_of([] { one_hot(arange(0, 4), 3); }), "one_hot: index 3 out of range for 3 classes");
  CHECK_EQ(message_of([] { one_hot(arange(-1, 2), 3); }), "one_hot: index -1 is negative");
}

}  // namespace heed::test
