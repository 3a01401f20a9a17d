// Central differences, to hold gradients against.
#pragma once

#include "tests/harness/inputs.h"

namespace heed::test {

// Compares those of a scalar function of the f64 inputs with the gradients `claimed` for the differentiable ones among
// them; the first place where they differ goes to `findings`, after the words `what`.
void compare_with_differences(const Case& c, const std::vector<Array>& arrays, const Tensors& claimed,
                              const std::function<double(const Tensors&)>& function, const std::string& what,
                              std::vector<std::string>& findings);

}  // namespace heed::test
