#include "engine/layout.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include "tests/harness/examine.h"

namespace heed::test {
namespace {

// The places in storage of all elements, in row-major order: what a layout means, spelt out.
std::vector<std::int64_t> places(const Layout& layout) {
  std::vector<std::int64_t> result;
  for_each_index(layout.shape, [&](const Dims& index) {
    std::int64_t place = layout.offset;
    for (int i = 0; i < layout.rank(); ++i) place += index[i] * layout.strides[i];
    result.push_back(place);
  });
  return result;
}

std::int64_t place(const Layout& layout, const Dims& index) {
  std::int64_t result = layout.offset;
  for (int i = 0; i < layout.rank(); ++i) result += index[i] * layout.strides[i];
  return result;
}

std::vector<std::int64_t> counted(std::int64_t n, std::int64_t first = 0) {
  std::vector<std::int64_t> result;
  for (std::int64_t i = 0; i < n; ++i) result.push_back(first + i);
  return result;
}

// Layouts of every kind: dense, with gaps, transposed, expanded, of length 1 and 0, with an offset.
std::vector<Layout> samples() {
  std::vector<Layout> result;
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{5}, Shape{0}, Shape{2, 3}, Shape{3, 1}, Shape{1, 4},
                             Shape{2, 0, 3}, Shape{2, 3, 4}, Shape{2, 1, 3, 2}, Shape{1, 1, 1}}) {
    const Layout dense = Layout::contiguous(shape);
    result.push_back(dense);
    Axes reversed;
    for (int i = dense.rank() - 1; i >= 0; --i) reversed.push_back(i);
    result.push_back(dense.permuted(reversed));
    for (int axis = 0; axis < dense.rank(); ++axis) {
      Shape wider = shape;
      wider[axis] = 2 * wider[axis] + 1;
      result.push_back(Layout::contiguous(wider).sliced(axis, 1, shape[axis], 2));
      result.push_back(Layout::contiguous(wider).sliced(axis, 1, shape[axis], 1).permuted(reversed));
    }
    if (dense.rank() > 0 && shape[0] == 1) {
      Shape expanded = shape;
      expanded[0] = 3;
      result.push_back(dense.expanded(expanded));
    }
  }
  return result;
}

// All shapes of these many elements, up to four axes.
void shapes_of_count(std::int64_t count, const Shape& so_far, std::vector<Shape>& result) {
  if (count == 1) result.push_back(so_far);
  if (so_far.size() == 4) return;
  for (std::int64_t length = 1; length <= count; ++length) {
    if (count % length != 0) continue;
    Shape longer = so_far;
    longer.push_back(length);
    shapes_of_count(count / length, longer, result);
  }
}

// Whether strides exist under which `shape` visits these places in order: those the first step along each axis shows.
bool fits_strides(const std::vector<std::int64_t>& places, const Shape& shape) {
  Layout guess{shape, Strides::filled(shape.size(), 0), places[0]};
  std::int64_t step = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    if (shape[i] > 1) guess.strides[i] = places[static_cast<std::size_t>(step)] - places[0];
    step *= shape[i];
  }
  return heed::test::places(guess) == places;
}

}  // namespace

TEST_CASE("layout: contiguous is row-major") {
  for (const Shape& shape : {Shape{}, Shape{7}, Shape{2, 3}, Shape{4, 1, 2, 3}, Shape{0, 3}, Shape{2, 0}}) {
    const Layout layout = Layout::contiguous(shape);
    CHECK_EQ(places(layout), counted(count_of(shape)));
    CHECK(layout.is_contiguous());
    CHECK_EQ(layout.count(), count_of(shape));
  }
}

TEST_CASE("layout: is_contiguous means that the places follow one another") {
  for (const Layout& layout : samples()) {
    INFO(to_string(layout.shape), " ", to_string(layout.strides));
    CHECK_EQ(layout.is_contiguous(), places(layout) == counted(layout.count(), layout.offset));
  }
}

TEST_CASE("layout: permuted") {
  const Layout layout = Layout::contiguous({2, 3, 4}).sliced(2, 1, 3, 1);
  Axes axes = {0, 1, 2};
  do {
    const Layout result = layout.permuted(axes);
    for_each_index(result.shape, [&](const Dims& index) {
      Dims source = Dims::filled(3, 0);
      for (int i = 0; i < 3; ++i) source[static_cast<int>(axes[i])] = index[i];
      CHECK_EQ(place(result, index), place(layout, source));
    });
  } while (std::next_permutation(axes.begin(), axes.end()));
}

TEST_CASE("layout: sliced and selected") {
  for (const Layout& layout : samples()) {
    for (int axis = 0; axis < layout.rank(); ++axis) {
      const std::int64_t length = layout.shape[axis];
      for (std::int64_t step = 1; step <= 3; ++step) {
        for (std::int64_t start = 0; start <= length; ++start) {
          const std::int64_t kept = (length - start + step - 1) / step;
          const Layout result = layout.sliced(axis, start, kept, step);
          CHECK_EQ(result.shape[axis], kept);
          for_each_index(result.shape, [&](Dims index) {
            const std::int64_t actual = place(result, index);
            index[axis] = start + index[axis] * step;
            CHECK_EQ(actual, place(layout, index));
          });
          if (kept == 0) CHECK_EQ(result.offset, layout.offset);
        }
      }
      for (std::int64_t chosen = 0; chosen < length; ++chosen) {
        const Layout result = layout.selected(axis, chosen);
        CHECK_EQ(result.rank(), layout.rank() - 1);
        for_each_index(result.shape, [&](Dims index) {
          const std::int64_t actual = place(result, index);
          index.insert(axis, chosen);
          CHECK_EQ(actual, place(layout, index));
        });
      }
    }
  }
}

TEST_CASE("layout: expanded repeats axes of length 1 and adds leading ones") {
  for (const Layout& layout : samples()) {
    if (layout.rank() > 6) continue;
    Shape target = layout.shape;
    for (std::int64_t& length : target) length = length == 1 ? 3 : length;
    target.insert(0, 2);
    const Layout result = layout.expanded(target);
    CHECK_EQ(result.shape, target);
    for_each_index(target, [&](const Dims& index) {
      Dims source = index;
      source.erase(0);
      for (int i = 0; i < layout.rank(); ++i) source[i] = layout.shape[i] == 1 ? 0 : source[i];
      CHECK_EQ(place(result, index), place(layout, source));
    });
  }
  CHECK_EQ(Layout::contiguous({1, 3}).expanded({0, 3}).count(), 0);
}

TEST_CASE("layout: without_axis and with_axis undo each other and move nothing") {
  for (const Layout& layout : samples()) {
    for (int axis = 0; axis <= layout.rank(); ++axis) {
      const Layout wider = layout.with_axis(axis);
      CHECK_EQ(wider.shape[axis], 1);
      CHECK_EQ(places(wider), places(layout));
      CHECK_EQ(wider.is_contiguous(), layout.is_contiguous());
      CHECK_EQ(wider.without_axis(axis).shape, layout.shape);
      CHECK_EQ(wider.without_axis(axis).strides, layout.strides);
    }
  }
}

TEST_CASE("layout: reshaped finds a view exactly where strides for one exist") {
  int views = 0, copies = 0;
  for (const Layout& layout : samples()) {
    std::vector<Shape> shapes;
    if (layout.count() > 0) {
      shapes_of_count(layout.count(), {}, shapes);
    } else {
      shapes = {{0}, {3, 0}, {0, 2, 5}};
    }
    for (const Shape& shape : shapes) {
      INFO(to_string(layout.shape), " ", to_string(layout.strides), " to ", to_string(shape));
      const std::optional<Layout> result = layout.reshaped(shape);
      CHECK_EQ(result.has_value(), layout.count() == 0 || fits_strides(places(layout), shape));
      ++(result ? views : copies);
      if (!result) continue;
      CHECK_EQ(result->shape, shape);
      CHECK_EQ(places(*result), places(layout));
    }
  }
  CHECK_GT(views, 100);
  CHECK_GT(copies, 100);
}

TEST_CASE("broadcast: NumPy's rule, from the last axis on") {
  const std::vector<Shape> shapes = {{}, {1}, {3}, {0}, {1, 3}, {2, 1}, {2, 3}, {4, 1, 3}, {4, 2, 1}, {2, 0}};
  for (const Shape& a : shapes) {
    for (const Shape& b : shapes) {
      Shape expected;
      bool fits = true;
      for (int i = std::max(a.size(), b.size()); i >= 1; --i) {
        const std::int64_t x = i <= a.size() ? a[a.size() - i] : 1, y = i <= b.size() ? b[b.size() - i] : 1;
        fits = fits && (x == y || x == 1 || y == 1);
        expected.push_back(x == 1 ? y : x);
      }
      const std::optional<Shape> actual = broadcast(a, b);
      INFO(to_string(a), " with ", to_string(b));
      CHECK_EQ(actual.has_value(), fits);
      if (actual) CHECK_EQ(*actual, expected);
    }
  }
}

TEST_CASE("bytes_of: the size in bytes, or nothing when it or a stride does not fit") {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  CHECK_EQ(bytes_of({}, 8), 8);
  CHECK_EQ(bytes_of({2, 3}, 4), 24);
  CHECK_EQ(bytes_of({2, 0, 3}, 4), 0);
  CHECK_EQ(bytes_of({most}, 1), most);
  CHECK_EQ(bytes_of({most}, 2), std::nullopt);
  CHECK_EQ(bytes_of({most / 2, 3}, 1), std::nullopt);
  CHECK_EQ(bytes_of({0, most, 2}, 1), std::nullopt);
  CHECK_EQ(bytes_of({most, 2, 0}, 1), std::nullopt);
}

TEST_CASE("dims: at most eight") {
  Dims dims = Dims::filled(8, 1);
  CHECK_EQ(message_of([&] { dims.push_back(1); }), "shape: 9 axes, more than the 8 that heed supports");
  CHECK_EQ(message_of([&] { Dims(std::vector<std::int64_t>(10)); }),
           "shape: 10 axes, more than the 8 that heed supports");
  dims.erase(3);
  dims.insert(0, 5);
  dims.erase(7);
  CHECK_EQ(to_string(dims), "[5, 1, 1, 1, 1, 1, 1]");
  CHECK_EQ(to_string(Dims()), "[]");
}

}  // namespace heed::test
