// The plainest possible array of numbers: what independent references are written with, so that a mistake in the engine
// cannot hide in the code that checks it.
#pragma once

#include <functional>
#include <vector>

#include "engine/layout.h"
#include "engine/tensor.h"

namespace heed::test {

struct Array {
  Shape shape;
  std::vector<double> values;  // row-major

  explicit Array(const Shape& shape, double value = 0)
      : shape(shape), values(static_cast<std::size_t>(count_of(shape)), value) {}
  explicit Array(const Tensor& x) : shape(x.shape()), values(x.to_vector<double>()) {}

  double& operator[](const Dims& index) { return values[position(index)]; }
  double operator[](const Dims& index) const { return values[position(index)]; }
  // The element that NumPy's broadcasting pairs with `index` of a larger shape.
  double broadcast_at(const Dims& index) const {
    Dims own = Dims::filled(shape.size(), 0);
    const int added = index.size() - shape.size();
    for (int i = 0; i < shape.size(); ++i) own[i] = shape[i] == 1 ? 0 : index[added + i];
    return (*this)[own];
  }
  std::size_t position(const Dims& index) const {
    std::int64_t position = 0;
    for (int i = 0; i < shape.size(); ++i) position = position * shape[i] + index[i];
    return static_cast<std::size_t>(position);
  }
};

// Calls body with every index of a shape, in row-major order.
inline void for_each_index(const Shape& shape, const std::function<void(const Dims&)>& body) {
  Dims index = Dims::filled(shape.size(), 0);
  for (std::int64_t n = count_of(shape); n > 0; --n) {
    body(index);
    for (int i = shape.size() - 1; i >= 0 && ++index[i] == shape[i]; --i) index[i] = 0;
  }
}

// An array of `shape` whose elements are function(index).
inline Array filled(const Shape& shape, const std::function<double(const Dims&)>& function) {
  Array result(shape);
  for_each_index(shape, [&](const Dims& index) { result[index] = function(index); });
  return result;
}

}  // namespace heed::test
