// cuBLAS: products in f32 with every transposition, strided batches, bf16 with f32 sums, and vectors. cuBLAS counts
// columns first, so a row-major C = A B is asked for as C^T = B^T A^T.
#include <cublas_v2.h>
#include <cuda_bf16.h>

#include "tests/gpusim/programs/verify.h"

static void check(cublasStatus_t status, std::source_location where = std::source_location::current()) {
  verify(status == CUBLAS_STATUS_SUCCESS, cublasGetStatusString(status), where);
}

// op(A) op(B), all column-major and without gaps.
static std::vector<double> product(const std::vector<float>& a, bool transpose_a, const std::vector<float>& b,
                                   bool transpose_b, int m, int n, int k) {
  std::vector<double> c(m * n);
  for (int column = 0; column < n; ++column) {
    for (int row = 0; row < m; ++row) {
      for (int i = 0; i < k; ++i) {
        const double left = a[transpose_a ? row * k + i : i * m + row],
                     right = b[transpose_b ? i * n + column : column * k + i];
        c[column * m + row] += left * right;
      }
    }
  }
  return c;
}

int main() {
  const int m = 33, n = 20, k = 27, batches = 3;
  cublasHandle_t handle;
  check(cublasCreate(&handle));
  cudaStream_t stream;
  check(cudaStreamCreate(&stream));
  check(cublasSetStream(handle, stream));
  const auto a = random_floats(m * k * batches, 1), b = random_floats(k * n * batches, 2);
  const Buffer<float> device_a(a), device_b(b);
  const float one = 1, zero = 0, half = 0.5f;

  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      const Buffer<float> c(m * n);  // not initialised: beta = 0 must not read it
      check(cublasSgemm(handle, transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, m, n,
                        k, &one, device_a.get(), transpose_a ? k : m, device_b.get(), transpose_b ? n : k, &zero,
                        c.get(), m));
      check(cudaStreamSynchronize(stream));
      verify_close(c.download(), product(a, transpose_a, b, transpose_b, m, n, k), 1e-5, "cublasSgemm");
    }
  }

  const Buffer<float> c(std::vector<float>(m * n * batches, 2.0f));
  check(cublasSgemmStridedBatched(handle, CUBLAS_OP_N, CUBLAS_OP_N, m, n, k, &half, device_a.get(), m, m * k,
                                  device_b.get(), k, k * n, &half, c.get(), m, m * n, batches));
  std::vector<double> expected;
  for (int batch = 0; batch < batches; ++batch) {
    const std::vector<float> batch_a(a.begin() + batch * m * k, a.begin() + (batch + 1) * m * k);
    const std::vector<float> batch_b(b.begin() + batch * k * n, b.begin() + (batch + 1) * k * n);
    for (const double value : product(batch_a, false, batch_b, false, m, n, k)) expected.push_back(0.5 * value + 1);
  }
  verify_close(c.download(), expected, 1e-5, "cublasSgemmStridedBatched");

  std::vector<__nv_bfloat16> half_a(m * k), half_b(k * n);
  std::vector<float> rounded_a(m * k), rounded_b(k * n);
  for (int i = 0; i < m * k; ++i) rounded_a[i] = __bfloat162float(half_a[i] = __float2bfloat16(a[i]));
  for (int i = 0; i < k * n; ++i) rounded_b[i] = __bfloat162float(half_b[i] = __float2bfloat16(b[i]));
  const Buffer<__nv_bfloat16> device_half_a(half_a), device_half_b(half_b), device_half_c(m * n);
  const Buffer<float> wide_c(m * n);
  check(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, m, n, k, &one, device_half_a.get(), CUDA_R_16BF, m,
                     device_half_b.get(), CUDA_R_16BF, k, &zero, wide_c.get(), CUDA_R_32F, m, CUBLAS_COMPUTE_32F,
                     CUBLAS_GEMM_DEFAULT));
  const auto half_expected = product(rounded_a, false, rounded_b, false, m, n, k);
  verify_close(wide_c.download(), half_expected, 1e-5, "cublasGemmEx, bf16 to f32");
  check(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, m, n, k, &one, device_half_a.get(), CUDA_R_16BF, m,
                     device_half_b.get(), CUDA_R_16BF, k, &zero, device_half_c.get(), CUDA_R_16BF, m,
                     CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  std::vector<float> narrow;
  for (const __nv_bfloat16 value : device_half_c.download()) narrow.push_back(__bfloat162float(value));
  verify_close(narrow, half_expected, 1.0 / 256, "cublasGemmEx, bf16 to bf16");

  float dot = 0, norm = 0;
  check(cublasSdot(handle, m * k, device_a.get(), 1, device_a.get(), 1, &dot));
  check(cublasSnrm2(handle, m * k, device_a.get(), 1, &norm));
  verify_close<float>({norm * norm}, std::vector<float>{dot}, 1e-5, "cublasSdot and cublasSnrm2");

  // Wrong arguments have the codes that the library documents.
  verify(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, m, n, k, &one, device_a.get(), m - 1, device_b.get(), k, &zero,
                     c.get(), m) == CUBLAS_STATUS_INVALID_VALUE,
         "a leading dimension that is too small");
  verify(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, -1, n, k, &one, device_a.get(), m, device_b.get(), k, &zero,
                     c.get(), m) == CUBLAS_STATUS_INVALID_VALUE,
         "a negative size");
  verify(cublasSgemm(nullptr, CUBLAS_OP_N, CUBLAS_OP_N, m, n, k, &one, device_a.get(), m, device_b.get(), k, &zero,
                     c.get(), m) == CUBLAS_STATUS_NOT_INITIALIZED,
         "no handle");
  check(cudaStreamDestroy(stream));
  check(cublasDestroy(handle));
  std::puts("cublas_gemm: passed");
}
