// Memory and views for tests that call kernels directly.
#pragma once

#include <initializer_list>
#include <random>
#include <vector>

#include "kernels/view.h"

namespace heed::test {

template <class T>
constexpr Dtype dtype_of() {
  if (std::is_same_v<T, float>) return Dtype::f32;
  if (std::is_same_v<T, double>) return Dtype::f64;
  if (std::is_same_v<T, std::int32_t>) return Dtype::i32;
  return Dtype::i64;
}

// A view of `data` with the given shape. Without strides: row-major.
template <class T>
View view_of(std::vector<T>& data, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides = {}) {
  View view;
  view.data = data.data();
  view.dtype = dtype_of<T>();
  view.rank = static_cast<int>(shape.size());
  std::int64_t dense = 1;
  for (int axis = view.rank - 1; axis >= 0; --axis) {
    view.shape[axis] = shape[axis];
    view.strides[axis] = strides.empty() ? dense : strides[axis];
    dense *= shape[axis];
  }
  return view;
}

// Numbers in [-1, 1], the same on every run.
template <class T>
std::vector<T> random_numbers(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> distribution(-1, 1);
  std::vector<T> numbers(count);
  for (T& number : numbers) number = static_cast<T>(distribution(generator));
  return numbers;
}

// Of `view`, at a position along each axis.
template <class T>
T& element(const View& view, std::initializer_list<std::int64_t> position) {
  std::int64_t offset = 0, axis = 0;
  for (const std::int64_t p : position) offset += p * view.strides[axis++];
  return view.as<T>()[offset];
}

}  // namespace heed::test
