// What the implementations share: the plain ones, to fall back on, and the walk over chunks of rows.
// Not part of the contract.
#pragma once

#include <cstdint>

#include "kernels/cpu/parallel.h"
#include "kernels/layer_norm/layer_norm.h"

namespace heed::kernels {

void layer_norm_forward_reference(View x, View weight, View bias, View y, View mean, View rstd, double eps, Stream);
void layer_norm_backward_reference(View x, View weight, View dy, View mean, View rstd, View dx, View dweight,
                                   View dbias, View workspace, Stream);
void rms_norm_forward_reference(View x, View weight, View y, View rstd, double eps, Stream);
void rms_norm_backward_reference(View x, View weight, View dy, View rstd, View dx, View dweight, View workspace,
                                 Stream);

// The backward pass over all rows. chunk(first, last, weight_sums, bias_sums) treats some rows and adds their share of the
// gradients to the sums [n], which are null when not wanted; the sums of all chunks then make dweight and dbias.
// S is the element type of the workspace, T that of the gradients.
template <class T, class S, class Chunk>
void norm_backward_in_chunks(std::int64_t rows, std::int64_t n, const View& dweight, const View& dbias,
                             const View& workspace, Chunk&& chunk) {
  const std::int64_t rows_per_chunk = (rows + norm_row_chunks(rows) - 1) / norm_row_chunks(rows);
  const bool wanted = dweight.data != nullptr || dbias.data != nullptr;
  S* const sums = wanted ? workspace.as<S>() : nullptr;  // [chunks, 2, n]
  parallel_for(rows, rows_per_chunk, [&](std::int64_t first, std::int64_t last) {
    if (!wanted) return chunk(first, last, static_cast<S*>(nullptr), static_cast<S*>(nullptr));
    S* const own = sums + first / rows_per_chunk * 2 * n;
    std::fill(own, own + 2 * n, S(0));
    chunk(first, last, own, own + n);
  });
  const auto add_up = [&](const View& gradient, std::int64_t offset) {
    if (gradient.data == nullptr) return;
    for (std::int64_t i = 0; i < n; ++i) {
      double sum = 0;
      for (std::int64_t first = 0; first < rows; first += rows_per_chunk) {
        sum += sums[first / rows_per_chunk * 2 * n + offset + i];
      }
      gradient.as<T>()[i * gradient.strides[0]] = static_cast<T>(static_cast<S>(sum));
    }
  };
  add_up(dweight, 0);
  add_up(dbias, n);
}

}  // namespace heed::kernels
