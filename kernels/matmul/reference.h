// What the CPU variants of the matrix product share.
#pragma once

#include <cstdint>

#include "kernels/view.h"

namespace heed::kernels {

// The plain product, also what the other variants do with operands that they cannot read.
void matmul_reference(View a, View b, View c, double alpha, double beta, Stream);

// The batch axes of a matrix product are all but the last two.
inline std::int64_t batch_size(const View& matrices) {
  std::int64_t batch = 1;
  for (int axis = 0; axis < matrices.rank - 2; ++axis) batch *= matrices.shape[axis];
  return batch;
}

// Where matrix number `batch` of them starts.
template <class T>
T* matrix_at(const View& matrices, std::int64_t batch) {
  std::int64_t offset = 0;
  for (int axis = matrices.rank - 3; axis >= 0; --axis) {
    offset += batch % matrices.shape[axis] * matrices.strides[axis];
    batch /= matrices.shape[axis];
  }
  return matrices.as<T>() + offset;
}

}  // namespace heed::kernels
