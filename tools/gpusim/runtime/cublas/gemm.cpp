// Matrix products: C = alpha op(A) op(B) + beta C, column-major, as BLAS defines it. With beta = 0 what C held is not read.
// 16-bit inputs are widened exactly and accumulate in f32, as tensor cores do; only the order of the sums differs.
#include <cblas.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tools/gpusim/runtime/cublas/handle.h"

using namespace gpusim;

namespace {

struct Product {
  cublasOperation_t transpose_a, transpose_b;
  int m, n, k;
  const void* alpha;
  cudaDataType type_a;
  int lda;
  cudaDataType type_b;
  int ldb;
  const void* beta;
  cudaDataType type_c;
  int ldc;
  cublasComputeType_t compute;

  int rows_a() const { return transpose_a == CUBLAS_OP_N ? m : k; }
  int columns_a() const { return transpose_a == CUBLAS_OP_N ? k : m; }
  int rows_b() const { return transpose_b == CUBLAS_OP_N ? k : n; }
  int columns_b() const { return transpose_b == CUBLAS_OP_N ? n : k; }
};

std::size_t size_of(cudaDataType type) {
  switch (type) {
    case CUDA_R_16F:
    case CUDA_R_16BF:
      return 2;
    case CUDA_R_32F:
      return 4;
    case CUDA_R_64F:
      return 8;
    default:
      throw Refusal{CUBLAS_STATUS_NOT_SUPPORTED};
  }
}

CBLAS_TRANSPOSE cblas_of(cublasOperation_t operation) {
  return operation == CUBLAS_OP_N ? CblasNoTrans : CblasTrans;
}

// ---- conversions

float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return 0x7fff;
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float from_f16(std::uint16_t bits) {
  return static_cast<float>(std::bit_cast<_Float16>(bits));
}
std::uint16_t to_f16(float value) {
  return std::bit_cast<std::uint16_t>(static_cast<_Float16>(value));
}

// 10 bits of mantissa, to nearest, halves away from zero.
float to_tf32(float value) {
  if (!std::isfinite(value)) return value;
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(value) + 0x1000) & ~0x1fffu);
}

enum class Rounding { none, tf32, bf16, f16 };

float rounded(float value, Rounding rounding) {
  switch (rounding) {
    case Rounding::tf32:
      return to_tf32(value);
    case Rounding::bf16:
      return from_bf16(to_bf16(value));
    case Rounding::f16:
      return from_f16(to_f16(value));
    case Rounding::none:
      return value;
  }
  return value;
}

// A matrix in f32, with columns one after the other; where it is so already, no copy is made.
struct Widened {
  std::vector<float> copy;
  const float* data;
  int ld;
};

Widened widen(const void* data, cudaDataType type, int rows, int columns, int ld, Rounding rounding) {
  if (type == CUDA_R_32F && rounding == Rounding::none) return {{}, static_cast<const float*>(data), ld};
  Widened result{std::vector<float>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns)), nullptr,
                 std::max(rows, 1)};
  float* to = result.copy.data();
  for (int column = 0; column < columns; ++column) {
    const std::size_t offset = static_cast<std::size_t>(column) * static_cast<std::size_t>(ld);
    if (type == CUDA_R_32F) {
      const float* from = static_cast<const float*>(data) + offset;
      for (int row = 0; row < rows; ++row) *to++ = rounded(from[row], rounding);
    } else {
      const std::uint16_t* from = static_cast<const std::uint16_t*>(data) + offset;
      for (int row = 0; row < rows; ++row) *to++ = type == CUDA_R_16F ? from_f16(from[row]) : from_bf16(from[row]);
    }
  }
  result.data = result.copy.data();
  return result;
}

// ---- what a call may ask for

// Which precision f32 inputs are multiplied in.
Rounding rounding_of(const Handle& handle, cublasComputeType_t compute) {
  if (gpusim_capability() < 80) return compute == CUBLAS_COMPUTE_32F_FAST_16F ? Rounding::f16 : Rounding::none;
  switch (compute) {
    case CUBLAS_COMPUTE_32F_FAST_TF32:
      return Rounding::tf32;
    case CUBLAS_COMPUTE_32F_FAST_16BF:
      return Rounding::bf16;
    case CUBLAS_COMPUTE_32F_FAST_16F:
      return Rounding::f16;
    case CUBLAS_COMPUTE_32F:
      return (handle.math_mode & CUBLAS_TF32_TENSOR_OP_MATH) == CUBLAS_TF32_TENSOR_OP_MATH ? Rounding::tf32
                                                                                           : Rounding::none;
    default:
      return Rounding::none;
  }
}

void check(const Product& p) {
  const auto known = [](cublasOperation_t operation) { return operation >= CUBLAS_OP_N && operation <= CUBLAS_OP_C; };
  require(known(p.transpose_a) && known(p.transpose_b));
  require(p.m >= 0 && p.n >= 0 && p.k >= 0);
  require(p.lda >= std::max(1, p.rows_a()) && p.ldb >= std::max(1, p.rows_b()) && p.ldc >= std::max(1, p.m));
  require(p.alpha && p.beta);
  const bool is_double = p.type_c == CUDA_R_64F;
  const bool same_inputs = p.type_a == p.type_b;
  const bool inputs_fit =
      is_double ? p.type_a == CUDA_R_64F : p.type_a == p.type_c || (size_of(p.type_a) == 2 && p.type_c == CUDA_R_32F);
  const bool double_compute = p.compute == CUBLAS_COMPUTE_64F || p.compute == CUBLAS_COMPUTE_64F_PEDANTIC;
  const bool single_compute = p.compute == CUBLAS_COMPUTE_32F || p.compute == CUBLAS_COMPUTE_32F_PEDANTIC ||
                              p.compute == CUBLAS_COMPUTE_32F_FAST_TF32 || p.compute == CUBLAS_COMPUTE_32F_FAST_16BF ||
                              p.compute == CUBLAS_COMPUTE_32F_FAST_16F;
  require(same_inputs && inputs_fit && (is_double ? double_compute : single_compute), CUBLAS_STATUS_NOT_SUPPORTED);
}

// ---- the product

void multiply_f64(const Product& p, const void* a, const void* b, void* c) {
  cblas_dgemm(CblasColMajor, cblas_of(p.transpose_a), cblas_of(p.transpose_b), p.m, p.n, p.k,
              *static_cast<const double*>(p.alpha), static_cast<const double*>(a), p.lda, static_cast<const double*>(b),
              p.ldb, *static_cast<const double*>(p.beta), static_cast<double*>(c), p.ldc);
}

void multiply_f32(const Product& p, Rounding rounding, const void* a, const void* b, void* c) {
  const float alpha = *static_cast<const float*>(p.alpha), beta = *static_cast<const float*>(p.beta);
  const Widened wide_a = widen(a, p.type_a, p.rows_a(), p.columns_a(), p.lda, rounding);
  const Widened wide_b = widen(b, p.type_b, p.rows_b(), p.columns_b(), p.ldb, rounding);
  const auto product = [&](float* to, int ld) {
    cblas_sgemm(CblasColMajor, cblas_of(p.transpose_a), cblas_of(p.transpose_b), p.m, p.n, p.k, alpha, wide_a.data,
                wide_a.ld, wide_b.data, wide_b.ld, beta, to, ld);
  };
  if (p.type_c == CUDA_R_32F) return product(static_cast<float*>(c), p.ldc);
  // 16-bit results are rounded once, at the end.
  std::vector<float> wide_c(static_cast<std::size_t>(p.m) * static_cast<std::size_t>(p.n));
  if (beta != 0) wide_c = std::move(widen(c, p.type_c, p.m, p.n, p.ldc, Rounding::none).copy);
  product(wide_c.data(), std::max(p.m, 1));
  const float* from = wide_c.data();
  for (int column = 0; column < p.n; ++column) {
    auto* to = static_cast<std::uint16_t*>(c) + static_cast<std::size_t>(column) * static_cast<std::size_t>(p.ldc);
    for (int row = 0; row < p.m; ++row, ++from) to[row] = p.type_c == CUDA_R_16F ? to_f16(*from) : to_bf16(*from);
  }
}

bool is_zero(const void* factor, cudaDataType type_c) {
  return type_c == CUDA_R_64F ? *static_cast<const double*>(factor) == 0 : *static_cast<const float*>(factor) == 0;
}

void multiply(const char* call, const Handle& handle, const Product& p, const void* a, const void* b, void* c) {
  if (p.m == 0 || p.n == 0) return;
  const auto touch = [&](const void* data, cudaDataType type, int rows, int columns, int ld, bool write) {
    const std::size_t size = size_of(type);
    access(call, data, static_cast<std::size_t>(rows) * size, static_cast<std::size_t>(columns),
           static_cast<std::size_t>(ld) * size, write);
  };
  if (p.k > 0 && !is_zero(p.alpha, p.type_c)) {
    touch(a, p.type_a, p.rows_a(), p.columns_a(), p.lda, false);
    touch(b, p.type_b, p.rows_b(), p.columns_b(), p.ldb, false);
  }
  if (!is_zero(p.beta, p.type_c)) touch(c, p.type_c, p.m, p.n, p.ldc, false);
  touch(c, p.type_c, p.m, p.n, p.ldc, true);
  if (p.type_c == CUDA_R_64F) {
    multiply_f64(p, a, b, c);
  } else {
    multiply_f32(p, rounding_of(handle, p.compute), a, b, c);
  }
}

cublasStatus_t multiply_strided(const char* call, cublasHandle_t handle, const Product& p, const void* a,
                                long long stride_a, const void* b, long long stride_b, void* c, long long stride_c,
                                int batches) {
  return blas(handle, [&](Handle& known) {
    check(p);
    require(batches >= 0 && (stride_c >= 0 || batches <= 1));
    const auto at = [](const void* data, long long index, long long stride, cudaDataType type) {
      return static_cast<const char*>(data) + index * stride * static_cast<long long>(size_of(type));
    };
    for (long long i = 0; i < batches; ++i) {
      multiply(call, known, p, at(a, i, stride_a, p.type_a), at(b, i, stride_b, p.type_b),
               const_cast<char*>(at(c, i, stride_c, p.type_c)));
    }
  });
}

// The arrays of pointers lie in device memory, too.
cublasStatus_t multiply_batched(const char* call, cublasHandle_t handle, const Product& p, const void* const* a,
                                const void* const* b, void* const* c, int batches) {
  return blas(handle, [&](Handle& known) {
    check(p);
    require(batches >= 0);
    for (const void* array : {static_cast<const void*>(a), static_cast<const void*>(b), static_cast<const void*>(c)}) {
      access(call, array, static_cast<std::size_t>(batches) * sizeof(void*), 1, 0, false);
    }
    for (int i = 0; i < batches; ++i) multiply(call, known, p, a[i], b[i], c[i]);
  });
}

Product single(cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const void* alpha, int lda, int ldb,
               const void* beta, int ldc) {
  return {ta, tb, m, n, k, alpha, CUDA_R_32F, lda, CUDA_R_32F, ldb, beta, CUDA_R_32F, ldc, CUBLAS_COMPUTE_32F};
}

Product twofold(cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const void* alpha, int lda, int ldb,
                const void* beta, int ldc) {
  return {ta, tb, m, n, k, alpha, CUDA_R_64F, lda, CUDA_R_64F, ldb, beta, CUDA_R_64F, ldc, CUBLAS_COMPUTE_64F};
}

}  // namespace

extern "C" {

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                           const float* alpha, const float* a, int lda, const float* b, int ldb, const float* beta,
                           float* c, int ldc) {
  return multiply_strided("cublasSgemm", handle, single(ta, tb, m, n, k, alpha, lda, ldb, beta, ldc), a, 0, b, 0, c, 0,
                          1);
}

cublasStatus_t cublasDgemm(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                           const double* alpha, const double* a, int lda, const double* b, int ldb, const double* beta,
                           double* c, int ldc) {
  return multiply_strided("cublasDgemm", handle, twofold(ta, tb, m, n, k, alpha, lda, ldb, beta, ldc), a, 0, b, 0, c, 0,
                          1);
}

cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m,
                                         int n, int k, const float* alpha, const float* a, int lda, long long stride_a,
                                         const float* b, int ldb, long long stride_b, const float* beta, float* c,
                                         int ldc, long long stride_c, int batches) {
  return multiply_strided("cublasSgemmStridedBatched", handle, single(ta, tb, m, n, k, alpha, lda, ldb, beta, ldc), a,
                          stride_a, b, stride_b, c, stride_c, batches);
}

cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m,
                                         int n, int k, const double* alpha, const double* a, int lda,
                                         long long stride_a, const double* b, int ldb, long long stride_b,
                                         const double* beta, double* c, int ldc, long long stride_c, int batches) {
  return multiply_strided("cublasDgemmStridedBatched", handle, twofold(ta, tb, m, n, k, alpha, lda, ldb, beta, ldc), a,
                          stride_a, b, stride_b, c, stride_c, batches);
}

cublasStatus_t cublasSgemmBatched(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                                  int k, const float* alpha, const float* const a[], int lda, const float* const b[],
                                  int ldb, const float* beta, float* const c[], int ldc, int batches) {
  return multiply_batched("cublasSgemmBatched", handle, single(ta, tb, m, n, k, alpha, lda, ldb, beta, ldc),
                          reinterpret_cast<const void* const*>(a), reinterpret_cast<const void* const*>(b),
                          reinterpret_cast<void* const*>(c), batches);
}

cublasStatus_t cublasDgemmBatched(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                                  int k, const double* alpha, const double* const a[], int lda, const double* const b[],
                                  int ldb, const double* beta, double* const c[], int ldc, int batches) {
  return multiply_batched("cublasDgemmBatched", handle, twofold(ta, tb, m, n, k, alpha, lda, ldb, beta, ldc),
                          reinterpret_cast<const void* const*>(a), reinterpret_cast<const void* const*>(b),
                          reinterpret_cast<void* const*>(c), batches);
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                            const void* alpha, const void* a, cudaDataType type_a, int lda, const void* b,
                            cudaDataType type_b, int ldb, const void* beta, void* c, cudaDataType type_c, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t) {
  return multiply_strided("cublasGemmEx", handle,
                          {ta, tb, m, n, k, alpha, type_a, lda, type_b, ldb, beta, type_c, ldc, compute}, a, 0, b, 0, c,
                          0, 1);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m,
                                          int n, int k, const void* alpha, const void* a, cudaDataType type_a, int lda,
                                          long long stride_a, const void* b, cudaDataType type_b, int ldb,
                                          long long stride_b, const void* beta, void* c, cudaDataType type_c, int ldc,
                                          long long stride_c, int batches, cublasComputeType_t compute,
                                          cublasGemmAlgo_t) {
  return multiply_strided("cublasGemmStridedBatchedEx", handle,
                          {ta, tb, m, n, k, alpha, type_a, lda, type_b, ldb, beta, type_c, ldc, compute}, a, stride_a,
                          b, stride_b, c, stride_c, batches);
}

cublasStatus_t cublasGemmBatchedEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                                   int k, const void* alpha, const void* const a[], cudaDataType type_a, int lda,
                                   const void* const b[], cudaDataType type_b, int ldb, const void* beta,
                                   void* const c[], cudaDataType type_c, int ldc, int batches,
                                   cublasComputeType_t compute, cublasGemmAlgo_t) {
  return multiply_batched("cublasGemmBatchedEx", handle,
                          {ta, tb, m, n, k, alpha, type_a, lda, type_b, ldb, beta, type_c, ldc, compute}, a, b, c,
                          batches);
}

}  // extern "C"
