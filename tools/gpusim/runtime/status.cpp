#include "tools/gpusim/runtime/status.h"

#include <atomic>
#include <cstdio>
#include <new>

#include "tools/gpusim/ptx/error.h"

namespace gpusim {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
std::atomic<cudaError_t> sticky{cudaSuccess};

}  // namespace

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

void stick(cudaError_t error) {
  cudaError_t none = cudaSuccess;
  sticky.compare_exchange_strong(none, error);  // the first one stays
}

cudaError_t sticky_error() {
  return sticky;
}

void unstick() {
  sticky = cudaSuccess;
  last_error = cudaSuccess;
}

void complain(const std::string& message) {
  std::fprintf(stderr, "gpusim: %s\n", message.c_str());
}

cudaError_t failed_call(std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const Failure& failure) {
    if (!failure.message.empty()) complain(failure.message);
    return failure.code;
  } catch (const std::bad_alloc&) {
    return cudaErrorMemoryAllocation;
  } catch (const std::exception& error) {
    complain(error.what());
    return cudaErrorNotSupported;
  }
}

}  // namespace gpusim

extern "C" cudaError_t cudaGetLastError() {
  using gpusim::last_error;
  const cudaError_t error = last_error;
  // An error that sticks has been seen once a call returned it; from then on it cannot be cleared.
  if (error == cudaSuccess || error != gpusim::sticky_error()) last_error = cudaSuccess;
  return error;
}

extern "C" cudaError_t cudaPeekAtLastError() {
  return gpusim::last_error;
}
