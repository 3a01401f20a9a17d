// From a run-time element type to a compile-time one.
#pragma once

#include <type_traits>
#include <utility>

#include "kernels/bfloat16.h"
#include "kernels/view.h"

namespace heed::kernels {

// What arithmetic on elements of type T happens in: bf16 computes as f32.
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, BFloat16>, float, T>;

template <class T>
inline constexpr bool is_floating_type = std::is_floating_point_v<T> || std::is_same_v<T, BFloat16>;

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

}  // namespace heed::kernels
