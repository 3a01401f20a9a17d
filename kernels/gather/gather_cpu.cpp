// Indexing in plain C++. "reference" follows the definitions through any strides. "rows", where elements that follow one
// another in memory share an index, moves whole rows: that is the case of an embedding table, and then memory is the cost.
#include "kernels/gather/gather.h"

#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/cpu/index_space.h"
#include "kernels/cpu/parallel.h"
#include "kernels/dtypes.h"

namespace heed::kernels {
namespace {

constexpr std::int64_t elements_per_task = 16'384;

// Calls body(T{}) with the C++ type of an index.
template <class Body>
void with_index_type(Dtype dtype, Body&& body) {
  dtype == Dtype::i32 ? body(std::int32_t{}) : body(std::int64_t{});
}

std::int64_t index_at(const View& index, std::int64_t offset) {
  return index.dtype == Dtype::i32 ? index.as<const std::int32_t>()[offset] : index.as<const std::int64_t>()[offset];
}

template <class T>
void add_to(T& sum, T term) {
  sum = T(Compute<T>(sum) + Compute<T>(term));
}

// The ways through the axes below know no types, and are compiled once. What happens on them is a function for each type,
// called through a pointer for a whole stretch of elements, or a batch of lines.

using Offsets2 = std::array<std::int64_t, 2>;
using Offsets3 = std::array<std::int64_t, 3>;

std::byte* element(const View& view, std::int64_t offset) {
  return view.as<std::byte>() + offset * static_cast<std::int64_t>(size_of(view.dtype));
}

// ---- gather, scatter_add

// Some elements: the first of them, and how far they lie apart.
struct Stretch {
  void* data;
  std::int64_t step;
  template <class T>
  T& at(std::int64_t i) const {
    return static_cast<T*>(data)[i * step];
  }
};

// y[i] = x[i], but x[i] stands `index[i] stride` elements further on.
template <class T, class I>
void gather_elements(Stretch x, std::int64_t stride, Stretch index, Stretch y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y.at<T>(i) = *(&x.at<const T>(i) + index.at<const I>(i) * stride);
}

// Where an index decides, a view's stride does not count: it is taken out of the walk and multiplied in by hand.
View without_stride(View view, int axis) {
  view.strides[axis] = 0;
  return view;
}

void gather_reference(View x, int axis, View index, View y, Stream) {
  const IndexSpace<3> space({y, index, without_stride(x, axis)}, [](int) { return true; });
  auto gather = &gather_elements<std::uint8_t, std::int64_t>;
  with_width(x.dtype,
             [&]<class T>(T) { with_index_type(index.dtype, [&]<class I>(I) { gather = &gather_elements<T, I>; }); });
  parallel_for(space.size(), elements_per_task, [&](std::int64_t begin, std::int64_t end) {
    space.walk_runs(begin, end, [&](const Offsets3& at, std::int64_t n) {
      const auto stretch = [&](const View& view, int v) {
        return Stretch{element(view, at[v]), space.inner_stride(v)};
      };
      gather(stretch(x, 2), x.strides[axis], stretch(index, 1), stretch(y, 0), n);
    });
  });
}

// Lines along the axis that begin at the offsets in `at`: of index, y and source.
template <class T, class I>
void scatter_add_lines(const View& y, int axis, const View& index, const View& source, const Offsets3* at,
                       std::int64_t count) {
  const std::int64_t n = index.shape[axis], stride = y.strides[axis];
  const std::int64_t index_step = index.strides[axis], source_step = source.strides[axis];
  for (std::int64_t line = 0; line < count; ++line) {
    const I* const from = index.as<const I>() + at[line][0];
    T* const to = y.as<T>() + at[line][1];
    const T* const terms = source.as<const T>() + at[line][2];
    for (std::int64_t i = 0; i < n; ++i) add_to(to[from[i * index_step] * stride], terms[i * source_step]);
  }
}

// A task owns lines along the axis: the elements of y that one line reaches, no other line does. A line's terms are added
// one after the other.
void scatter_add_reference(View y, int axis, View index, View source, Stream) {
  const IndexSpace<3> lines({index, y, source}, [axis](int other) { return other != axis; });
  auto scatter = &scatter_add_lines<float, std::int64_t>;
  with_type(SignedTypes{}, y.dtype,
            [&]<class T>(T) { with_index_type(index.dtype, [&]<class I>(I) { scatter = &scatter_add_lines<T, I>; }); });
  parallel_for(
      lines.size(), 1 + elements_per_task / (1 + index.shape[axis]), [&](std::int64_t begin, std::int64_t end) {
        lines.walk_batches(begin, end,
                           [&](const Offsets3* at, std::int64_t count) { scatter(y, axis, index, source, at, count); });
      });
}

// ---- index_select, index_add: gather and scatter_add with one index for all lines, and whole rows where there are any

// An index [n] as one of the shape of `like`, with n elements along `axis`.
View for_every_line(const View& index, const View& like, int axis) {
  View spread = like;
  spread.data = index.data;
  spread.dtype = index.dtype;
  for (std::int64_t& stride : spread.strides) stride = 0;
  spread.strides[axis] = index.strides[0];
  return spread;
}

void index_select_reference(View x, int axis, View index, View y, Stream stream) {
  gather_reference(x, axis, for_every_line(index, y, axis), y, stream);
}

void index_add_reference(View y, int axis, View index, View source, Stream stream) {
  scatter_add_reference(y, axis, for_every_line(index, source, axis), source, stream);
}

// The positions of two views that agree in every axis but `axis`, without that axis.
IndexSpace<2> beside(const View& a, const View& b, int axis) {
  return {{a, b}, [axis](int other) { return other != axis; }};
}

void index_select_rows(View x, int axis, View index, View y, Stream stream) {
  IndexSpace<2> space = beside(x, y, axis);
  const std::int64_t element = static_cast<std::int64_t>(size_of(x.dtype)), bytes = space.inner_length() * element;
  const bool in_rows = space.inner_stride(0) == 1 && space.inner_stride(1) == 1 && bytes >= 32;
  if (!in_rows) return index_select_reference(x, axis, index, y, stream);
  const std::int64_t grain = 4 * elements_per_task / (1 + space.size());
  space.drop_inner();
  parallel_for(index.shape[0], grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t row = index_at(index, i * index.strides[0]);
      const std::byte* from = x.as<const std::byte>() + row * x.strides[axis] * element;
      std::byte* to = y.as<std::byte>() + i * y.strides[axis] * element;
      space.walk(0, space.size(),
                 [&](const auto& at) { std::memcpy(to + at[1] * element, from + at[0] * element, bytes); });
    }
  });
}

// For each of the n indices: y's row of that number += source's row of its turn, `length` elements of both, which begin
// at the offsets in `at`.
template <class T, class I>
void add_strips(const View& y, int axis, const View& index, const View& source, const Offsets2& at,
                std::int64_t length) {
  for (std::int64_t i = 0; i < index.shape[0]; ++i) {
    const std::int64_t row = index.as<const I>()[i * index.strides[0]];
    T* __restrict to = y.as<T>() + row * y.strides[axis] + at[0];
    const T* from = source.as<const T>() + i * source.strides[axis] + at[1];
    for (std::int64_t j = 0; j < length; ++j) add_to(to[j], from[j]);
  }
}

// The same with a strip of every row, a cache line wide, for a task. Strips share the work evenly however often the
// index repeats itself, which ranges of y's rows would not: a few items are most of what people read.
void index_add_rows(View y, int axis, View index, View source, Stream stream) {
  constexpr std::int64_t strip = 16;
  IndexSpace<2> space = beside(y, source, axis);
  const std::int64_t row_length = space.inner_length();
  const bool in_rows = space.inner_stride(0) == 1 && space.inner_stride(1) == 1 && row_length >= 8;
  if (!in_rows) return index_add_reference(y, axis, index, source, stream);
  space.drop_inner();
  const std::int64_t n = index.shape[0], strips = (row_length + strip - 1) / strip;
  auto add = &add_strips<float, std::int64_t>;
  with_type(SignedTypes{}, y.dtype,
            [&]<class T>(T) { with_index_type(index.dtype, [&]<class I>(I) { add = &add_strips<T, I>; }); });
  parallel_for(space.size() * strips, 1 + elements_per_task / (1 + n * strip),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t task = begin; task < end; ++task) {
                   const std::int64_t first = task % strips * strip, length = std::min(strip, row_length - first);
                   space.walk(task / strips, task / strips + 1, [&](const Offsets2& at) {
                     add(y, axis, index, source, {at[0] + first, at[1] + first}, length);
                   });
                 }
               });
}

// ---- index_range

void index_range_reference(View index, View range, Stream) {
  std::int64_t least = std::numeric_limits<std::int64_t>::max(), greatest = std::numeric_limits<std::int64_t>::min();
  const IndexSpace<1> space({index}, [](int) { return true; });
  space.walk(0, space.size(), [&](const auto& at) {
    const std::int64_t value = index_at(index, at[0]);
    least = std::min(least, value);
    greatest = std::max(greatest, value);
  });
  range.as<std::int64_t>()[0] = least;
  range.as<std::int64_t>()[range.strides[0]] = greatest;
}

// ---- top_k

// The k best of a line so far, in the memory of the results: a heap with the worst of them on top, to be beaten.
template <class T>
class Best {
 public:
  Best(T* values, std::int64_t value_step, std::int64_t* indices, std::int64_t index_step, bool largest)
      : values_(values), value_step_(value_step), indices_(indices), index_step_(index_step), largest_(largest) {}

  void put(std::int64_t slot, T value, std::int64_t index) {
    values_[slot * value_step_] = value;
    indices_[slot * index_step_] = index;
  }

  // Whether `value` belongs before `other`. NaN is the largest of all.
  bool before(T value, T other) const {
    const auto a = Compute<T>(largest_ ? value : other), b = Compute<T>(largest_ ? other : value);
    return a > b || (a != a && b == b);
  }

  bool beats_worst(T value) const { return before(value, values_[0]); }

  // Restores the heap of `size` after slot `top` changed.
  void sift_down(std::int64_t top, std::int64_t size) {
    for (std::int64_t child; (child = 2 * top + 1) < size; top = child) {
      if (child + 1 < size && precedes(child, child + 1)) ++child;
      if (precedes(child, top)) return;
      exchange(child, top);
    }
  }

  void exchange(std::int64_t a, std::int64_t b) {
    std::swap(values_[a * value_step_], values_[b * value_step_]);
    std::swap(indices_[a * index_step_], indices_[b * index_step_]);
  }

 private:
  // The order of the results: by value, equal ones by index.
  bool precedes(std::int64_t a, std::int64_t b) const {
    const T value = values_[a * value_step_], other = values_[b * value_step_];
    if (before(value, other)) return true;
    return !before(other, value) && indices_[a * index_step_] < indices_[b * index_step_];
  }

  T* values_;
  std::int64_t value_step_;
  std::int64_t* indices_;
  std::int64_t index_step_;
  bool largest_;
};

template <class T>
void top_k_line(const T* x, std::int64_t step, std::int64_t n, std::int64_t k, Best<T> best) {
  for (std::int64_t i = 0; i < k; ++i) best.put(i, x[i * step], i);
  for (std::int64_t top = k / 2; top-- > 0;) best.sift_down(top, k);
  for (std::int64_t i = k; i < n; ++i) {  // an equal element that comes later does not replace the worst
    if (!best.beats_worst(x[i * step])) continue;
    best.put(0, x[i * step], i);
    best.sift_down(0, k);
  }
  for (std::int64_t last = k - 1; last > 0; --last) {  // heap sort: the worst goes last
    best.exchange(0, last);
    best.sift_down(0, last);
  }
}

// Lines along the last axis that begin at the offsets in `at`: of x, values and indices.
template <class T>
void top_k_lines(const View& x, const View& values, const View& indices, bool largest, const Offsets3* at,
                 std::int64_t count) {
  const int axis = x.rank - 1;
  for (std::int64_t line = 0; line < count; ++line) {
    const auto [from, to, to_indices] = at[line];
    top_k_line<T>(x.as<const T>() + from, x.strides[axis], x.shape[axis], values.shape[axis],
                  {values.as<T>() + to, values.strides[axis], indices.as<std::int64_t>() + to_indices,
                   indices.strides[axis], largest});
  }
}

void top_k_reference(View x, View values, View indices, bool largest, Stream) {
  const int axis = x.rank - 1;
  if (values.shape[axis] == 0) return;
  const IndexSpace<3> lines({x, values, indices}, [axis](int other) { return other != axis; });
  auto top_k = &top_k_lines<float>;
  with_type(SignedTypes{}, x.dtype, [&]<class T>(T) { top_k = &top_k_lines<T>; });
  parallel_for(lines.size(), 1 + elements_per_task / x.shape[axis], [&](std::int64_t begin, std::int64_t end) {
    lines.walk_batches(begin, end,
                       [&](const Offsets3* at, std::int64_t count) { top_k(x, values, indices, largest, at, count); });
  });
}

const Register register_select_reference{index_select, DeviceType::cpu, "reference", &index_select_reference};
const Register register_select_rows{index_select, DeviceType::cpu, "rows", &index_select_rows, is_default};
const Register register_add_reference{index_add, DeviceType::cpu, "reference", &index_add_reference};
const Register register_add_rows{index_add, DeviceType::cpu, "rows", &index_add_rows, is_default};
const Register register_gather{gather, DeviceType::cpu, "reference", &gather_reference, is_default};
const Register register_scatter_add{scatter_add, DeviceType::cpu, "reference", &scatter_add_reference, is_default};
const Register register_index_range{index_range, DeviceType::cpu, "reference", &index_range_reference, is_default};
const Register register_top_k{top_k, DeviceType::cpu, "reference", &top_k_reference, is_default};

}  // namespace
}  // namespace heed::kernels
