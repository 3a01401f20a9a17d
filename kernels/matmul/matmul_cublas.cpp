// The matrix product by cuBLAS.
//
// The library is opened with the first product: linked in, it would take a tenth of a second and 200 MB of every start of
// every program, on machines without a GPU too.
#include <cublas_v2.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/cuda/check.h"
#include "kernels/error.h"
#include "kernels/loop_nest.h"
#include "kernels/matmul/blas_matrix.h"
#include "kernels/matmul/cuda.h"
#include "kernels/matmul/matmul.h"

namespace heed::kernels {
namespace {

struct Cublas {
  decltype(&cublasCreate_v2) create;
  decltype(&cublasSetStream_v2) set_stream;
  // Spelt out, because the header overloads it.
  cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int m, int n, int k, const void* alpha,
                         const void* a, cudaDataType_t, int lda, long long a_stride, const void* b, cudaDataType_t,
                         int ldb, long long b_stride, const void* beta, void* c, cudaDataType_t, int ldc,
                         long long c_stride, int batch, cublasComputeType_t, cublasGemmAlgo_t);
  decltype(&cublasGetStatusString) status_string;

  Cublas() {
    const std::string file = fmt::format("libcublas.so.{}", CUBLAS_VER_MAJOR);
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) throw Error(fmt::format("matmul: cuBLAS is not to be had: {}", dlerror()));
    find(library, "cublasCreate_v2", create);
    find(library, "cublasSetStream_v2", set_stream);
    find(library, "cublasGemmStridedBatchedEx", gemm);
    find(library, "cublasGetStatusString", status_string);
  }

 private:
  template <class Function>
  static void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) throw Error(fmt::format("matmul: cuBLAS has no {}", name));
  }
};

const Cublas& cublas() {
  static const Cublas library;
  return library;
}

void check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(
      fmt::format("matmul: {}: cuBLAS error {} ({})", what, static_cast<int>(status), cublas().status_string(status)));
}

// One handle per device and thread: a handle must not be used by two threads at a time. Never destroyed, the runtime may
// be gone before the thread is.
cublasHandle_t handle_for(int device) {
  thread_local std::vector<cublasHandle_t> handles;
  if (static_cast<int>(handles.size()) <= device) handles.resize(static_cast<std::size_t>(device) + 1);
  cublasHandle_t& handle = handles[static_cast<std::size_t>(device)];
  if (handle == nullptr) check(cublas().create(&handle), "cublasCreate");
  return handle;
}

// cuBLAS thinks in columns. What it takes for a column-major matrix of c's shape turned round is c; so it is asked for
// the turned product c' = b' a'.
struct Operand {
  cublasOperation_t operation;
  int leading_dimension;
  explicit Operand(const Matrix& matrix)
      : operation(matrix.is_row_major() ? CUBLAS_OP_N : CUBLAS_OP_T),
        leading_dimension(static_cast<int>(matrix.leading_dimension())) {}
};

struct Types {
  cudaDataType_t data;
  cublasComputeType_t compute;
};
Types types_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::f64:
      return {CUDA_R_64F, CUBLAS_COMPUTE_64F};
    case Dtype::bf16:
      return {CUDA_R_16BF, CUBLAS_COMPUTE_32F};
    case Dtype::f16:
      return {CUDA_R_16F, CUBLAS_COMPUTE_32F};
    default:
      return {CUDA_R_32F, CUBLAS_COMPUTE_32F};  // true f32, no tensor cores: those would keep 10 bits
  }
}

// alpha or beta in the type that cuBLAS computes in.
class Factor {
 public:
  Factor(double value, Dtype dtype)
      : double_(value), float_(static_cast<float>(value)), is_double_(dtype == Dtype::f64) {}
  const void* get() const { return is_double_ ? static_cast<const void*>(&double_) : &float_; }

 private:
  double double_;
  float float_;
  bool is_double_;
};

const std::byte* at(const View& view, std::int64_t element) {
  return view.as<const std::byte>() + element * static_cast<std::int64_t>(size_of(view.dtype));
}

void matmul_cublas(View a, View b, View c, double alpha, double beta, Stream stream) {
  if (c.size() == 0) return;
  const bool readable = is_blas_matrix(a) && is_blas_matrix(b) && is_blas_matrix(c);
  const bool empty = alpha == 0 || a.shape[a.rank - 1] == 0;
  if (!readable || empty) return matmul_tiled_cuda(a, b, c, alpha, beta, stream);
  arrange_for_blas(a, b, c);

  const cuda::CurrentDevice device(stream.device.index);
  const cublasHandle_t handle = handle_for(stream.device.index);
  check(cublas().set_stream(handle, cuda::native(stream)), "cublasSetStream");
  const Matrix a_matrix(a), b_matrix(b), c_matrix(c);
  const Operand a_operand(a_matrix), b_operand(b_matrix), c_operand(c_matrix);
  const Factor alpha_factor(alpha, c.dtype), beta_factor(beta, c.dtype);
  const auto [data, compute] = types_of(c.dtype);

  // One axis of the batch is cuBLAS' own, the others are a loop.
  const int row = c.rank - 2;
  const auto batch = loop_nest<3>({a, b, c}, LoopOrder::logical, 2, [&](int axis) { return axis < row; });
  const int inner = batch.rank - 1;
  std::int64_t calls = 1;
  for (int axis = 0; axis < inner; ++axis) calls *= batch.shape[axis];
  for (std::int64_t call = 0; call < calls; ++call) {
    std::array<std::int64_t, 3> offsets = {};
    for (std::int64_t axis = inner - 1, rest = call; axis >= 0; rest /= batch.shape[axis--]) {
      for (std::size_t v = 0; v < 3; ++v) offsets[v] += rest % batch.shape[axis] * batch.strides[v][axis];
    }
    check(cublas().gemm(handle, b_operand.operation, a_operand.operation, static_cast<int>(c_matrix.columns),
                        static_cast<int>(c_matrix.rows), static_cast<int>(a_matrix.columns), alpha_factor.get(),
                        at(b, offsets[1]), data, b_operand.leading_dimension, batch.strides[1][inner],
                        at(a, offsets[0]), data, a_operand.leading_dimension, batch.strides[0][inner],
                        beta_factor.get(), const_cast<std::byte*>(at(c, offsets[2])), data, c_operand.leading_dimension,
                        batch.strides[2][inner], static_cast<int>(batch.shape[inner]), compute, CUBLAS_GEMM_DEFAULT),
          "cublasGemmStridedBatchedEx");
  }
}

const Register by_cublas{matmul, DeviceType::cuda, "cublas", &matmul_cublas, is_default};

}  // namespace
}  // namespace heed::kernels
