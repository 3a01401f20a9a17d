// The inputs of a case, drawn and laid out.
#pragma once

#include "tests/harness/examine.h"

namespace heed::test {

// The same elements, lying differently in memory.
enum class Arrangement { dense, permuted, sliced, expanded };

struct Setting {
  Dtype dtype;  // of the floating inputs
  Arrangement arrangement;
};

// The numbers of an input: in f64, whatever they are rounded to later.
Array draw(const Input& input, std::uint64_t seed);

// Leaves on the device of the tests; they require gradients where the case is differentiable in them.
Tensors make_inputs(const Case& c, const std::vector<Array>& arrays, Setting setting);
Tensors differentiable_ones(const Case& c, const Tensors& inputs);

}  // namespace heed::test
