// The plain implementations, for the others to fall back on. Not part of the contract.
#pragma once

#include "kernels/view.h"

namespace heed::kernels {

void softmax_forward_reference(View x, View y, int axis, Stream stream);
void softmax_backward_reference(View y, View dy, View dx, int axis, Stream stream);
void log_softmax_forward_reference(View x, View y, int axis, Stream stream);
void log_softmax_backward_reference(View y, View dy, View dx, int axis, Stream stream);

}  // namespace heed::kernels
