// Streams. Whatever is put into one is done at once, so a stream is no more than its properties.
#pragma once

#include <cuda_runtime_api.h>

namespace gpusim {

// The default streams, or one that was created and not yet destroyed.
bool is_stream(cudaStream_t stream);

}  // namespace gpusim
