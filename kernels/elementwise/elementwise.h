// Elementwise kernels: one result per element, no element sees another.
//
// Shapes. All views of a call have the same shape, rank 0 to 8, any axis may have length 0. Broadcasting is the
// caller's: it arrives as stride 0, and operands of stride 0 (scalars, rows, columns) are fast. y never has stride 0.
// An input may be the very memory of y (same data, same strides); any other overlap is undefined.
//
// Dtypes. The inputs and y share one dtype unless said otherwise; each group below names those it takes. Halves are
// computed in f32 and rounded once. f64 is computed by the C++ library's functions, to serve as ground truth. Integers
// wrap around (two's complement).
//
// NaN and infinities behave as in PyTorch: a NaN operand gives NaN, in maximum, minimum, relu and clamp too.
#pragma once

#include "kernels/registry.h"

namespace heed::kernels {

using Unary = void(View x, View y, Stream);
using Binary = void(View a, View b, View y, Stream);

// ---- Unary. f32, f64, halves; neg, abs and relu also i32 and i64.
inline constinit Kernel<Unary> neg{"neg"};
inline constinit Kernel<Unary> abs{"abs"};          // |-0| = +0
inline constinit Kernel<Unary> exp{"exp"};          // f32: below 2 ulp
inline constinit Kernel<Unary> log{"log"};          // f32: below 2 ulp; log(0) = -inf, log(x < 0) = NaN
inline constinit Kernel<Unary> sqrt{"sqrt"};        // correctly rounded
inline constinit Kernel<Unary> rsqrt{"rsqrt"};      // 1 / sqrt(x): rsqrt(0) = inf, rsqrt(inf) = 0
inline constinit Kernel<Unary> tanh{"tanh"};        // f32: below 4 ulp
inline constinit Kernel<Unary> erf{"erf"};          // f32: below 4 ulp
inline constinit Kernel<Unary> sigmoid{"sigmoid"};  // 1 / (1 + exp(-x)); f32: below 4 ulp, in both tails
inline constinit Kernel<Unary> relu{"relu"};        // max(x, 0)
inline constinit Kernel<Unary> silu{"silu"};        // x sigmoid(x)
// Gaussian error linear unit, Hendrycks and Gimpel 2016: x Phi(x), Phi the normal distribution function, and its
// approximation x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
inline constinit Kernel<Unary> gelu{"gelu"};
inline constinit Kernel<Unary> gelu_tanh{"gelu_tanh"};

// x of any dtype, y boolean: x == 0. NaN counts as true, as everywhere in C.
inline constinit Kernel<Unary> logical_not{"logical_not"};

// ---- Binary. f32, f64, halves, i32, i64, u8.
inline constinit Kernel<Binary> add{"add"};
inline constinit Kernel<Binary> sub{"sub"};
inline constinit Kernel<Binary> mul{"mul"};
inline constinit Kernel<Binary> maximum{"maximum"};
inline constinit Kernel<Binary> minimum{"minimum"};
// f32, f64, halves.
inline constinit Kernel<Binary> div{"div"};
inline constinit Kernel<Binary> pow{"pow"};  // special cases as std::pow: pow(x, 0) = 1, pow(-2, 0.5) = NaN

// a, b of any one dtype; y boolean. Any comparison with NaN is false but not_equal, which is true.
inline constinit Kernel<Binary> equal{"equal"};
inline constinit Kernel<Binary> not_equal{"not_equal"};
inline constinit Kernel<Binary> less{"less"};
inline constinit Kernel<Binary> less_equal{"less_equal"};
inline constinit Kernel<Binary> greater{"greater"};
inline constinit Kernel<Binary> greater_equal{"greater_equal"};
inline constinit Kernel<Binary> logical_and{"logical_and"};
inline constinit Kernel<Binary> logical_or{"logical_or"};

// ---- Fused backwards: one pass where the composed formula takes several. f32, f64, halves.
// In terms of the input: (x, dy, dx).
inline constinit Kernel<Binary> relu_backward{"relu_backward"};  // 0 where x <= 0, else dy
inline constinit Kernel<Binary> abs_backward{"abs_backward"};    // dy sign(x); sign of 0 and NaN is 0
inline constinit Kernel<Binary> silu_backward{"silu_backward"};
inline constinit Kernel<Binary> gelu_backward{"gelu_backward"};
inline constinit Kernel<Binary> gelu_tanh_backward{"gelu_tanh_backward"};
// In terms of the output: (y, dy, dx).
inline constinit Kernel<Binary> tanh_backward{"tanh_backward"};        // dy (1 - y^2)
inline constinit Kernel<Binary> sigmoid_backward{"sigmoid_backward"};  // dy y (1 - y)

// ---- y = condition ? a : b. condition boolean; a, b, y of any one dtype. What is not chosen does not matter, NaN or
// not.
inline constinit Kernel<void(View condition, View a, View b, View y, Stream)> where{"where"};

// ---- y = min(max(x, low), high): high wins when low > high. f32, f64, halves, i32, i64 (bounds saturate to the type's
// range, fractions are dropped). A NaN in x stays; bounds must not be NaN, infinities mean no bound.
inline constinit Kernel<void(View x, View y, double low, double high, Stream)> clamp{"clamp"};
// dx = dy where low <= x <= high, else 0 (also where x is NaN). f32, f64, halves.
inline constinit Kernel<void(View x, View dy, View dx, double low, double high, Stream)> clamp_backward{
    "clamp_backward"};

}  // namespace heed::kernels
