// The matrix product in plain C++: the definition, and what exchanging two loops is worth.
#include "kernels/cpu/parallel.h"
#include "kernels/dtypes.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/reference.h"

namespace heed::kernels {
namespace {

// Calls run_row(a, b, c) for every row of every product: a and c point to the row, b to the whole matrix.
template <class T, class RunRow>
void for_each_row(const View& a, const View& b, const View& c, RunRow&& run_row) {
  const std::int64_t m = c.shape[c.rank - 2], n = c.shape[c.rank - 1], k = a.shape[a.rank - 1];
  const std::int64_t grain = 1 + 50'000 / (1 + n * (k + 1));
  parallel_for(batch_size(c) * m, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t batch = row / m, i = row % m;
      run_row(matrix_at<const T>(a, batch) + i * a.strides[a.rank - 2], matrix_at<const T>(b, batch),
              matrix_at<T>(c, batch) + i * c.strides[c.rank - 2]);
    }
  });
}

}  // namespace

// Every element of c is the inner product of a row of a and a column of b. Sums in f64 whatever the dtype.
void matmul_reference(View a, View b, View c, double alpha, double beta, Stream) {
  with_floating_type(c.dtype, [&]<class T>(T) {
    const std::int64_t n = c.shape[c.rank - 1], k = alpha == 0 ? 0 : a.shape[a.rank - 1];
    const std::int64_t a_step = a.strides[a.rank - 1], b_step = b.strides[b.rank - 2];
    for_each_row<T>(a, b, c, [&](const T* a_row, const T* b_matrix, T* c_row) {
      for (std::int64_t j = 0; j < n; ++j) {
        const T* b_column = b_matrix + j * b.strides[b.rank - 1];
        double sum = 0;
        for (std::int64_t p = 0; p < k; ++p)
          sum += double(Compute<T>(a_row[p * a_step])) * Compute<T>(b_column[p * b_step]);
        T& element = c_row[j * c.strides[c.rank - 1]];
        const double kept = beta == 0 ? 0 : beta * Compute<T>(element);
        element = T(static_cast<Compute<T>>((k == 0 ? 0 : alpha * sum) + kept));
      }
    });
  });
}

namespace {

template <class T>
void add_row(T factor, const T* b, std::int64_t b_step, T* __restrict c, std::int64_t c_step, std::int64_t n) {
  if (b_step == 1 && c_step == 1) {
    for (std::int64_t j = 0; j < n; ++j) c[j] += factor * b[j];
  } else {
    for (std::int64_t j = 0; j < n; ++j) c[j * c_step] += factor * b[j * b_step];
  }
}

// The same sums in another order, and in the dtype: a row of c grows by one row of b after another. The innermost loop
// now runs along memory where the rows are dense, so the compiler makes vectors of it.
template <class T>
void matmul_rows_as(const View& a, const View& b, const View& c, double alpha, double beta) {
  const std::int64_t n = c.shape[c.rank - 1], k = alpha == 0 ? 0 : a.shape[a.rank - 1];
  const std::int64_t a_step = a.strides[a.rank - 1], b_row = b.strides[b.rank - 2];
  const std::int64_t b_step = b.strides[b.rank - 1], c_step = c.strides[c.rank - 1];
  for_each_row<T>(a, b, c, [&](const T* a_row, const T* b_matrix, T* c_row) {
    for (std::int64_t j = 0; j < n; ++j) c_row[j * c_step] = beta == 0 ? 0 : static_cast<T>(beta) * c_row[j * c_step];
    for (std::int64_t p = 0; p < k; ++p)
      add_row(static_cast<T>(alpha) * a_row[p * a_step], b_matrix + p * b_row, b_step, c_row, c_step, n);
  });
}

void matmul_rows(View a, View b, View c, double alpha, double beta, Stream stream) {
  if (is_half(c.dtype)) return matmul_reference(a, b, c, alpha, beta, stream);
  if (c.dtype == Dtype::f64) return matmul_rows_as<double>(a, b, c, alpha, beta);
  matmul_rows_as<float>(a, b, c, alpha, beta);
}

const Register reference{matmul, DeviceType::cpu, "reference", &matmul_reference};
const Register rows{matmul, DeviceType::cpu, "rows", &matmul_rows};

}  // namespace
}  // namespace heed::kernels
