// From the number of an element to where it lies: strided indexing with division by multiplication.
#pragma once

#include <cstdint>

#include "kernels/loop_nest.h"
#include "kernels/view.h"

namespace heed::kernels::cuda {

// Division of numbers below 2^31 by one divisor in [1, 2^31): a product, an addition and a shift, where the hardware
// would take some twenty instructions. Granlund and Montgomery, "Division by invariant integers using multiplication",
// PLDI 1994: with s = ceil(log2 d) and m = floor(2^32 (2^s - d) / d) + 1, n / d = (high(n m) + n) >> s.
struct Divider {
  std::uint32_t divisor = 1, multiplier = 1, shift = 0;

  Divider() = default;
  explicit Divider(std::int64_t d) : divisor(static_cast<std::uint32_t>(d)) {
    while ((std::uint64_t{1} << shift) < divisor) ++shift;
    multiplier = static_cast<std::uint32_t>((((std::uint64_t{1} << shift) - divisor) << 32) / divisor + 1);
  }

  __device__ std::uint32_t quotient(std::uint32_t n) const { return (__umulhi(n, multiplier) + n) >> shift; }
};

inline constexpr std::int64_t max_indexed = (std::int64_t{1} << 31) - 1;  // elements that one launch may number

// Some axes of N views, as kernels take them: element `number` in the order of the loop lies at offsets[v] from view v.
template <std::size_t n>
struct Indexer {
  int rank = 1;
  Divider lengths[max_rank];  // innermost first; the outermost is not divided by
  std::int64_t strides[max_rank][n];

  Indexer() = default;
  explicit Indexer(const LoopNest<n>& nest) : rank(nest.rank) {
    for (int i = 0; i < rank; ++i) {
      const std::int64_t length = nest.shape[rank - 1 - i];
      lengths[i] = Divider(length > 0 && length <= max_indexed ? length : 1);  // else nothing is divided by it
      for (std::size_t v = 0; v < n; ++v) strides[i][v] = nest.strides[v][rank - 1 - i];
    }
  }

  struct Offsets {
    std::int64_t of[n];
  };
  __device__ Offsets operator()(std::uint32_t number) const {
    Offsets offsets = {};
    std::uint32_t rest = number;
    // Unrolled, so that the arrays are read from constant memory at fixed places and nothing is spilt.
#pragma unroll
    for (int i = 0; i < max_rank; ++i) {
      if (i == rank - 1) break;
      const std::uint32_t quotient = lengths[i].quotient(rest);
      const std::uint32_t index = rest - quotient * lengths[i].divisor;
#pragma unroll
      for (std::size_t v = 0; v < n; ++v) offsets.of[v] += index * strides[i][v];
      rest = quotient;
    }
#pragma unroll
    for (std::size_t v = 0; v < n; ++v) offsets.of[v] += rest * strides[rank - 1][v];
    return offsets;
  }
};

}  // namespace heed::kernels::cuda
