// Comparisons, logic and choices.
#include <limits>

#include "kernels/cuda/map.cuh"
#include "kernels/elementwise/elementwise.h"

namespace heed::kernels {
namespace {

template <class Formula>
void predicate(View a, View b, View y, Stream stream) {
  with_type(a.dtype, [&](auto element) {
    using T = decltype(element);
    cuda::map<bool, T, T>(Formula::slot().name(), y, {a, b}, Formula{}, stream);
  });
}

template <class Formula>
struct RegisterPredicate {
  RegisterPredicate() { Register(Formula::slot(), DeviceType::cuda, "map", &predicate<Formula>, is_default); }
};

struct Equal {
  static auto& slot() { return equal; }
  template <class T>
  __device__ bool operator()(T a, T b) const {
    return a == b;
  }
};
struct NotEqual {
  static auto& slot() { return not_equal; }
  template <class T>
  __device__ bool operator()(T a, T b) const {
    return a != b;
  }
};
struct Less {
  static auto& slot() { return less; }
  template <class T>
  __device__ bool operator()(T a, T b) const {
    return a < b;
  }
};
struct LessEqual {
  static auto& slot() { return less_equal; }
  template <class T>
  __device__ bool operator()(T a, T b) const {
    return a <= b;
  }
};
struct LogicalAnd {
  static auto& slot() { return logical_and; }
  template <class T>
  __device__ bool operator()(T a, T b) const {
    return (a != T(0)) & (b != T(0));
  }
};
struct LogicalOr {
  static auto& slot() { return logical_or; }
  template <class T>
  __device__ bool operator()(T a, T b) const {
    return (a != T(0)) | (b != T(0));
  }
};

const RegisterPredicate<Equal> register_equal;
const RegisterPredicate<NotEqual> register_not_equal;
const RegisterPredicate<Less> register_less;
const RegisterPredicate<LessEqual> register_less_equal;
const RegisterPredicate<LogicalAnd> register_logical_and;
const RegisterPredicate<LogicalOr> register_logical_or;

// a > b is b < a, NaN or not.
template <class Formula>
void exchanged(View a, View b, View y, Stream stream) {
  predicate<Formula>(b, a, y, stream);
}
const Register register_greater{greater, DeviceType::cuda, "map", &exchanged<Less>, is_default};
const Register register_greater_equal{greater_equal, DeviceType::cuda, "map", &exchanged<LessEqual>, is_default};

struct IsZero {
  template <class T>
  __device__ bool operator()(T x) const {
    return x == T(0);
  }
};

void logical_not_map(View x, View y, Stream stream) {
  with_type(x.dtype,
            [&](auto element) { cuda::map<bool, decltype(element)>("logical_not", y, {x}, IsZero{}, stream); });
}
const Register register_logical_not{logical_not, DeviceType::cuda, "map", &logical_not_map, is_default};

// ---- Choices

struct Choose {
  template <class T>
  __device__ T operator()(bool condition, T a, T b) const {
    return condition ? a : b;
  }
};

void where_map(View condition, View a, View b, View y, Stream stream) {
  with_width(y.dtype, [&](auto element) {
    using T = decltype(element);
    cuda::map<T, bool, T, T>("where", y, {condition, a, b}, Choose{}, stream);
  });
}
const Register register_where{where, DeviceType::cuda, "map", &where_map, is_default};

// A bound in the type of what it bounds.
template <class T>
T bound(double value) {
  if constexpr (std::is_integral_v<T>) {
    constexpr T lowest = std::numeric_limits<T>::min(), highest = std::numeric_limits<T>::max();
    if (value <= static_cast<double>(lowest)) return lowest;
    if (value >= static_cast<double>(highest)) return highest;
  }
  return static_cast<T>(value);
}

template <class T>
struct Clamp {
  T low, high;
  __device__ T operator()(T x) const {
    const T raised = x < low ? low : x;
    return raised > high ? high : raised;
  }
};
template <class T>
struct ClampBackward {
  T low, high;
  __device__ T operator()(T x, T dy) const { return (low <= x) & (x <= high) ? dy : T(0); }
};

void clamp_map(View x, View y, double low, double high, Stream stream) {
  with_type(SignedTypes{}, x.dtype, [&](auto element) {
    using T = decltype(element);
    using C = Compute<T>;
    cuda::map<T, T>("clamp", y, {x}, Clamp<C>{bound<C>(low), bound<C>(high)}, stream);
  });
}
const Register register_clamp{clamp, DeviceType::cuda, "map", &clamp_map, is_default};

void clamp_backward_map(View x, View dy, View dx, double low, double high, Stream stream) {
  with_type(FloatingTypes{}, x.dtype, [&](auto element) {
    using T = decltype(element);
    using C = Compute<T>;
    cuda::map<T, T, T>("clamp_backward", dx, {x, dy}, ClampBackward<C>{bound<C>(low), bound<C>(high)}, stream);
  });
}
const Register register_clamp_backward{clamp_backward, DeviceType::cuda, "map", &clamp_backward_map, is_default};

}  // namespace
}  // namespace heed::kernels
