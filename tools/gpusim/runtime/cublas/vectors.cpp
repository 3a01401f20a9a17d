// Vectors, and matrices times vectors: f32 and f64.
#include <cblas.h>

#include <cstdlib>
#include <cstring>

#include "tools/gpusim/runtime/cublas/handle.h"

using namespace gpusim;

namespace {

// The elements of a vector of n that are `step` apart. A negative step walks the same memory from its end.
template <class T>
void touch(const char* call, const T* x, int n, int step, bool write) {
  if (n <= 0) return;
  const std::size_t stride = static_cast<std::size_t>(std::abs(step)) * sizeof(T);
  access(call, x, sizeof(T), step == 0 ? 1 : static_cast<std::size_t>(n), stride, write);
}

// A result, in host or device memory as the pointer mode says.
template <class T>
void deliver(const char* call, const Handle& handle, T* result, T value) {
  require(result != nullptr);
  if (handle.pointer_mode == CUBLAS_POINTER_MODE_DEVICE) touch(call, result, 1, 1, true);
  *result = value;
}

template <class T, class Reduce>
cublasStatus_t reduce(const char* call, cublasHandle_t handle, int n, const T* x, int step, T* result,
                      Reduce function) {
  return blas(handle, [&](Handle& known) {
    touch(call, x, n, step, false);
    deliver(call, known, result, n <= 0 || step <= 0 ? T(0) : static_cast<T>(function(n, x, step)));
  });
}

template <class T, class Dot>
cublasStatus_t dot(const char* call, cublasHandle_t handle, int n, const T* x, int step_x, const T* y, int step_y,
                   T* result, Dot function) {
  return blas(handle, [&](Handle& known) {
    touch(call, x, n, step_x, false);
    touch(call, y, n, step_y, false);
    deliver(call, known, result, n <= 0 ? T(0) : static_cast<T>(function(n, x, step_x, y, step_y)));
  });
}

template <class T, class Scale>
cublasStatus_t scale(const char* call, cublasHandle_t handle, int n, const T* alpha, T* x, int step, Scale function) {
  return blas(handle, [&](Handle&) {
    require(alpha != nullptr);
    touch(call, x, n, step, false);
    touch(call, x, n, step, true);
    if (n > 0 && step > 0) function(n, *alpha, x, step);
  });
}

template <class T, class Add>
cublasStatus_t add(const char* call, cublasHandle_t handle, int n, const T* alpha, const T* x, int step_x, T* y,
                   int step_y, Add function) {
  return blas(handle, [&](Handle&) {
    require(alpha != nullptr);
    touch(call, x, n, step_x, false);
    touch(call, y, n, step_y, false);
    touch(call, y, n, step_y, true);
    if (n > 0) function(n, *alpha, x, step_x, y, step_y);
  });
}

template <class T, class Copy>
cublasStatus_t copy(const char* call, cublasHandle_t handle, int n, const T* x, int step_x, T* y, int step_y,
                    Copy function) {
  return blas(handle, [&](Handle&) {
    touch(call, x, n, step_x, false);
    touch(call, y, n, step_y, true);
    if (n > 0) function(n, x, step_x, y, step_y);
  });
}

template <class T, class Multiply>
cublasStatus_t multiply(const char* call, cublasHandle_t handle, cublasOperation_t transpose, int m, int n,
                        const T* alpha, const T* a, int lda, const T* x, int step_x, const T* beta, T* y, int step_y,
                        Multiply function) {
  return blas(handle, [&](Handle&) {
    require(transpose >= CUBLAS_OP_N && transpose <= CUBLAS_OP_C && m >= 0 && n >= 0 && lda >= (m > 1 ? m : 1));
    require(alpha && beta && step_x != 0 && step_y != 0);
    const bool plain = transpose == CUBLAS_OP_N;
    if (m == 0 || n == 0) return;
    access(call, a, static_cast<std::size_t>(m) * sizeof(T), static_cast<std::size_t>(n),
           static_cast<std::size_t>(lda) * sizeof(T), false);
    touch(call, x, plain ? n : m, step_x, false);
    if (*beta != 0) touch(call, y, plain ? m : n, step_y, false);
    touch(call, y, plain ? m : n, step_y, true);
    function(CblasColMajor, plain ? CblasNoTrans : CblasTrans, m, n, *alpha, a, lda, x, step_x, *beta, y, step_y);
  });
}

// BLAS counts from 0, cuBLAS from 1; 0 stands for an empty vector.
template <class T, class Find>
cublasStatus_t largest(const char* call, cublasHandle_t handle, int n, const T* x, int step, int* result,
                       Find function) {
  return blas(handle, [&](Handle& known) {
    touch(call, x, n, step, false);
    deliver(call, known, result, n <= 0 || step <= 0 ? 0 : static_cast<int>(function(n, x, step)) + 1);
  });
}

}  // namespace

extern "C" {

cublasStatus_t cublasSdot(cublasHandle_t h, int n, const float* x, int sx, const float* y, int sy, float* result) {
  return dot("cublasSdot", h, n, x, sx, y, sy, result, cblas_sdot);
}
cublasStatus_t cublasDdot(cublasHandle_t h, int n, const double* x, int sx, const double* y, int sy, double* result) {
  return dot("cublasDdot", h, n, x, sx, y, sy, result, cblas_ddot);
}
cublasStatus_t cublasSnrm2(cublasHandle_t h, int n, const float* x, int step, float* result) {
  return reduce("cublasSnrm2", h, n, x, step, result, cblas_snrm2);
}
cublasStatus_t cublasDnrm2(cublasHandle_t h, int n, const double* x, int step, double* result) {
  return reduce("cublasDnrm2", h, n, x, step, result, cblas_dnrm2);
}
cublasStatus_t cublasSasum(cublasHandle_t h, int n, const float* x, int step, float* result) {
  return reduce("cublasSasum", h, n, x, step, result, cblas_sasum);
}
cublasStatus_t cublasDasum(cublasHandle_t h, int n, const double* x, int step, double* result) {
  return reduce("cublasDasum", h, n, x, step, result, cblas_dasum);
}
cublasStatus_t cublasIsamax(cublasHandle_t h, int n, const float* x, int step, int* result) {
  return largest("cublasIsamax", h, n, x, step, result, cblas_isamax);
}
cublasStatus_t cublasIdamax(cublasHandle_t h, int n, const double* x, int step, int* result) {
  return largest("cublasIdamax", h, n, x, step, result, cblas_idamax);
}
cublasStatus_t cublasSscal(cublasHandle_t h, int n, const float* alpha, float* x, int step) {
  return scale("cublasSscal", h, n, alpha, x, step, cblas_sscal);
}
cublasStatus_t cublasDscal(cublasHandle_t h, int n, const double* alpha, double* x, int step) {
  return scale("cublasDscal", h, n, alpha, x, step, cblas_dscal);
}
cublasStatus_t cublasSaxpy(cublasHandle_t h, int n, const float* alpha, const float* x, int sx, float* y, int sy) {
  return add("cublasSaxpy", h, n, alpha, x, sx, y, sy, cblas_saxpy);
}
cublasStatus_t cublasDaxpy(cublasHandle_t h, int n, const double* alpha, const double* x, int sx, double* y, int sy) {
  return add("cublasDaxpy", h, n, alpha, x, sx, y, sy, cblas_daxpy);
}
cublasStatus_t cublasScopy(cublasHandle_t h, int n, const float* x, int sx, float* y, int sy) {
  return copy("cublasScopy", h, n, x, sx, y, sy, cblas_scopy);
}
cublasStatus_t cublasDcopy(cublasHandle_t h, int n, const double* x, int sx, double* y, int sy) {
  return copy("cublasDcopy", h, n, x, sx, y, sy, cblas_dcopy);
}
cublasStatus_t cublasSgemv(cublasHandle_t h, cublasOperation_t transpose, int m, int n, const float* alpha,
                           const float* a, int lda, const float* x, int sx, const float* beta, float* y, int sy) {
  return multiply("cublasSgemv", h, transpose, m, n, alpha, a, lda, x, sx, beta, y, sy, cblas_sgemv);
}
cublasStatus_t cublasDgemv(cublasHandle_t h, cublasOperation_t transpose, int m, int n, const double* alpha,
                           const double* a, int lda, const double* x, int sx, const double* beta, double* y, int sy) {
  return multiply("cublasDgemv", h, transpose, m, n, alpha, a, lda, x, sx, beta, y, sy, cblas_dgemv);
}

}  // extern "C"
