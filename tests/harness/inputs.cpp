#include "tests/harness/inputs.h"

#include <cmath>

namespace heed::test {
namespace {

Tensor to_tensor(const Array& array, Dtype dtype, Device device = default_device()) {
  return from_vector(array.values, array.shape, Device{}).to(dtype).to(device);
}

Dtype working_dtype(const Input& input, Dtype floating) {
  return is_floating(input.dtype) ? floating : input.dtype;
}

// A leaf whose elements are x's, arranged in memory in some way; expanded: the first along axis 0, again and again.
Tensor arranged(const Tensor& x, Arrangement arrangement) {
  const NoGrad no_grad;
  if (arrangement == Arrangement::dense || x.rank() == 0) return x.clone();
  if (arrangement == Arrangement::permuted) {
    Axes reversed;
    for (int i = x.rank() - 1; i >= 0; --i) reversed.push_back(i);
    return x.permute(reversed).clone().permute(reversed);
  }
  if (arrangement == Arrangement::expanded) {
    const Tensor first = x.shape()[0] == 0 ? x : x.slice(0, 0, 1).clone();
    return alias(first, first.layout().expanded(x.shape()));
  }
  // Every other element of a larger tensor, starting at an odd place; the rest is NaN where the dtype has it.
  Shape larger = x.shape();
  for (std::int64_t& length : larger) length = 2 * length + 1;
  const Tensor surroundings = full(larger, is_floating(x.dtype()) ? std::nan("") : 0, x.options());
  Tensor window = surroundings;
  for (int i = 0; i < x.rank(); ++i) window = window.slice(i, 1, larger[i], 2);
  assign(window, x);
  return window;
}

}  // namespace

Array draw(const Input& input, std::uint64_t seed) {
  Array array(input.shape);
  if (!input.values.empty()) {
    array.values = input.values;
    return array;
  }
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> distribution(input.low, input.high);
  for (std::size_t i = 0; i < array.values.size(); ++i) {
    array.values[i] = distribution(random);
    if (input.keep_away == 0) continue;
    // A grid with gaps: elements differ from each other and from 0 by more than a difference step.
    array.values[i] = (std::floor(array.values[i] / input.keep_away) + 0.5) * input.keep_away;
  }
  if (input.keep_away > 0) {
    for (std::size_t i = 0; i < array.values.size(); ++i) {
      array.values[i] +=
          input.keep_away * 0.3 * (static_cast<double>(i) / static_cast<double>(array.values.size()) - 0.5);
    }
  }
  return array;
}

Tensors make_inputs(const Case& c, const std::vector<Array>& arrays, Setting setting) {
  Tensors inputs;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const Tensor x = arranged(to_tensor(arrays[i], working_dtype(c.inputs[i], setting.dtype)), setting.arrangement);
    if (c.differentiable && c.inputs[i].differentiable) x.set_requires_grad();
    inputs.push_back(x);
  }
  return inputs;
}

Tensors differentiable_ones(const Case& c, const Tensors& inputs) {
  Tensors result;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (c.inputs[i].differentiable) result.push_back(inputs[i]);
  }
  return result;
}

std::vector<std::int64_t> lengths() {
  return {0, 1, 2, 31, 32, 33, 1023, 1025};
}

std::vector<Shape> row_shapes() {
  std::vector<Shape> shapes = {{3, 1, 5}, {2, 3, 4, 5}, {0, 4}, {4, 0, 2}};
  for (std::int64_t length : lengths()) {
    shapes.push_back({length});
    shapes.push_back({3, length});
  }
  return shapes;
}

std::vector<Shape> small_shapes() {
  return {{}, {0}, {1}, {7}, {2, 3}, {3, 1, 5}, {2, 0, 3}, {33, 17}};
}

Tensor uniform(const Shape& shape, double low, double high, TensorOptions options, std::uint64_t seed) {
  Array array(shape);
  std::mt19937_64 random(seed);
  for (double& value : array.values) value = std::uniform_real_distribution<double>(low, high)(random);
  return to_tensor(array, options.dtype, options.device);
}

}  // namespace heed::test
