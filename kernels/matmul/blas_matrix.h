// How a BLAS sees the views of a matrix product.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/view.h"

namespace heed::kernels {

// The last two axes of a view, or a block of them.
struct Matrix {
  std::int64_t rows, columns, row_stride, column_stride;

  explicit Matrix(const View& view)
      : rows(view.shape[view.rank - 2]),
        columns(view.shape[view.rank - 1]),
        row_stride(view.strides[view.rank - 2]),
        column_stride(view.strides[view.rank - 1]) {}

  // The stride of an axis of one element is never used, so it counts as whatever suits.
  bool is_row_major() const { return (columns <= 1 || column_stride == 1) && (rows <= 1 || row_stride >= columns); }
  bool is_column_major() const { return (rows <= 1 || row_stride == 1) && (columns <= 1 || column_stride >= rows); }

  std::int64_t leading_dimension() const {
    const std::int64_t across = is_row_major() ? row_stride : column_stride;
    const bool unused = is_row_major() ? rows <= 1 : columns <= 1;
    return std::max<std::int64_t>(unused ? std::max(rows, columns) : across, 1);
  }
};

View transposed(View view);

// A batch whose products share b, with rows of a and of c that follow one another, becomes one taller product. c must be
// row-major.
void fold_batch(View& a, View& b, View& c);

// Makes c row-major, exchanging the operands where it is column-major, then folds. All three are BLAS matrices.
void arrange_for_blas(View& a, View& b, View& c);

}  // namespace heed::kernels
