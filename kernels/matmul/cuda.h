// What the CUDA variants of the matrix product share.
#pragma once

#include "kernels/view.h"

namespace heed::kernels {

// The product by hand, also what the cuBLAS variant does with operands that cuBLAS cannot read.
void matmul_tiled_cuda(View a, View b, View c, double alpha, double beta, Stream stream);

}  // namespace heed::kernels
