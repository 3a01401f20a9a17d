// The errors of the API: what a call returns, what cudaGetLastError remembers, and errors that stick.
//
// An entry point is written as a body inside api(): the body returns a code or throws Failure, and api() does what the
// real run-time does around every call.
#pragma once

#include <cuda_runtime_api.h>

#include <exception>
#include <string>

namespace gpusim {

// Ends an API call with `code`. A message, if there is one, goes to standard error: it says what the code alone cannot.
struct Failure {
  cudaError_t code;
  std::string message = {};
};

// Remembers the error, if it is one, for this thread's cudaGetLastError.
cudaError_t remember(cudaError_t error);

// An error of a kernel: from now on every call of the process returns it, until cudaDeviceReset. As on a device it shows
// at the call after the launch, not at the launch.
void stick(cudaError_t error);
cudaError_t sticky_error();
void unstick();

// Prints "gpusim: MESSAGE" on standard error.
void complain(const std::string& message);

cudaError_t failed_call(std::exception_ptr exception);  // the code for what a body threw

template <class Body>
cudaError_t api(Body body) {
  if (const cudaError_t error = sticky_error(); error != cudaSuccess) return remember(error);
  try {
    return remember(body());
  } catch (...) {
    return remember(failed_call(std::current_exception()));
  }
}

}  // namespace gpusim
