// From the views of a launch to grids.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "kernels/attention/cuda/problem.cuh"
#include "kernels/cuda/launch.h"

namespace heed::kernels::attention {

// Calls body.operator()<dim>() with the width of the tiles that hold `columns` columns, at most attention_max_dim.
template <class Body>
void with_dim(int columns, Body&& body) {
  if (columns <= 32) return body.template operator()<32>();
  if (columns <= 64) return body.template operator()<64>();
  if (columns <= 128) return body.template operator()<128>();
  return body.template operator()<256>();
}

// Whether every row starts on a multiple of 16 bytes and is a whole number of them, without gaps.
inline bool rows_are_aligned(const View& x) {
  const std::int64_t elements = 16 / static_cast<std::int64_t>(size_of(x.dtype));
  bool aligned = reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 && x.strides[3] == 1 && x.shape[3] % elements == 0;
  for (int axis = 0; axis < 3; ++axis) aligned &= x.shape[axis] == 1 || x.strides[axis] % elements == 0;
  return aligned;
}

inline bool all_rows_are_aligned(std::initializer_list<View> operands) {
  return std::all_of(operands.begin(), operands.end(), &rows_are_aligned);
}

inline int tiles_of_queries(const Problem& p, const AttentionOptions& o, int rows) {
  const std::int64_t longest = o.packed() ? o.longest_queries : p.queries;
  return static_cast<int>(cuda::divide_up(longest, std::int64_t{rows}));
}

inline int tiles_of_keys(const Problem& p, const AttentionOptions& o, int rows) {
  const std::int64_t longest = o.packed() ? o.longest_keys : p.keys;
  return static_cast<int>(cuda::divide_up(longest, std::int64_t{rows}));
}

// Blocks (tile, head, sequence), in as many launches as it takes: a grid has at most 65,535 blocks along its third axis.
template <class... Parameters>
void launch_over(const char* name, int tiles, int heads, Problem p, int threads, std::size_t shared_bytes,
                 Stream stream, void (*kernel)(Problem, Parameters...),
                 std::type_identity_t<Parameters>... parameters) {
  constexpr int most = 65535;
  for (; p.first_sequence < p.sequences; p.first_sequence += most) {
    const dim3 grid(tiles, heads, std::min(p.sequences - p.first_sequence, most));
    cuda::launch({name, grid, dim3(threads), shared_bytes, stream}, kernel, p, parameters...);
  }
}

}  // namespace heed::kernels::attention
