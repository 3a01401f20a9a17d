// Arithmetic, functions and their fused backwards: a formula each, around the launch of map.cuh.
#include "kernels/elementwise/elementwise.h"

#include "kernels/cuda/map.cuh"
#include "kernels/elementwise/formulas.cuh"

namespace heed::kernels {
namespace {

using namespace formulas;

// ---- From a formula to a slot. A formula is a type with operator()(numbers) that names its slot.

template <class Formula, class TypeList>
void unary(View x, View y, Stream stream) {
  with_type(TypeList{}, x.dtype, [&](auto element) {
    using T = decltype(element);
    cuda::map<T, T>(Formula::slot().name(), y, {x}, Formula{}, stream);
  });
}

template <class Formula, class TypeList>
void binary(View a, View b, View y, Stream stream) {
  with_type(TypeList{}, a.dtype, [&](auto element) {
    using T = decltype(element);
    cuda::map<T, T, T>(Formula::slot().name(), y, {a, b}, Formula{}, stream);
  });
}

template <class Formula, class TypeList = FloatingTypes>
struct RegisterUnary {
  RegisterUnary() { Register(Formula::slot(), DeviceType::cuda, "map", &unary<Formula, TypeList>, is_default); }
};
template <class Formula, class TypeList = FloatingTypes>
struct RegisterBinary {
  RegisterBinary() { Register(Formula::slot(), DeviceType::cuda, "map", &binary<Formula, TypeList>, is_default); }
};

// ---- Functions

struct Neg {
  static auto& slot() { return neg; }
  template <class T>
  __device__ T operator()(T x) const {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(0 - wrapping(x));
    else
      return -x;
  }
};
struct Abs {
  static auto& slot() { return abs; }
  template <class T>
  __device__ T operator()(T x) const {
    if constexpr (std::is_integral_v<T>)
      return x < 0 ? Neg{}(x) : x;
    else
      return ::fabs(x);
  }
};
struct Relu {
  static auto& slot() { return relu; }
  template <class T>
  __device__ T operator()(T x) const {
    return x < 0 ? T(0) : x;
  }
};
struct Exp {
  static auto& slot() { return exp; }
  template <class T>
  __device__ T operator()(T x) const {
    return ::exp(x);
  }
};
struct Log {
  static auto& slot() { return log; }
  template <class T>
  __device__ T operator()(T x) const {
    return ::log(x);
  }
};
struct Sqrt {
  static auto& slot() { return sqrt; }
  template <class T>
  __device__ T operator()(T x) const {
    return ::sqrt(x);
  }
};
struct Rsqrt {
  static auto& slot() { return rsqrt; }
  template <class T>
  __device__ T operator()(T x) const {
    return 1 / ::sqrt(x);
  }
};
struct Tanh {
  static auto& slot() { return tanh; }
  template <class T>
  __device__ T operator()(T x) const {
    return ::tanh(x);
  }
};
struct Erf {
  static auto& slot() { return erf; }
  template <class T>
  __device__ T operator()(T x) const {
    return ::erf(x);
  }
};
struct Sigmoid {
  static auto& slot() { return sigmoid; }
  template <class T>
  __device__ T operator()(T x) const {
    return sigmoid_of(x);
  }
};
struct Silu {
  static auto& slot() { return silu; }
  template <class T>
  __device__ T operator()(T x) const {
    return x * sigmoid_of(x);
  }
};
struct Gelu {
  static auto& slot() { return gelu; }
  template <class T>
  __device__ T operator()(T x) const {
    return x * normal_cdf(x);
  }
};
struct GeluTanh {
  static auto& slot() { return gelu_tanh; }
  template <class T>
  __device__ T operator()(T x) const {
    return x * gelu_tanh_gate(x);
  }
};

const RegisterUnary<Neg, SignedTypes> register_neg;
const RegisterUnary<Abs, SignedTypes> register_abs;
const RegisterUnary<Relu, SignedTypes> register_relu;
const RegisterUnary<Exp> register_exp;
const RegisterUnary<Log> register_log;
const RegisterUnary<Sqrt> register_sqrt;
const RegisterUnary<Rsqrt> register_rsqrt;
const RegisterUnary<Tanh> register_tanh;
const RegisterUnary<Erf> register_erf;
const RegisterUnary<Sigmoid> register_sigmoid;
const RegisterUnary<Silu> register_silu;
const RegisterUnary<Gelu> register_gelu;
const RegisterUnary<GeluTanh> register_gelu_tanh;

// ---- Arithmetic

struct Add {
  static auto& slot() { return add; }
  template <class T>
  __device__ T operator()(T a, T b) const {
    return static_cast<T>(wrapping(a) + wrapping(b));
  }
};
struct Sub {
  static auto& slot() { return sub; }
  template <class T>
  __device__ T operator()(T a, T b) const {
    return static_cast<T>(wrapping(a) - wrapping(b));
  }
};
struct Mul {
  static auto& slot() { return mul; }
  template <class T>
  __device__ T operator()(T a, T b) const {
    return static_cast<T>(wrapping(a) * wrapping(b));
  }
};
struct Div {
  static auto& slot() { return div; }
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a / b;
  }
};
struct Pow {
  static auto& slot() { return pow; }
  template <class T>
  __device__ T operator()(T a, T b) const {
    return ::pow(a, b);
  }
};
// a != a says that a is NaN; when b is, no comparison holds and b is taken.
struct Maximum {
  static auto& slot() { return maximum; }
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};
struct Minimum {
  static auto& slot() { return minimum; }
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
};

const RegisterBinary<Add, NumericTypes> register_add;
const RegisterBinary<Sub, NumericTypes> register_sub;
const RegisterBinary<Mul, NumericTypes> register_mul;
const RegisterBinary<Maximum, NumericTypes> register_maximum;
const RegisterBinary<Minimum, NumericTypes> register_minimum;
const RegisterBinary<Div> register_div;
const RegisterBinary<Pow> register_pow;

// ---- Backwards: (x or y, dy)

struct ReluBackward {
  static auto& slot() { return relu_backward; }
  template <class T>
  __device__ T operator()(T x, T dy) const {
    return x <= 0 ? T(0) : dy;
  }
};
struct AbsBackward {
  static auto& slot() { return abs_backward; }
  template <class T>
  __device__ T operator()(T x, T dy) const {
    return dy * sign_of(x);
  }
};
struct TanhBackward {
  static auto& slot() { return tanh_backward; }
  template <class T>
  __device__ T operator()(T y, T dy) const {
    return dy * (1 - y * y);
  }
};
struct SigmoidBackward {
  static auto& slot() { return sigmoid_backward; }
  template <class T>
  __device__ T operator()(T y, T dy) const {
    return dy * (y * (1 - y));
  }
};
struct SiluBackward {
  static auto& slot() { return silu_backward; }
  template <class T>
  __device__ T operator()(T x, T dy) const {
    return dy * silu_slope(x);
  }
};
struct GeluBackward {
  static auto& slot() { return gelu_backward; }
  template <class T>
  __device__ T operator()(T x, T dy) const {
    return dy * (normal_cdf(x) + x * normal_density(x));
  }
};
struct GeluTanhBackward {
  static auto& slot() { return gelu_tanh_backward; }
  template <class T>
  __device__ T operator()(T x, T dy) const {
    return dy * gelu_tanh_slope(x);
  }
};

const RegisterBinary<ReluBackward> register_relu_backward;
const RegisterBinary<AbsBackward> register_abs_backward;
const RegisterBinary<TanhBackward> register_tanh_backward;
const RegisterBinary<SigmoidBackward> register_sigmoid_backward;
const RegisterBinary<SiluBackward> register_silu_backward;
const RegisterBinary<GeluBackward> register_gelu_backward;
const RegisterBinary<GeluTanhBackward> register_gelu_tanh_backward;

}  // namespace
}  // namespace heed::kernels
