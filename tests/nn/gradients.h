// Gradients of whole modules against central differences.
#pragma once

#include <functional>
#include <string>

#include "nn/module.h"

namespace heed::test {

// Compares the gradients of forward() under a random cotangent with central differences, for every element of `leaves`
// (f64, contiguous, requiring gradients). "" when they agree, else the first element that does not.
std::string gradient_difference(const nn::NamedTensors& leaves, const std::function<Tensor()>& forward);

// The parameters of a module, which it converts to f64, with one more leaf.
nn::NamedTensors leaves_of(nn::Module& module, const nn::NamedTensors& inputs = {});

// Numbers in [-1, 1) that require a gradient, f64.
Tensor leaf(const Shape& shape, std::uint64_t seed);

}  // namespace heed::test
