// Copies from one device to another.
#pragma once

#include "kernels/view.h"

namespace heed {

// to = from: contiguous views of one dtype and as many elements, on different devices. To a CUDA device: returns when
// `from` may be changed again, which may be before the data have arrived. From one: waits for all that is queued there
// before it.
void transfer(const View& from, const View& to);

}  // namespace heed
