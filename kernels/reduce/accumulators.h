// What each reduction keeps while it meets the elements one by one. Accumulator::add takes the next element, merge
// takes the accumulator of later elements, result gives the answer. What is constexpr serves the CUDA kernels too.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernels/dtypes.h"

namespace heed::kernels {

template <class T>
constexpr bool is_nan(T value) {
  return value != value;
}

// Floating sums are kept in double; whole numbers in 64 bits, unsigned because there overflow may wrap.
template <class T>
struct SumOf {
  using Output = std::conditional_t<is_floating_type<T>, T, std::int64_t>;
  std::conditional_t<is_floating_type<T>, double, std::uint64_t> sum = 0;

  constexpr void add(Compute<T> x) { sum += static_cast<decltype(sum)>(x); }
  constexpr void merge(const SumOf& later) { sum += later.sum; }
  constexpr Output result() const {
    return static_cast<Output>(static_cast<std::conditional_t<is_floating_type<T>, Compute<T>, std::int64_t>>(sum));
  }
};

template <class T>
struct SumOfSquaresOf : SumOf<T> {
  constexpr void add(Compute<T> x) { this->sum += static_cast<double>(x) * static_cast<double>(x); }
};

// The comparison that finds a maximum or a minimum, and what every element beats or equals.
template <class T>
struct Greater {
  static constexpr T worst =
      std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
  static constexpr bool beats(T x, T best) { return x > best || is_nan(x); }
};
template <class T>
struct Less {
  static constexpr T worst =
      std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
  static constexpr bool beats(T x, T best) { return x < best || is_nan(x); }
};

template <class T, template <class> class Order>
struct ExtremeOf {
  using Output = T;
  Compute<T> best = Order<Compute<T>>::worst;

  constexpr void add(Compute<T> x) {
    if (Order<Compute<T>>::beats(x, best)) best = x;
  }
  constexpr void merge(const ExtremeOf& later) { add(later.best); }
  constexpr Output result() const { return static_cast<T>(best); }
};
template <class T>
using MaxOf = ExtremeOf<T, Greater>;
template <class T>
using MinOf = ExtremeOf<T, Less>;

// The position of the extreme. A first element always takes the place; after a NaN nothing does.
template <class T, template <class> class Order>
struct PositionOf {
  using Output = std::int64_t;
  Compute<T> best = {};
  std::int64_t position = 0, count = 0;

  void add(Compute<T> x) {
    if (count == 0 || (!is_nan(best) && Order<Compute<T>>::beats(x, best))) {
      best = x;
      position = count;
    }
    ++count;
  }
  Output result() const { return position; }
};
template <class T>
using ArgmaxOf = PositionOf<T, Greater>;
template <class T>
using ArgminOf = PositionOf<T, Less>;

// log(sum(exp(x))) in one pass: `sum` is relative to the maximum so far and rescaled whenever that grows.
template <class T>
struct LogSumExpOf {
  using Output = T;
  double max = -std::numeric_limits<double>::infinity(), sum = 0;

  void add(Compute<T> x) { merge({static_cast<double>(x), 1}); }
  void merge(const LogSumExpOf& later) {
    if (later.max > max) {
      sum = sum * std::exp(max - later.max) + later.sum;
      max = later.max;
    } else if (later.max == max) {  // here the difference of two infinities would be NaN
      sum += later.sum;
    } else {
      sum += later.sum * std::exp(later.max - max);  // a NaN comes this way
    }
  }
  Output result() const { return static_cast<T>(static_cast<Compute<T>>(max + std::log(sum))); }
};

template <class T>
struct AnyOf {
  using Output = bool;
  bool value = false;
  constexpr void add(Compute<T> x) { value |= x != Compute<T>{}; }
  constexpr void merge(const AnyOf& later) { value |= later.value; }
  constexpr Output result() const { return value; }
};
template <class T>
struct AllOf {
  using Output = bool;
  bool value = true;
  constexpr void add(Compute<T> x) { value &= x != Compute<T>{}; }
  constexpr void merge(const AllOf& later) { value &= later.value; }
  constexpr Output result() const { return value; }
};

}  // namespace heed::kernels
