#include "kernels/matmul/blas_matrix.h"

#include <climits>
#include <utility>

#include "kernels/matmul/matmul.h"

namespace heed::kernels {

bool is_blas_matrix(const View& view) {
  const Matrix matrix(view);
  if (!matrix.is_row_major() && !matrix.is_column_major()) return false;
  return std::max({matrix.rows, matrix.columns, matrix.leading_dimension()}) <= INT_MAX;
}

View transposed(View view) {
  std::swap(view.shape[view.rank - 2], view.shape[view.rank - 1]);
  std::swap(view.strides[view.rank - 2], view.strides[view.rank - 1]);
  return view;
}

void fold_batch(View& a, View& b, View& c) {
  const auto without_batch_axis = [](View view, std::int64_t rows, std::int64_t row_stride) {
    const int axis = --view.rank - 2;  // the batch axis next to the rows, which move into its place
    view.shape[axis] = rows;
    view.strides[axis] = row_stride;
    view.shape[axis + 1] = view.shape[axis + 2];
    view.strides[axis + 1] = view.strides[axis + 2];
    return view;
  };
  while (c.rank > 2) {
    const int batch = c.rank - 3, row = c.rank - 2;
    const std::int64_t count = c.shape[batch], m = c.shape[row];
    const auto folded = [&](const View& view) {
      return without_batch_axis(view, count * m, m == 1 ? view.strides[batch] : view.strides[row]);
    };
    const auto rows_follow = [&](const View& view) {
      return count == 1 || m == 1 || view.strides[batch] == m * view.strides[row];
    };
    const bool one_b = count == 1 || b.strides[batch] == 0;
    if (!one_b || !rows_follow(a) || !rows_follow(c)) return;
    if (!is_blas_matrix(folded(a)) || !Matrix(folded(c)).is_row_major()) return;
    a = folded(a);
    b = without_batch_axis(b, b.shape[row], b.strides[row]);
    c = folded(c);
  }
}

void arrange_for_blas(View& a, View& b, View& c) {
  if (!Matrix(c).is_row_major()) {
    std::swap(a, b);
    for (View* view : {&a, &b, &c}) *view = transposed(*view);
  }
  fold_batch(a, b, c);
}

}  // namespace heed::kernels
