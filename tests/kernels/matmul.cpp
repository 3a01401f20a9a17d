#include "kernels/matmul/matmul.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>
#include <limits>
#include <thread>

#include "kernels/bfloat16.h"
#include "tests/kernels/arrays.h"

using namespace heed;
using namespace heed::kernels;
using namespace heed::test;

namespace {

struct Size {
  std::int64_t m, n, k;
};

enum class Layout { dense, transposed, wide, wide_transposed, stepped, expanded };

// A batch of 2 matrices [rows, columns] in one of the layouts.
template <class T>
View lay_out(std::vector<T>& data, Layout layout, std::int64_t rows, std::int64_t columns) {
  const std::vector<std::int64_t> shape{2, rows, columns};
  switch (layout) {
    case Layout::dense:
      return view_of(data, shape);
    case Layout::transposed:
      return view_of(data, shape, {rows * columns, 1, rows});
    case Layout::wide:
      return view_of(data, shape, {columns + 3, 2 * (columns + 3), 1});
    case Layout::wide_transposed:
      return view_of(data, shape, {rows + 3, 1, 2 * (rows + 3)});
    case Layout::stepped:
      return view_of(data, shape, {2 * rows * (3 * columns), 2 * (3 * columns), 3});
    case Layout::expanded:
      return view_of(data, shape, {0, 0, 1});
  }
  return {};
}

template <class T>
void check(Size size, Layout a_layout, Layout b_layout, Layout c_layout, double alpha, double beta) {
  const auto [m, n, k] = size;
  const std::int64_t room = 16 * (m + 4) * (n + 4) * 2, a_room = 16 * (m + 4) * (k + 4),
                     b_room = 16 * (k + 4) * (n + 4);
  auto a_data = random_numbers<T>(a_room, 1), b_data = random_numbers<T>(b_room, 2),
       c_data = random_numbers<T>(room, 3);
  const View a = lay_out(a_data, a_layout, m, k), b = lay_out(b_data, b_layout, k, n),
             c = lay_out(c_data, c_layout, m, n);
  std::vector<T> expected = c_data;
  const View expected_view = lay_out(expected, c_layout, m, n);
  for (std::int64_t batch = 0; batch < 2; ++batch) {
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (std::int64_t p = 0; p < k; ++p) sum += double(element<T>(a, {batch, i, p})) * element<T>(b, {batch, p, j});
        T& target = element<T>(expected_view, {batch, i, j});
        target = static_cast<T>(alpha * sum + (beta == 0 ? 0 : beta * target));
        if (beta == 0) element<T>(c, {batch, i, j}) = std::numeric_limits<T>::quiet_NaN();
      }
    }
  }
  matmul(a, b, c, alpha, beta, Stream{});
  const double tolerance = (k + 1) * 4.0 * std::numeric_limits<T>::epsilon();
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < c_data.size(); ++i) wrong += !(std::abs(c_data[i] - expected[i]) <= tolerance);
  CHECK(wrong == 0);  // the gaps between the elements of c included
}

const Size sizes[] = {{1, 1, 1}, {3, 5, 7}, {1, 9, 4},    {9, 1, 4},    {4, 4, 1},    {0, 3, 2},   {3, 0, 2},
                      {3, 2, 0}, {1, 1, 0}, {31, 33, 32}, {65, 1, 130}, {1, 700, 20}, {600, 5, 11}};

// The bits of c after one product of random matrices, the right one transposed in memory.
std::vector<float> product(Size size, std::int64_t batch, int threads) {
  const auto [m, n, k] = size;
  auto a = random_numbers<float>(batch * m * k, 4), b = random_numbers<float>(batch * n * k, 5);
  std::vector<float> c(batch * m * n);
  const int before = omp_get_max_threads();
  omp_set_num_threads(threads);
  matmul(view_of(a, {batch, m, k}), view_of(b, {batch, k, n}, {n * k, 1, k}), view_of(c, {batch, m, n}), 1, 0,
         Stream{});
  CHECK(omp_get_max_threads() == threads);  // whatever the kernel does with this setting, it puts back
  omp_set_num_threads(before);
  return c;
}

}  // namespace

TEST_SUITE("matmul kernels") {
  TEST_CASE("every variant, layout and scaling agrees with the sum of products") {
    const Layout layouts[] = {Layout::dense, Layout::transposed, Layout::wide, Layout::wide_transposed,
                              Layout::stepped};
    for (const Variant& variant : matmul.variants()) {
      if (variant.device != DeviceType::cpu) continue;
      CAPTURE(variant.name);
      const ScopedVariant scope(matmul, DeviceType::cpu, variant.name);
      for (const Size size : sizes) {
        CAPTURE(size.m);
        CAPTURE(size.n);
        CAPTURE(size.k);
        for (const Layout a : layouts) {
          check<float>(size, a, Layout::dense, Layout::dense, 1, 0);
          check<double>(size, Layout::dense, a, Layout::dense, -0.5, 1);
          check<float>(size, Layout::transposed, a, Layout::wide, 2, 0.5);
          check<double>(size, Layout::wide, Layout::transposed, a, 1, 0);
          check<float>(size, Layout::dense, Layout::dense, a, 0, 2);
        }
        check<float>(size, Layout::expanded, Layout::dense, Layout::dense, 1, 0);
        check<double>(size, Layout::dense, Layout::expanded, Layout::transposed, 1, 1);
      }
    }
  }

  TEST_CASE("bf16 is summed in a wider type and rounded once") {
    std::vector<BFloat16> a(300, BFloat16(1.0f)), b(300, BFloat16(1.0f)), c(1);
    View left, right, out;
    left.data = a.data(), right.data = b.data(), out.data = c.data();
    for (View* view : {&left, &right, &out}) view->rank = 2, view->dtype = Dtype::bf16;
    left.shape[0] = 1, left.shape[1] = 300, left.strides[0] = 300, left.strides[1] = 1;
    right.shape[0] = 300, right.shape[1] = 1, right.strides[0] = right.strides[1] = 1;
    out.shape[0] = out.shape[1] = out.strides[0] = out.strides[1] = 1;
    matmul(left, right, out, 1, 0, Stream{});
    CHECK(float(c[0]) == 300.0f);  // adding ones in bf16 would stop at 256
  }

  TEST_CASE("a 2-D right side serves a whole batch") {
    const std::int64_t batch = 3, m = 4, n = 5, k = 6;
    auto a = random_numbers<double>(batch * m * k, 1), b = random_numbers<double>(k * n, 2);
    for (const bool permuted : {false, true}) {  // dense rows fold into one product; permuted ones do not
      std::vector<double> c(batch * m * n);
      const View left = permuted ? view_of(a, {batch, m, k}, {k, batch * k, 1}) : view_of(a, {batch, m, k});
      const View right = view_of(b, {batch, k, n}, {0, n, 1}), out = view_of(c, {batch, m, n});
      matmul(left, right, out, 1, 0, Stream{});
      for (std::int64_t i = 0; i < batch; ++i) {
        for (std::int64_t j = 0; j < m * n; ++j) {
          double sum = 0;
          for (std::int64_t p = 0; p < k; ++p) sum += element<double>(left, {i, j / n, p}) * b[p * n + j % n];
          CHECK(std::abs(element<double>(out, {i, j / n, j % n}) - sum) < 1e-14);
        }
      }
    }
  }

  TEST_CASE("a long k, in parts") {
    const std::int64_t m = 20, n = 9, k = 6000;
    auto a = random_numbers<double>(m * k, 1), b = random_numbers<double>(k * n, 2);
    for (const double beta : {0.0, 0.5}) {
      auto c = random_numbers<double>(m * (n + 2), 3), expected = c;
      const View left = view_of(a, {m, k}, {1, m}), right = view_of(b, {k, n});
      matmul(left, right, view_of(c, {m, n}, {n + 2, 1}), 2, beta, Stream{});
      const ScopedVariant scope(matmul, DeviceType::cpu, "reference");
      matmul(left, right, view_of(expected, {m, n}, {n + 2, 1}), 2, beta, Stream{});
      for (std::size_t i = 0; i < c.size(); ++i) CHECK(std::abs(c[i] - expected[i]) <= 1e-11);
    }
  }

  TEST_CASE("the bits do not depend on the number of threads, nor on the thread that calls") {
    const Size large[] = {{64, 64, 2000}, {1000, 64, 64}, {64, 900, 640}, {900, 64, 700}, {333, 777, 65},
                          {7, 3000, 50},  {60, 60, 200},  {1, 700, 900},  {2000, 1, 300}};
    for (const Variant& variant : matmul.variants()) {
      if (variant.device != DeviceType::cpu) continue;
      CAPTURE(variant.name);
      const ScopedVariant scope(matmul, DeviceType::cpu, variant.name);
      for (const Size size : large) {
        const std::vector<float> alone = product(size, 1, 1);
        for (const int threads : {2, 3, 7}) CHECK(product(size, 1, threads) == alone);
        std::vector<float> elsewhere;
        std::thread([&] { elsewhere = product(size, 1, 2); }).join();
        CHECK(elsewhere == alone);
      }
      CHECK(product({50, 50, 32}, 40, 1) == product({50, 50, 32}, 40, 2));
    }
  }

  TEST_CASE("which matrices a BLAS can read") {
    std::vector<float> data(100);
    const auto readable = [&](std::vector<std::int64_t> shape, std::vector<std::int64_t> strides) {
      return is_blas_matrix(view_of(data, shape, strides));
    };
    CHECK(readable({3, 4}, {4, 1}));
    CHECK(readable({3, 4}, {1, 3}));
    CHECK(readable({3, 4}, {9, 1}));
    CHECK(readable({5, 3, 4}, {0, 4, 1}));
    CHECK(readable({1, 4}, {0, 1}));
    CHECK(readable({1, 4}, {0, 7}));  // a column of a row-major matrix, seen as a row
    CHECK(readable({4, 1}, {7, 5}));
    CHECK(readable({1, 1}, {0, 0}));
    CHECK(readable({0, 4}, {4, 1}));
    CHECK_FALSE(readable({3, 4}, {0, 1}));
    CHECK_FALSE(readable({3, 4}, {1, 0}));
    CHECK_FALSE(readable({3, 4}, {8, 2}));
    CHECK_FALSE(readable({3, 4}, {3, 1}));  // rows overlap
    CHECK_FALSE(readable({4, 1}, {0, 1}));
  }
}
