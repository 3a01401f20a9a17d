// The case table of an operation, and what is done with each row of it.
//
//   TEST_CASE("softmax") {
//     for (const Shape& shape : test::row_shapes()) {
//       test::verify({.name = "softmax",
//                     .inputs = {{shape}},
//                     .operation = [](const test::Tensors& x) { return softmax(x[0], -1); },
//                     .reference = softmax_reference,
//                     .kernels = {&kernels::softmax_forward, &kernels::softmax_backward}});
//     }
//   }
//
// For every variant of every kernel named, verify() checks
//   forward       against the independent reference, in f32 and f64, with inputs dense, permuted, sliced and expanded; in
//                 bf16 and f16 densely
//   gradient      against central differences in f64, under a random cotangent; in f32 against the f64 gradient
//   second order  the gradient of the gradient against central differences, in f64; and that the fused backward gives
//                 what the composed formula gives
//   repeatable    the same bits on every run, on one thread and on several
//   mutations     a backward that is wrong in any of several ways is noticed (once per case: see mutations())
// All comparisons are NaN-strict.
//
// That is on the CPU. With HEED_TEST_DEVICE=cuda in the environment all tensors are made on that device, and the same table
// shows there: the forward in f32 in all four arrangements, and in f64 densely; f32 gradients, fused and composed, in all
// arrangements, against the CPU's f64 gradient; the same bits on two runs. Differences and second order stay with the CPU.
#pragma once

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "kernels/registry.h"
#include "tests/harness/array.h"

namespace heed::test {

using Tensors = std::vector<Tensor>;

struct Input {
  Shape shape;
  double low = -2, high = 2;  // drawn uniformly from here
  bool differentiable = true;
  Dtype dtype = Dtype::f32;         // a floating input is also tried as f64; others stay as they are
  double keep_away = 0;             // distance kept from 0 and between elements: for kinks (relu, max)
  std::vector<double> values = {};  // instead of drawing
};

struct Case {
  std::string name;
  std::vector<Input> inputs;
  std::function<Tensor(const Tensors&)> operation;
  std::function<Array(const std::vector<Array>&)> reference;
  std::vector<const kernels::KernelSlot*> kernels = {};
  double tolerance = 1e-5;  // f32: |difference| <= tolerance * (1 + |expected|); gradients 4 times that
  double halves = 4;        // bf16 and f16: the tolerance of the forward, in units of rounding; 0: not taken
  bool differentiable = true;
  bool second_order = true;
  bool layouts = true;  // off where a layout cannot vary (creation)
};

// What is wrong with an operation, one line a finding; empty when nothing is. `mutate` may damage the node of the
// result before a gradient is taken.
using Mutation = std::function<void(Node&)>;
std::vector<std::string> examine(const Case& c, const Mutation& mutate = nullptr);

// examine() as doctest assertions, plus: every mutation of the backward must be found.
void verify(const Case& c);

// Ways to be wrong that a weak check lets pass: each a name and what it does to a node.
struct NamedMutation {
  const char* name;
  Mutation mutation;
};
const std::vector<NamedMutation>& mutations();

// The variants of a kernel on the device of the tests.
std::vector<const char*> variants_of(const kernels::KernelSlot& slot);

// Throws away what `body` throws and returns its message; "(nothing thrown)" if there was none.
std::string message_of(const std::function<void()>& body);

// Lengths around the widths of vectors, blocks and warps.
std::vector<std::int64_t> lengths();
// Shapes whose last axis takes those lengths, some of rank 0 to 4, and empty ones.
std::vector<Shape> row_shapes();
std::vector<Shape> small_shapes();

// Uniform numbers, the same for the same seed.
Tensor uniform(const Shape& shape, double low, double high, TensorOptions options, std::uint64_t seed);

// "" when `actual` agrees with `expected` within tolerance * (1 + |expected|) everywhere, NaN matching only NaN and
// infinities only themselves; otherwise the first place where it does not.
std::string difference(const Tensor& actual, const Array& expected, double tolerance);

}  // namespace heed::test
