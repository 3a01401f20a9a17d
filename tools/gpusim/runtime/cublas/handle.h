// What the cuBLAS stand-in's functions share. All of them work on the simulated device's memory, which is the host's, and
// leave the arithmetic to a BLAS of the host.
#pragma once

#include <cublas_v2.h>
#include <omp.h>

#include <cstddef>

#include "tools/gpusim/runtime/api.h"

namespace gpusim {

struct Handle {
  cudaStream_t stream = nullptr;
  cublasMath_t math_mode = CUBLAS_DEFAULT_MATH;
  cublasPointerMode_t pointer_mode = CUBLAS_POINTER_MODE_HOST;
  cublasAtomicsMode_t atomics_mode = CUBLAS_ATOMICS_NOT_ALLOWED;
};

Handle* handle_of(cublasHandle_t handle);  // nullptr: never created, or destroyed

// An argument that ends the call with a status.
struct Refusal {
  cublasStatus_t status;
};

// The host's BLAS adds up in an order that depends on the number of threads; a GPU knows nothing of those.
class OneThread {
 public:
  OneThread() { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_ = omp_get_max_threads();
};

// Runs a function's body with the handle, and turns refusals into the status.
template <class Body>
cublasStatus_t blas(cublasHandle_t handle, Body body) {
  Handle* known = handle_of(handle);
  if (!known) return CUBLAS_STATUS_NOT_INITIALIZED;
  const OneThread one_thread;
  try {
    body(*known);
    return CUBLAS_STATUS_SUCCESS;
  } catch (const Refusal& refusal) {
    return refusal.status;
  }
}

inline void require(bool holds, cublasStatus_t otherwise = CUBLAS_STATUS_INVALID_VALUE) {
  if (!holds) throw Refusal{otherwise};
}

// Memory that the call reads or writes, as gpusim_host_access has it.
inline void access(const char* call, const void* begin, std::size_t bytes, std::size_t columns, std::size_t stride,
                   bool write) {
  require(gpusim_host_access(call, begin, bytes, columns, stride, write), CUBLAS_STATUS_EXECUTION_FAILED);
}

}  // namespace gpusim
