// The plain implementations, for the others to fall back on. Not part of the contract.
#pragma once

#include "kernels/reduce/reduce.h"

namespace heed::kernels {

Reduction sum_reference, sum_of_squares_reference, max_reference, min_reference, log_sum_exp_reference;
Reduction argmax_reference, argmin_reference;

}  // namespace heed::kernels
