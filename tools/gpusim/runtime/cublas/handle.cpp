#include "tools/gpusim/runtime/cublas/handle.h"

#include <memory>
#include <mutex>
#include <unordered_map>

namespace gpusim {
namespace {

struct Handles {
  std::mutex mutex;
  std::unordered_map<const void*, std::unique_ptr<Handle>> live;
};

struct StatusText {
  cublasStatus_t status;
  const char* name;
  const char* text;
};

constexpr StatusText status_texts[] = {
    {CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS", "success"},
    {CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED", "the library was not initialized"},
    {CUBLAS_STATUS_ALLOC_FAILED, "CUBLAS_STATUS_ALLOC_FAILED", "the resource allocation failed"},
    {CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE",
     "an unsupported value or parameter was passed to the function"},
    {CUBLAS_STATUS_ARCH_MISMATCH, "CUBLAS_STATUS_ARCH_MISMATCH",
     "the function requires an architectural feature absent from the device"},
    {CUBLAS_STATUS_MAPPING_ERROR, "CUBLAS_STATUS_MAPPING_ERROR", "an access to GPU memory space failed"},
    {CUBLAS_STATUS_EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED", "the function failed to launch on the GPU"},
    {CUBLAS_STATUS_INTERNAL_ERROR, "CUBLAS_STATUS_INTERNAL_ERROR", "an internal operation failed"},
    {CUBLAS_STATUS_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED", "the requested functionality is not supported"},
    {CUBLAS_STATUS_LICENSE_ERROR, "CUBLAS_STATUS_LICENSE_ERROR", "the license check failed"},
};

constexpr StatusText text_of(cublasStatus_t status) {
  for (const StatusText& known : status_texts) {
    if (known.status == status) return known;
  }
  return {status, "unrecognized status", "unrecognized status"};
}

Handles& handles() {
  static Handles& result = *new Handles;
  return result;
}

}  // namespace

Handle* handle_of(cublasHandle_t handle) {
  const std::lock_guard lock(handles().mutex);
  const auto at = handles().live.find(handle);
  return at == handles().live.end() ? nullptr : at->second.get();
}

}  // namespace gpusim

using namespace gpusim;

extern "C" {

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  if (!handle) return CUBLAS_STATUS_INVALID_VALUE;
  auto made = std::make_unique<Handle>();
  *handle = reinterpret_cast<cublasHandle_t>(made.get());
  const std::lock_guard lock(handles().mutex);
  handles().live[made.get()] = std::move(made);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  const std::lock_guard lock(handles().mutex);
  return handles().live.erase(handle) > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  return blas(handle, [&](Handle& known) { known.stream = stream; });
}

cublasStatus_t cublasGetStream(cublasHandle_t handle, cudaStream_t* stream) {
  return blas(handle, [&](Handle& known) { *stream = known.stream; });
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  return blas(handle, [&](Handle& known) { known.math_mode = mode; });
}

cublasStatus_t cublasGetMathMode(cublasHandle_t handle, cublasMath_t* mode) {
  return blas(handle, [&](Handle& known) { *mode = known.math_mode; });
}

cublasStatus_t cublasSetPointerMode(cublasHandle_t handle, cublasPointerMode_t mode) {
  return blas(handle, [&](Handle& known) { known.pointer_mode = mode; });
}

cublasStatus_t cublasGetPointerMode(cublasHandle_t handle, cublasPointerMode_t* mode) {
  return blas(handle, [&](Handle& known) { *mode = known.pointer_mode; });
}

cublasStatus_t cublasSetAtomicsMode(cublasHandle_t handle, cublasAtomicsMode_t mode) {
  return blas(handle, [&](Handle& known) { known.atomics_mode = mode; });
}

cublasStatus_t cublasGetAtomicsMode(cublasHandle_t handle, cublasAtomicsMode_t* mode) {
  return blas(handle, [&](Handle& known) { *mode = known.atomics_mode; });
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void*, std::size_t) {
  return blas(handle, [](Handle&) {});
}

cublasStatus_t cublasGetVersion(cublasHandle_t handle, int* version) {
  return blas(handle, [&](Handle&) {
    require(version != nullptr);
    *version = CUBLAS_VERSION;
  });
}

const char* cublasGetStatusName(cublasStatus_t status) {
  return text_of(status).name;
}

const char* cublasGetStatusString(cublasStatus_t status) {
  return text_of(status).text;
}

}  // extern "C"
