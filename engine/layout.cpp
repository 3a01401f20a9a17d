#include "engine/layout.h"

#include <algorithm>

namespace heed {

Dims::Dims(std::span<const std::int64_t> values) {
  check(values.size() <= max_rank, "shape: {} axes, more than the {} that heed supports", values.size(), max_rank);
  size_ = static_cast<int>(values.size());
  std::copy(values.begin(), values.end(), values_.begin());
}

Dims Dims::filled(int count, std::int64_t value) {
  Dims dims;
  for (int i = 0; i < count; ++i) dims.push_back(value);
  return dims;
}

void Dims::push_back(std::int64_t value) {
  insert(size_, value);
}

void Dims::insert(int position, std::int64_t value) {
  check(size_ < max_rank, "shape: {} axes, more than the {} that heed supports", size_ + 1, max_rank);
  std::copy_backward(begin() + position, end(), end() + 1);
  values_[position] = value;
  ++size_;
}

void Dims::erase(int position) {
  std::copy(begin() + position + 1, end(), begin() + position);
  --size_;
}

std::int64_t count_of(const Shape& shape) {
  std::int64_t count = 1;
  for (std::int64_t length : shape) count *= length;
  return count;
}

std::optional<std::int64_t> bytes_of(const Shape& shape, std::size_t element_bytes) {
  auto bytes = static_cast<std::int64_t>(element_bytes);
  bool is_empty = false;
  for (std::int64_t length : shape) {
    is_empty = is_empty || length == 0;
    if (__builtin_mul_overflow(bytes, std::max<std::int64_t>(length, 1), &bytes)) return std::nullopt;
  }
  return is_empty ? 0 : bytes;
}

std::string to_string(const Dims& dims) {
  std::string text = "[";
  for (std::int64_t value : dims) text += (text.size() > 1 ? ", " : "") + std::to_string(value);
  return text + "]";
}

Layout Layout::contiguous(const Shape& shape) {
  Layout layout{shape, Strides::filled(shape.size(), 1), 0};
  for (int i = shape.size() - 2; i >= 0; --i) {
    layout.strides[i] = layout.strides[i + 1] * std::max<std::int64_t>(shape[i + 1], 1);
  }
  return layout;
}

bool Layout::is_contiguous() const {
  if (count() == 0) return true;
  std::int64_t expected = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

Layout Layout::permuted(const Axes& axes) const {
  Layout result{{}, {}, offset};
  for (std::int64_t axis : axes) {
    result.shape.push_back(shape[static_cast<int>(axis)]);
    result.strides.push_back(strides[static_cast<int>(axis)]);
  }
  return result;
}

Layout Layout::sliced(int axis, std::int64_t start, std::int64_t length, std::int64_t step) const {
  Layout result = *this;
  // An empty slice keeps the offset, which could otherwise point past the storage.
  if (length > 0) result.offset += start * strides[axis];
  result.shape[axis] = length;
  result.strides[axis] *= step;
  return result;
}

Layout Layout::selected(int axis, std::int64_t index) const {
  return sliced(axis, index, 1, 1).without_axis(axis);
}

Layout Layout::expanded(const Shape& target) const {
  Layout result{target, Strides::filled(target.size(), 0), offset};
  const int added = target.size() - rank();
  for (int i = 0; i < rank(); ++i) {
    if (shape[i] == target[added + i] && shape[i] != 1) result.strides[added + i] = strides[i];
  }
  return result;
}

Layout Layout::without_axis(int axis) const {
  Layout result = *this;
  result.shape.erase(axis);
  result.strides.erase(axis);
  return result;
}

Layout Layout::with_axis(int axis) const {
  Layout result = *this;
  result.strides.insert(axis, axis < rank() ? shape[axis] * strides[axis] : 1);
  result.shape.insert(axis, 1);
  return result;
}

// Walks both shapes from the last axis. A run of old axes that forms one even progression of addresses can be cut anew;
// a run ends where strides[i] != shape[i + 1] * strides[i + 1], and a new axis must not straddle such an end.
std::optional<Layout> Layout::reshaped(const Shape& target) const {
  if (count() == 0 || is_contiguous()) {
    Layout result = contiguous(target);
    result.offset = offset;
    return result;
  }
  Layout result{target, Strides::filled(target.size(), 1), offset};
  int to = target.size() - 1;
  for (int from = rank() - 1; from >= 0;) {
    const std::int64_t innermost_stride = strides[from];
    std::int64_t run = shape[from];
    --from;
    while (from >= 0 && (shape[from] == 1 || strides[from] == run * innermost_stride)) run *= shape[from--];
    std::int64_t covered = 1;
    while (to >= 0 && (covered < run || target[to] == 1)) {
      result.strides[to] = covered * innermost_stride;
      covered *= target[to--];
    }
    if (covered != run) return std::nullopt;
  }
  return result;
}

std::optional<Shape> broadcast(const Shape& a, const Shape& b) {
  Shape result = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  const int added = result.size() - shorter.size();
  for (int i = 0; i < shorter.size(); ++i) {
    std::int64_t& length = result[added + i];
    if (length == shorter[i] || shorter[i] == 1) continue;
    if (length != 1) return std::nullopt;
    length = shorter[i];
  }
  return result;
}

fmt::format_context::iterator TextFormatter::write(std::string_view text, fmt::format_context& context) const {
  const std::string format = fmt::format("{{:{}}}", specification_);
  return fmt::vformat_to(context.out(), format, fmt::make_format_args(text));
}

}  // namespace heed

using fmt::format_context;

format_context::iterator fmt::formatter<heed::Dims>::format(const heed::Dims& dims, format_context& context) const {
  return write(heed::to_string(dims), context);
}
format_context::iterator fmt::formatter<heed::Dtype>::format(heed::Dtype dtype, format_context& context) const {
  return write(heed::name_of(dtype), context);
}
format_context::iterator fmt::formatter<heed::Device>::format(heed::Device device, format_context& context) const {
  const std::string name =
      device.type == heed::DeviceType::cpu ? "cpu" : fmt::format("{}:{}", heed::name_of(device.type), device.index);
  return write(name, context);
}
