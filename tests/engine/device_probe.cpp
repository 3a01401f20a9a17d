// Names the first CUDA device on standard output; or says why there is none and ends with exit status 1.
#include <fmt/core.h>

#include "kernels/cuda/device.h"

int main() {
  namespace cuda = heed::kernels::cuda;
  const std::string reason = cuda::why_unavailable(0);
  if (!reason.empty()) {
    fmt::print("{}\n", reason);
    return 1;
  }
  const cuda::DeviceProperties device = cuda::device_properties(0);
  fmt::print("{} ({}.{}), {} multiprocessors, {} MiB\n", device.name, device.major, device.minor,
             device.multiprocessors, device.memory_bytes >> 20);
}
