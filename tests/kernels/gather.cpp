#include "kernels/gather/gather.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

#include "tests/kernels/arrays.h"

using namespace heed;
using namespace heed::kernels;
using namespace heed::test;

namespace {

const double not_a_number = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();

template <class I>
std::vector<I> random_index(std::int64_t count, std::int64_t length, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<I> index(count);
  for (I& i : index) i = static_cast<I>(generator() % length);
  return index;
}

// Whole numbers, so that every dtype adds them without rounding.
template <class T>
std::vector<T> whole_numbers(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<T> numbers(count);
  for (T& number : numbers) number = static_cast<T>(static_cast<int>(generator() % 200) - 100);
  return numbers;
}

// x [outer, length, inner] with strides that leave gaps, or permuted so that the inner axis is not the dense one.
std::vector<std::int64_t> strides_of(bool permuted, std::int64_t outer, std::int64_t length, std::int64_t inner) {
  if (permuted) return {length, 1, outer * length};
  return {(length + 1) * (inner + 2), inner + 2, 1};
}

template <class Body>
void for_each_variant(const KernelSlot& slot, Body&& body) {
  for (const Variant& variant : slot.variants()) {
    if (variant.device != DeviceType::cpu) continue;
    CAPTURE(variant.name);
    const ScopedVariant scope(slot, DeviceType::cpu, variant.name);
    body();
  }
}

struct Shape3 {
  std::int64_t outer, length, inner, n;
};
const Shape3 shapes[] = {{1, 5, 64, 40}, {3, 7, 33, 20}, {2, 4, 1, 9}, {1, 6, 7, 6},     {0, 3, 4, 5},
                         {2, 3, 0, 5},   {2, 3, 4, 0},   {1, 9, 8, 1}, {2, 50, 100, 300}};

template <class T, class I>
void check_rows(Shape3 shape, bool permuted) {
  const auto [outer, length, inner, n] = shape;
  const std::int64_t room = (outer + 1) * (length + n + 2) * (inner + 3);
  auto table = whole_numbers<T>(room, 1), rows = whole_numbers<T>(room, 2);
  auto index = random_index<I>(2 * n, length, 3);
  const View positions = view_of(index, {n}, {2});
  const View x = view_of(table, {outer, length, inner}, strides_of(permuted, outer, length, inner));
  const View y = view_of(rows, {outer, n, inner}, strides_of(permuted, outer, n, inner));
  auto expected_rows = rows, expected_table = table;
  const View expected_y = [&] {
    View view = y;
    view.data = expected_rows.data();
    return view;
  }();
  const View expected_x = [&] {
    View view = x;
    view.data = expected_table.data();
    return view;
  }();
  for (std::int64_t o = 0; o < outer; ++o) {
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < inner; ++j) {
        const std::int64_t row = index[2 * i];
        element<T>(expected_x, {o, row, j}) += element<T>(y, {o, i, j});
        element<T>(expected_y, {o, i, j}) = element<T>(x, {o, row, j});
      }
    }
  }
  auto added = table;
  View sums = x;
  sums.data = added.data();
  index_add(sums, 1, positions, y, Stream{});
  CHECK(added == expected_table);
  index_select(x, 1, positions, y, Stream{});
  CHECK(rows == expected_rows);
}

// x, index and y of three axes; the index has its own length at every one of them.
template <class T, class I>
void check_elements(int axis) {
  const std::int64_t lengths[] = {4, 5, 6}, taken[] = {3, 4, 6};
  std::vector<std::int64_t> index_shape(taken, taken + 3);
  index_shape[axis] = 7;
  const std::int64_t count = index_shape[0] * index_shape[1] * index_shape[2];
  auto x_data = whole_numbers<T>(120, 1), y_data = whole_numbers<T>(count, 2);
  auto index_data = random_index<I>(count, lengths[axis], 3);
  const View x = view_of(x_data, {4, 5, 6}, {1, 24, 4}), index = view_of(index_data, index_shape);
  const View y = view_of(y_data, index_shape, {1, index_shape[0] * index_shape[2], index_shape[0]});
  auto expected_x = x_data, expected_y = y_data;
  for (std::int64_t i = 0; i < index_shape[0]; ++i) {
    for (std::int64_t j = 0; j < index_shape[1]; ++j) {
      for (std::int64_t l = 0; l < index_shape[2]; ++l) {
        std::int64_t at[] = {i, j, l};
        at[axis] = element<I>(index, {i, j, l});
        const std::int64_t from = at[0] + 24 * at[1] + 4 * at[2];
        const std::int64_t to = i + y.strides[1] * j + y.strides[2] * l;
        expected_x[from] += y_data[to];
        expected_y[to] = x_data[from];
      }
    }
  }
  auto scattered = x_data;
  View sums = x;
  sums.data = scattered.data();
  scatter_add(sums, axis, index, y, Stream{});
  CHECK(scattered == expected_x);
  gather(x, axis, index, y, Stream{});
  CHECK(y_data == expected_y);
}

template <class T>
void check_top_k(std::vector<T> line, std::int64_t k, bool largest) {
  const std::int64_t n = static_cast<std::int64_t>(line.size());
  std::vector<std::int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  const auto is_nan = [](T value) { return value != value; };
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    const T left = line[largest ? a : b], right = line[largest ? b : a];
    return is_nan(left) ? !is_nan(right) : left > right;
  });
  // Two lines, the second reversed in memory order by a step of 2.
  std::vector<T> x(4 * n + 4), values(3 * k + 3);
  std::vector<std::int64_t> indices(2 * k);
  for (std::int64_t i = 0; i < n; ++i) x[2 * i] = x[2 * n + 2 * i] = line[i];
  top_k(view_of(x, {2, n}, {2 * n, 2}), view_of(values, {2, k}, {1, 3}), view_of(indices, {2, k}), largest, Stream{});
  for (std::int64_t row = 0; row < 2; ++row) {
    for (std::int64_t i = 0; i < k; ++i) {
      REQUIRE(indices[row * k + i] == order[i]);
      const T value = values[row + 3 * i], expected = line[order[i]];
      REQUIRE((value == expected || (is_nan(value) && is_nan(expected))));
    }
  }
}

}  // namespace

TEST_SUITE("gather kernels") {
  TEST_CASE("rows are selected and added up by index") {
    const auto check_all = [] {
      for (const Shape3 shape : shapes) {
        for (const bool permuted : {false, true}) {
          check_rows<float, std::int64_t>(shape, permuted);
          check_rows<double, std::int32_t>(shape, permuted);
          check_rows<std::int64_t, std::int64_t>(shape, permuted);
          check_rows<std::int32_t, std::int32_t>(shape, permuted);
        }
      }
    };
    for_each_variant(index_select, check_all);
    for_each_variant(index_add, check_all);
  }

  TEST_CASE("elements are gathered and scattered along every axis") {
    const auto check_all = [] {
      for (const int axis : {0, 1, 2}) {
        check_elements<float, std::int64_t>(axis);
        check_elements<double, std::int32_t>(axis);
        check_elements<std::int64_t, std::int64_t>(axis);
      }
    };
    for_each_variant(gather, check_all);
    for_each_variant(scatter_add, check_all);
  }

  TEST_CASE("duplicates are added in the order of the index, whatever the number of threads") {
    const std::int64_t length = 40, n = 3000, inner = 100;
    auto source = random_numbers<float>(n * inner, 1);
    auto index = random_index<std::int64_t>(n, length, 2);
    std::vector<float> expected(length * inner);
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < inner; ++j) expected[index[i] * inner + j] += source[i * inner + j];
    }
    std::vector<std::int64_t> wide_index(n * inner);
    for (std::int64_t i = 0; i < n * inner; ++i) wide_index[i] = index[i / inner];
    for (const int threads : {1, 2, 5}) {
      const int before = omp_get_max_threads();
      omp_set_num_threads(threads);
      for_each_variant(index_add, [&] {
        std::vector<float> sums(length * inner);
        index_add(view_of(sums, {length, inner}), 0, view_of(index, {n}), view_of(source, {n, inner}), Stream{});
        CHECK(sums == expected);
      });
      for_each_variant(scatter_add, [&] {
        std::vector<float> sums(length * inner);
        scatter_add(view_of(sums, {length, inner}), 0, view_of(wide_index, {n, inner}), view_of(source, {n, inner}),
                    Stream{});
        CHECK(sums == expected);
      });
      omp_set_num_threads(before);
    }
  }

  TEST_CASE("the range of an index") {
    std::vector<std::int64_t> index{5, -3, 12, 4}, range(2);
    std::vector<std::int32_t> small{7, 1, 9, 2};
    index_range(view_of(index, {2, 2}), view_of(range, {2}), Stream{});
    CHECK(range == std::vector<std::int64_t>{-3, 12});
    index_range(view_of(small, {2}, {2}), view_of(range, {2}), Stream{});
    CHECK(range == std::vector<std::int64_t>{7, 9});
    index_range(view_of(index, {0}), view_of(range, {2}), Stream{});
    CHECK(range[0] > range[1]);
  }

  TEST_CASE("the k best come in order, ties by index, NaN as the largest") {
    for_each_variant(top_k, [] {
      for (const bool largest : {true, false}) {
        for (const std::int64_t k : {0, 1, 2, 5, 8}) {
          check_top_k<double>({3, not_a_number, -inf, 3, inf, not_a_number, 0, 3}, k, largest);
          check_top_k<float>({1, 2, 3, 4, 5, 6, 7, 8}, k, largest);
          check_top_k<std::int32_t>({4, 4, 4, 4, 4, 4, 4, 4}, k, largest);
        }
        for (const std::int64_t n : {1, 2, 33, 1000}) {
          for (const std::int64_t k : {n, (n + 1) / 2, std::min<std::int64_t>(n, 10)}) {
            check_top_k<std::int64_t>(whole_numbers<std::int64_t>(n, 7), k, largest);
            check_top_k<float>(random_numbers<float>(n, 8), k, largest);
          }
        }
      }
    });
  }
}
