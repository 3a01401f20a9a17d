// Comparisons, logic and choices. Plain loops that the compiler turns into vector code: they read 8 bytes and more per
// element and compute next to nothing, so memory is the limit.
#include <functional>
#include <limits>

#include "kernels/cpu/loops.h"
#include "kernels/elementwise/elementwise.h"

namespace heed::kernels {
namespace {

constexpr auto cpu = DeviceType::cpu;

template <auto op, class C>
void unary_block(std::int64_t, std::int64_t n, bool* y, const C* x) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) y[i] = op(x[i]);
}

template <auto op, class C>
void binary_block(std::int64_t, std::int64_t n, bool* y, const C* a, const C* b) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) y[i] = op(a[i], b[i]);
}

template <auto op>
void unary_predicate(View x, View y, Stream) {
  with_compute_type(AllComputeTypes{}, x.dtype,
                    [&]<class C>(C) { map_blocks<bool, C>(LoopOrder::any, y, {x}, &unary_block<op, C>); });
}

template <auto op>
void predicate(View a, View b, View y, Stream) {
  with_compute_type(AllComputeTypes{}, a.dtype, [&]<class C>(C) {
    map_blocks<bool, C, C>(LoopOrder::any, y, {a, b}, &binary_block<op, C>);
  });
}

template <auto op>
void swapped_predicate(View a, View b, View y, Stream stream) {
  predicate<op>(b, a, y, stream);
}

constexpr std::less<> is_less;
constexpr std::less_equal<> is_at_most;

const Register reference_logical_not{logical_not, cpu, "reference", &unary_predicate<[](auto x) { return x == 0; }>,
                                     is_default};
const Register reference_equal{equal, cpu, "reference", &predicate<std::equal_to<>{}>, is_default};
const Register reference_not_equal{not_equal, cpu, "reference", &predicate<std::not_equal_to<>{}>, is_default};
const Register reference_less{less, cpu, "reference", &predicate<is_less>, is_default};
const Register reference_less_equal{less_equal, cpu, "reference", &predicate<is_at_most>, is_default};
const Register reference_greater{greater, cpu, "reference", &swapped_predicate<is_less>, is_default};
const Register reference_greater_equal{greater_equal, cpu, "reference", &swapped_predicate<is_at_most>, is_default};
const Register reference_logical_and{logical_and, cpu, "reference",
                                     &predicate<[](auto a, auto b) { return (a != 0) & (b != 0); }>, is_default};
const Register reference_logical_or{logical_or, cpu, "reference",
                                    &predicate<[](auto a, auto b) { return (a != 0) | (b != 0); }>, is_default};

template <class T>
void where_block(std::int64_t, std::int64_t n, T* y, const bool* condition, const T* a, const T* b) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i) {
    const T mask = static_cast<T>(-static_cast<T>(condition[i]));  // all bits or none: a choice without a jump
    y[i] = static_cast<T>((a[i] & mask) | (b[i] & ~mask));
  }
}

void where_reference(View condition, View a, View b, View y, Stream) {
  with_width(y.dtype, [&]<class T>(T) {
    map_blocks<T, bool, T, T>(LoopOrder::any, y, {condition, a, b}, &where_block<T>);
  });
}
const Register reference_where{where, cpu, "reference", &where_reference, is_default};

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

void clamp_reference(View x, View y, double low, double high, Stream) {
  with_compute_type(SignedComputeTypes{}, x.dtype, [&]<class C>(C) {
    const C lower = bound<C>(low), upper = bound<C>(high);
    map_blocks<C, C>(LoopOrder::any, y, {x}, [=](std::int64_t, std::int64_t n, C* y, const C* x) {
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) {
        const C raised = x[i] < lower ? lower : x[i];
        y[i] = raised > upper ? upper : raised;
      }
    });
  });
}
const Register reference_clamp{clamp, cpu, "reference", &clamp_reference, is_default};

void clamp_backward_reference(View x, View dy, View dx, double low, double high, Stream) {
  with_compute_type(FloatingComputeTypes{}, x.dtype, [&]<class C>(C) {
    const C lower = bound<C>(low), upper = bound<C>(high);
    map_blocks<C, C, C>(LoopOrder::any, dx, {x, dy}, [=](std::int64_t, std::int64_t n, C* dx, const C* x, const C* dy) {
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) {
        const C gradient = dy[i];
        dx[i] = (lower <= x[i]) & (x[i] <= upper) ? gradient : C(0);
      }
    });
  });
}
const Register reference_clamp_backward{clamp_backward, cpu, "reference", &clamp_backward_reference, is_default};

}  // namespace
}  // namespace heed::kernels
