// From a run-time element type to a compile-time one.
#pragma once

#include <type_traits>
#include <utility>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"
#include "kernels/view.h"

namespace heed {

// The dtype of a C++ type.
template <class T>
constexpr Dtype dtype_of() {
  if constexpr (std::is_same_v<T, float>)
    return Dtype::f32;
  else if constexpr (std::is_same_v<T, double>)
    return Dtype::f64;
  else if constexpr (std::is_same_v<T, BFloat16>)
    return Dtype::bf16;
  else if constexpr (std::is_same_v<T, Float16>)
    return Dtype::f16;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return Dtype::i32;
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return Dtype::i64;
  else if constexpr (std::is_same_v<T, std::uint8_t>)
    return Dtype::u8;
  else if constexpr (std::is_same_v<T, bool>)
    return Dtype::boolean;
  else
    static_assert(!sizeof(T), "no heed dtype for this type");
}

namespace kernels {

template <class T>
inline constexpr bool is_half_type = std::is_same_v<T, BFloat16> || std::is_same_v<T, Float16>;

template <class T>
inline constexpr bool is_floating_type = std::is_floating_point_v<T> || is_half_type<T>;

// What arithmetic on elements of type T happens in: halves compute as f32.
template <class T>
using Compute = std::conditional_t<is_half_type<T>, float, T>;

// Calls body(T{}) with the C++ type of a floating dtype. Any other dtype: nothing happens.
template <class Body>
void with_floating_type(Dtype dtype, Body&& body) {
  switch (dtype) {
    case Dtype::f32:
      return body(float{});
    case Dtype::f64:
      return body(double{});
    case Dtype::bf16:
      return body(BFloat16{});
    case Dtype::f16:
      return body(Float16{});
    default:
      return;
  }
}

// The same for every dtype. boolean arrives as bool.
template <class Body>
void with_type(Dtype dtype, Body&& body) {
  switch (dtype) {
    case Dtype::i32:
      return body(std::int32_t{});
    case Dtype::i64:
      return body(std::int64_t{});
    case Dtype::u8:
      return body(std::uint8_t{});
    case Dtype::boolean:
      return body(bool{});
    default:
      return with_floating_type(dtype, std::forward<Body>(body));
  }
}

// A kernel's own choice of element types: with_type(Types<float, double>{}, dtype, body).
template <class... T>
struct Types {};
using Halves = Types<BFloat16, Float16>;
using FloatingTypes = Types<float, double, BFloat16, Float16>;
using SignedTypes = Types<float, double, BFloat16, Float16, std::int32_t, std::int64_t>;
using NumericTypes = Types<float, double, BFloat16, Float16, std::int32_t, std::int64_t, std::uint8_t>;

template <class... T, class Body>
void with_type(Types<T...>, Dtype dtype, Body&& body) {
  (void)((dtype == dtype_of<T>() && (body(T{}), true)) || ...);
}

// For kernels that only move elements: calls body(T{}) with the unsigned type as wide as `dtype`.
template <class Body>
void with_width(Dtype dtype, Body&& body) {
  switch (size_of(dtype)) {
    case 1:
      return body(std::uint8_t{});
    case 2:
      return body(std::uint16_t{});
    case 4:
      return body(std::uint32_t{});
    case 8:
      return body(std::uint64_t{});
  }
}

}  // namespace kernels
}  // namespace heed
