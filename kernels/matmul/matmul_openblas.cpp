// The matrix product by OpenBLAS, cut into blocks of our own.
//
// OpenBLAS left to itself divides a product by the number of threads, and with it the order in which numbers are added.
// Here c is cut into blocks that depend on the shapes alone, never along k; each block is one call that OpenBLAS runs
// on the calling thread, and parallel_for spreads the blocks. So the bits are the same on one core and on sixty-four.
// OpenBLAS' global settings stay as the program has them, but for a build with threads of its own (below).
#include <cblas.h>

#include <climits>
#include <mutex>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/matmul/blas_matrix.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/reference.h"

namespace heed::kernels {
namespace {

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// Debian prefers OpenBLAS' pthread build where it is installed beside the OpenMP one. Its threads know nothing of ours
// and would divide each block once more, so that build is told, for the whole program, to use one.
bool silence_own_threads() {
  if (openblas_get_parallel() == OPENBLAS_THREAD) openblas_set_num_threads(1);
  return true;
}

// While it lives, OpenBLAS runs on this thread alone: its OpenMP build asks omp_get_max_threads(), a setting that every
// thread has for itself. Inside a parallel loop old releases do without, newer ones would start threads of their own.
class OnThisThread {
 public:
  OnThisThread() {
    static const bool settled = silence_own_threads();
    static_cast<void>(settled);
    omp_set_num_threads(1);
  }
  ~OnThisThread() { omp_set_num_threads(before_); }
  OnThisThread(const OnThisThread&) = delete;
  OnThisThread& operator=(const OnThisThread&) = delete;

 private:
  int before_ = omp_get_max_threads();
};

// OpenBLAS keeps a buffer for each call that runs at the same time, and its Haswell and Zen kernels prefetch past what a
// call has written there. Where only small products run, those pages are never touched, and each prefetch walks the page
// tables in vain: 3.5 times slower, for as long as the program runs. So before the first product worth the trouble, all
// threads at once make one that fills more of their buffers. It takes 3 ms, once.
void touch_buffers() {
  static std::once_flag touched;
  std::call_once(touched, [] {
    constexpr std::int64_t m = 64, n = 1024, k = 384;
    const std::vector<float> zeros(k * n);
    std::vector<float> results(omp_get_max_threads() * m * n);
#pragma omp parallel
    {
      float* c = results.data() + omp_get_thread_num() * m * n;
#pragma omp barrier
      const OnThisThread on_this_thread;
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, zeros.data(), k, zeros.data(), n, 0, c, n);
    }
  });
}

CBLAS_ORDER order_of(const Matrix& matrix) {
  return matrix.is_row_major() ? CblasRowMajor : CblasColMajor;
}

template <class T>
void gemm(const Matrix& a, const T* a_data, const Matrix& b, const T* b_data, const Matrix& c, T* c_data, T alpha,
          T beta) {
  const auto transpose = [](const Matrix& matrix) { return matrix.is_row_major() ? CblasNoTrans : CblasTrans; };
  const auto call = [&](auto function) {
    function(CblasRowMajor, transpose(a), transpose(b), c.rows, c.columns, a.columns, alpha, a_data,
             a.leading_dimension(), b_data, b.leading_dimension(), beta, c_data, c.leading_dimension());
  };
  if constexpr (std::is_same_v<T, float>) call(cblas_sgemm);
  if constexpr (std::is_same_v<T, double>) call(cblas_dgemm);
}

// y = alpha matrix x + beta y, or with the matrix transposed.
template <class T>
void gemv(const Matrix& matrix, CBLAS_TRANSPOSE transpose, const T* data, const T* x, std::int64_t x_step, T* y,
          std::int64_t y_step, T alpha, T beta) {
  const auto call = [&](auto function) {
    function(order_of(matrix), transpose, matrix.rows, matrix.columns, alpha, data, matrix.leading_dimension(), x,
             std::max<std::int64_t>(x_step, 1), beta, y, std::max<std::int64_t>(y_step, 1));
  };
  if constexpr (std::is_same_v<T, float>) call(cblas_sgemv);
  if constexpr (std::is_same_v<T, double>) call(cblas_dgemv);
}

// A product with a vector reads the matrix once and computes nothing twice: gemm would first copy it into tiles, which
// takes three times as long. (gemv without columns leaves y as it is: not what beta asks for.)
template <class T>
void multiply(const Matrix& a, const T* a_data, const Matrix& b, const T* b_data, const Matrix& c, T* c_data, T alpha,
              T beta) {
  if (a.columns > 0 && c.columns == 1) {
    gemv(a, CblasNoTrans, a_data, b_data, b.row_stride, c_data, c.row_stride, alpha, beta);
  } else if (a.columns > 0 && c.rows == 1) {
    gemv(b, CblasTrans, b_data, a_data, a.column_stride, c_data, c.column_stride, alpha, beta);
  } else {
    gemm(a, a_data, b, b_data, c, c_data, alpha, beta);
  }
}

// What one thread does without help: about 30 microseconds of work.
constexpr std::int64_t worth_a_thread = 500'000;  // multiplications

// How c is cut. Blocks of 512 x 256 come close to OpenBLAS undivided (it repacks its operands for each); a product with
// few of them is cut smaller so that several cores have something to do. NOTES.md has the measurements.
struct Blocks {
  std::int64_t rows, columns;

  Blocks(std::int64_t m, std::int64_t n, std::int64_t k)
      : rows(std::min<std::int64_t>(m, 512)), columns(std::min<std::int64_t>(n, 256)) {
    while (divide_up(m, rows) * divide_up(n, columns) < 6 && rows * columns * k > 2 * worth_a_thread) {
      if (std::max(rows, columns) <= 32) break;
      std::int64_t& longer = rows > columns ? rows : columns;
      longer = divide_up(longer, 2);
    }
    rows = even(m, rows);
    columns = even(n, columns);
  }

  // No smaller block at the end; whole vectors in all but the last.
  static std::int64_t even(std::int64_t length, std::int64_t block) {
    return divide_up(divide_up(length, divide_up(length, block)), 16) * 16;
  }
};

template <class T>
void matmul_in_blocks(const View& a_view, const View& b_view, const View& c_view, T alpha, T beta) {
  const Matrix a(a_view), b(b_view), c(c_view);
  const Blocks block(c.rows, c.columns, a.columns);
  const std::int64_t down = divide_up(c.rows, block.rows), across = divide_up(c.columns, block.columns);
  const std::int64_t grain = 1 + worth_a_thread / (1 + block.rows * block.columns * a.columns);
  parallel_for(batch_size(c_view) * down * across, grain, [&](std::int64_t begin, std::int64_t end) {
    const OnThisThread on_this_thread;
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t batch = task / (down * across);
      const std::int64_t i = task / across % down * block.rows, j = task % across * block.columns;
      Matrix a_block = a, b_block = b, c_block = c;
      a_block.rows = c_block.rows = std::min(block.rows, c.rows - i);
      b_block.columns = c_block.columns = std::min(block.columns, c.columns - j);
      multiply(a_block, matrix_at<const T>(a_view, batch) + i * a.row_stride,     // [block.rows, k]
               b_block, matrix_at<const T>(b_view, batch) + j * b.column_stride,  // [k, block.columns]
               c_block, matrix_at<T>(c_view, batch) + i * c.row_stride + j * c.column_stride, alpha, beta);
    }
  });
}

// The gradient of a weight has a small c and a long k. Blocks of c would be slivers there, so k is cut instead: every
// part of it makes a whole c of its own, and at the end they are added in order. Their number depends on the shape
// alone.
constexpr std::int64_t partial_bytes = 256 << 10;  // on the stack

template <class T>
std::int64_t parts_along_k(std::int64_t m, std::int64_t n, std::int64_t k) {
  if (m * n * k <= 2 * worth_a_thread || k < 16 * std::max(m, n)) return 1;
  const std::int64_t room = partial_bytes / static_cast<std::int64_t>(sizeof(T)) / (m * n);
  return std::min<std::int64_t>({8, room, k / 256});
}

template <class T>
void matmul_in_parts(const Matrix& a, const T* a_data, const Matrix& b, const T* b_data, const Matrix& c, T* c_data,
                     T alpha, T beta, std::int64_t parts) {
  alignas(64) T partial[partial_bytes / sizeof(T)];  // [parts, m, n]
  const std::int64_t length = divide_up(a.columns, parts), size = c.rows * c.columns;
  Matrix partial_c = c;
  partial_c.row_stride = c.columns;
  parallel_for(a.columns, length, [&](std::int64_t begin, std::int64_t end) {
    const OnThisThread on_this_thread;
    Matrix a_part = a, b_part = b;
    a_part.columns = b_part.rows = end - begin;
    multiply(a_part, a_data + begin * a.column_stride, b_part, b_data + begin * b.row_stride, partial_c,
             partial + begin / length * size, alpha, T(0));
  });
  const std::int64_t filled = divide_up(a.columns, length);
  for (std::int64_t i = 0; i < c.rows; ++i) {
    T* c_row = c_data + i * c.row_stride;
    for (std::int64_t j = 0; j < c.columns; ++j) c_row[j] = beta == 0 ? 0 : beta * c_row[j];
    for (std::int64_t part = 0; part < filled; ++part) {
      for (std::int64_t j = 0; j < c.columns; ++j) c_row[j] += partial[part * size + i * c.columns + j];
    }
  }
}

template <class T>
void matmul_as(const View& a_view, const View& b_view, const View& c_view, T alpha, T beta) {
  const Matrix a(a_view), b(b_view), c(c_view);
  const T *a_data = a_view.as<const T>(), *b_data = b_view.as<const T>();
  T* c_data = c_view.as<T>();
  const bool single = c_view.rank == 2;
  if (single && c.rows * c.columns * a.columns <= worth_a_thread) {
    const OnThisThread on_this_thread;
    return multiply(a, a_data, b, b_data, c, c_data, alpha, beta);
  }
  touch_buffers();
  const std::int64_t parts = single ? parts_along_k<T>(c.rows, c.columns, a.columns) : 1;
  if (parts > 1) return matmul_in_parts(a, a_data, b, b_data, c, c_data, alpha, beta, parts);
  matmul_in_blocks<T>(a_view, b_view, c_view, alpha, beta);
}

void matmul_openblas(View a, View b, View c, double alpha, double beta, Stream stream) {
  const bool readable = is_blas_matrix(a) && is_blas_matrix(b) && is_blas_matrix(c);
  if (!readable || is_half(c.dtype)) return matmul_reference(a, b, c, alpha, beta, stream);
  if (c.size() == 0) return;
  arrange_for_blas(a, b, c);
  if (c.dtype == Dtype::f64) return matmul_as<double>(a, b, c, alpha, beta);
  matmul_as<float>(a, b, c, float(alpha), float(beta));
}

const Register openblas{matmul, DeviceType::cpu, "openblas", &matmul_openblas, is_default};

}  // namespace

}  // namespace heed::kernels
