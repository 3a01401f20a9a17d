// The vector code of the elementwise kernels: functions over n contiguous floats, blocks in the sense of cpu/loops.h.
#pragma once

#include <cstdint>

namespace heed::kernels {

using UnaryBlock = void (*)(std::int64_t position, std::int64_t n, float* y, const float* x);
using BinaryBlock = void (*)(std::int64_t position, std::int64_t n, float* y, const float* a, const float* b);

struct SimdBlocks {
  UnaryBlock neg, abs, relu, exp, log, sqrt, rsqrt, tanh, erf, sigmoid, silu, gelu, gelu_tanh;
  BinaryBlock add, sub, mul, div, maximum, minimum, relu_backward, abs_backward, tanh_backward, sigmoid_backward,
      silu_backward, gelu_backward, gelu_tanh_backward;
};

// Those for the best instruction set that this processor has.
const SimdBlocks& simd_blocks();

}  // namespace heed::kernels
