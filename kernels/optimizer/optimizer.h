// One step of an optimiser over all parameters together: a model's hundred small tensors cost one launch, and every
// number is read and written once.
//
// Every View of a slice has one dtype, f32 or f64. Parameters and their state are contiguous; a gradient may have any
// strides, and is fast when contiguous. Slices must not share memory. The arithmetic is done in the slice's dtype in
// exactly PyTorch's order (torch.optim._single_tensor_adam, _single_tensor_sgd), so trajectories agree to rounding.
//
// Row-sparse slices: with `rows` (i64 [n], each row at most once, contiguous) the gradient is [n, ...] and belongs to
// those rows of the parameter [length, ...]. Only they and their state change, as in torch.optim.SparseAdam: the
// moments and the weight decay of the other rows stand still.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/registry.h"

namespace heed::kernels {

struct AdamSlice {
  View parameter;
  View gradient;    // read only
  View exp_avg;     // running mean of the gradient, zero before the first step
  View exp_avg_sq;  // running mean of its square, zero before the first step
  View rows = {};
  // Which update of this parameter it is, from 1. PyTorch counts per parameter: one that joins late starts at 1.
  std::int64_t step = 1;
};

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = true;  // weight decay shrinks the parameter (AdamW); otherwise it joins the gradient (Adam with L2)
  double gradient_scale = 1;  // multiplies every gradient first: clipping without another pass over memory
};

//   g = gradient_scale gradient                      (L2: + weight_decay parameter)
//   exp_avg    += (1 - beta1) (g - exp_avg)
//   exp_avg_sq  = beta2 exp_avg_sq + (1 - beta2) g g
//   parameter   = (1 - lr weight_decay) parameter    (decoupled only)
//   parameter  -= lr / (1 - beta1^step) exp_avg / (sqrt(exp_avg_sq) / sqrt(1 - beta2^step) + eps)
// Kingma and Ba 2015; Loshchilov and Hutter 2019. A row-sparse slice uses the same formula, with eps added after the
// bias correction where SparseAdam adds it before.
inline constinit Kernel<void(std::span<const AdamSlice>, AdamOptions, Stream)> adam{"adam"};

struct SgdSlice {
  View parameter;
  View gradient;       // read only
  View momentum = {};  // zero before the first step; View{} when SgdOptions::momentum is 0
  View rows = {};
};

struct SgdOptions {
  double lr = 1e-3;
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;
  double gradient_scale = 1;
};

//   g = gradient_scale gradient + weight_decay parameter
//   momentum   = options.momentum momentum + g                     (when options.momentum != 0, and then)
//   g          = nesterov ? g + options.momentum momentum : momentum
//   parameter -= lr g
inline constinit Kernel<void(std::span<const SgdSlice>, SgdOptions, Stream)> sgd{"sgd"};

// result[0] = the sum of the squares of all elements of all tensors, accumulated in f64: what gradient clipping by the
// total norm needs.
//   tensors: any shapes and strides, f32 or f64   workspace f64 [sum_of_squares_workspace]   result f64 [1]
// No tensors or only empty ones: 0. A NaN anywhere gives NaN.
inline constexpr std::int64_t sum_of_squares_workspace = 256;
inline constinit Kernel<void(std::span<const View> tensors, View workspace, View result, Stream)> sum_of_squares{
    "sum_of_squares"};

}  // namespace heed::kernels
