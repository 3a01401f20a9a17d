// Shapes, strides and the arithmetic of views: how a strided window changes when it is sliced, permuted or expanded.
// Pure functions on small values; nothing here touches memory. Arguments are valid: the operations check them first.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/error.h"
#include "kernels/view.h"

namespace heed {

// Up to max_rank integers, held in place. Used for shapes, strides and lists of axes.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<std::int64_t> values) : Dims(std::span(values.begin(), values.size())) {}
  Dims(const std::vector<std::int64_t>& values) : Dims(std::span(values)) {}
  explicit Dims(std::span<const std::int64_t> values);
  // `count` copies of `value`.
  static Dims filled(int count, std::int64_t value);

  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::int64_t& operator[](int i) { return values_[i]; }
  std::int64_t operator[](int i) const { return values_[i]; }
  std::int64_t back() const { return values_[size_ - 1]; }
  std::int64_t* begin() { return values_.data(); }
  std::int64_t* end() { return values_.data() + size_; }
  const std::int64_t* begin() const { return values_.data(); }
  const std::int64_t* end() const { return values_.data() + size_; }

  void push_back(std::int64_t value);
  void insert(int position, std::int64_t value);
  void erase(int position);

  friend bool operator==(const Dims& a, const Dims& b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

 private:
  std::array<std::int64_t, max_rank> values_ = {};
  int size_ = 0;
};

using Shape = Dims;
using Strides = Dims;
using Axes = Dims;

// The number of elements; 1 for the shape of a scalar, [].
std::int64_t count_of(const Shape& shape);
// The bytes of so many elements, or nothing when they don't fit into 63 bits. Axes of length 0 count as 1 for that
// purpose, since strides are products of the lengths behind an axis, whether or not there are elements.
std::optional<std::int64_t> bytes_of(const Shape& shape, std::size_t element_bytes);

// "[2, 3]"
std::string to_string(const Dims& dims);

// Where the elements of a tensor lie within its storage. Strides and offset count elements, not bytes.
struct Layout {
  Shape shape;
  Strides strides;
  std::int64_t offset = 0;

  static Layout contiguous(const Shape& shape);

  int rank() const { return shape.size(); }
  std::int64_t count() const { return count_of(shape); }
  bool is_contiguous() const;

  Layout permuted(const Axes& axes) const;  // axis i of the result is axis axes[i] of this
  Layout sliced(int axis, std::int64_t start, std::int64_t length, std::int64_t step) const;
  Layout selected(int axis, std::int64_t index) const;  // the axis disappears
  Layout expanded(const Shape& shape) const;            // new leading axes and axes of length 1 get stride 0
  Layout without_axis(int axis) const;
  Layout with_axis(int axis) const;  // a new axis of length 1
  // The same elements in the same order under another shape, or nothing if that takes a copy.
  std::optional<Layout> reshaped(const Shape& shape) const;
};

// NumPy's rule: align at the last axis; lengths agree, or one of them is 1. Nothing if the shapes don't fit.
std::optional<Shape> broadcast(const Shape& a, const Shape& b);

// The base of formatters of what is printed as text: "{}", or "{:>20}" with an alignment and a width. Takes a fraction of
// the compile time of fmt's formatter for strings.
class TextFormatter {
 public:
  constexpr auto parse(fmt::format_parse_context& context) -> decltype(context.begin()) {
    auto end = context.begin();
    while (end != context.end() && *end != '}') {
      if (std::string_view("<^>0123456789").find(*end++) == std::string_view::npos)
        throw Error("format of a text: neither alignment nor width");
    }
    specification_ = {context.begin(), static_cast<std::size_t>(end - context.begin())};
    return end;
  }

 protected:
  fmt::format_context::iterator write(std::string_view text, fmt::format_context& context) const;

 private:
  std::string_view specification_;
};

}  // namespace heed

template <>
struct fmt::formatter<heed::Dims> : heed::TextFormatter {
  fmt::format_context::iterator format(const heed::Dims& dims, fmt::format_context& context) const;
};
template <>
struct fmt::formatter<heed::Dtype> : heed::TextFormatter {
  fmt::format_context::iterator format(heed::Dtype dtype, fmt::format_context& context) const;
};
template <>
struct fmt::formatter<heed::Device> : heed::TextFormatter {
  fmt::format_context::iterator format(heed::Device device, fmt::format_context& context) const;
};
