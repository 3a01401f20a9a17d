// Rung 1 of the ladder: the definition, row by row, for every dtype and any strides.
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

#include "kernels/cpu/index_space.h"
#include "kernels/cpu/parallel.h"
#include "kernels/dtypes.h"
#include "kernels/softmax/reference.h"
#include "kernels/softmax/softmax.h"

namespace heed::kernels {
namespace {

// The elements of one row, `stride` apart; they are read and written in the type that is computed with.
template <class T>
struct Row {
  T* data;
  std::int64_t stride;
  Compute<T> operator[](std::int64_t i) const { return static_cast<Compute<T>>(data[i * stride]); }
  void set(std::int64_t i, Compute<T> value) const { data[i * stride] = static_cast<T>(value); }
};

// The rows of up to three views that lie at one position of the axes beside them.
struct Rows {
  std::byte* data[3];
  std::int64_t strides[3], length;

  template <class T>
  Row<T> row(int view) const {
    return {reinterpret_cast<T*>(data[view]), strides[view]};
  }
};

// Calls body with the rows along `axis` of views that share a shape and a dtype.
template <std::size_t count>
void for_rows(const std::array<View, count>& views, int axis, void (*body)(const Rows&)) {
  const IndexSpace<count> beside(views, [axis](int other) { return other != axis; });
  const std::int64_t n = views[0].shape[axis], size = static_cast<std::int64_t>(size_of(views[0].dtype));
  parallel_for(beside.size(), 1 + 8192 / (n + 1), [&](std::int64_t begin, std::int64_t end) {
    Rows rows{.length = n};
    for (std::size_t v = 0; v < count; ++v) rows.strides[v] = views[v].strides[axis];
    beside.walk(begin, end, [&](const auto& at) {
      for (std::size_t v = 0; v < count; ++v) rows.data[v] = views[v].template as<std::byte>() + at[v] * size;
      body(rows);
    });
  });
}

// NaN when there is one in the row.
template <class T>
Compute<T> max_of(Row<T> x, std::int64_t n) {
  auto max = -std::numeric_limits<Compute<T>>::infinity();
  for (std::int64_t i = 0; i < n; ++i) {
    if (x[i] > max || std::isnan(x[i])) max = x[i];
  }
  return max;
}

// The largest element is subtracted first: exp of any row then stays within [0, 1], and one term of the sum is 1.
template <class T>
void softmax_row(const Rows& rows) {
  using C = Compute<T>;
  const Row<T> x = rows.row<T>(0), y = rows.row<T>(1);
  const std::int64_t n = rows.length;
  const C max = max_of(x, n);
  if (max == -std::numeric_limits<C>::infinity()) {  // nothing to attend to
    for (std::int64_t i = 0; i < n; ++i) y.set(i, 0);
    return;
  }
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - max);
  for (std::int64_t i = 0; i < n; ++i) y.set(i, std::exp(x[i] - max) / static_cast<C>(sum));
}

// The Jacobian of softmax is diag(y) - y y^T; against a vector it needs no matrix, only the dot product of y and dy.
template <class T>
void softmax_backward_row(const Rows& rows) {
  using C = Compute<T>;
  const Row<T> y = rows.row<T>(0), dy = rows.row<T>(1), dx = rows.row<T>(2);
  const std::int64_t n = rows.length;
  double dot = 0;
  for (std::int64_t i = 0; i < n; ++i) dot += static_cast<double>(y[i]) * static_cast<double>(dy[i]);
  for (std::int64_t i = 0; i < n; ++i) dx.set(i, y[i] * (dy[i] - static_cast<C>(dot)));
}

template <class T>
void log_softmax_row(const Rows& rows) {
  using C = Compute<T>;
  const Row<T> x = rows.row<T>(0), y = rows.row<T>(1);
  const std::int64_t n = rows.length;
  const C max = max_of(x, n);
  if (max == -std::numeric_limits<C>::infinity()) {
    for (std::int64_t i = 0; i < n; ++i) y.set(i, max);
    return;
  }
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - max);
  const C log_sum = static_cast<C>(std::log(sum));
  for (std::int64_t i = 0; i < n; ++i) y.set(i, x[i] - max - log_sum);
}

template <class T>
void log_softmax_backward_row(const Rows& rows) {
  using C = Compute<T>;
  const Row<T> y = rows.row<T>(0), dy = rows.row<T>(1), dx = rows.row<T>(2);
  const std::int64_t n = rows.length;
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += dy[i];
  for (std::int64_t i = 0; i < n; ++i) dx.set(i, dy[i] - std::exp(y[i]) * static_cast<C>(sum));
}

}  // namespace

void softmax_forward_reference(View x, View y, int axis, Stream) {
  with_floating_type(x.dtype, [&]<class T>(T) { for_rows<2>({x, y}, axis, &softmax_row<T>); });
}

void softmax_backward_reference(View y, View dy, View dx, int axis, Stream) {
  with_floating_type(y.dtype, [&]<class T>(T) { for_rows<3>({y, dy, dx}, axis, &softmax_backward_row<T>); });
}

void log_softmax_forward_reference(View x, View y, int axis, Stream) {
  with_floating_type(x.dtype, [&]<class T>(T) { for_rows<2>({x, y}, axis, &log_softmax_row<T>); });
}

void log_softmax_backward_reference(View y, View dy, View dx, int axis, Stream) {
  with_floating_type(y.dtype, [&]<class T>(T) { for_rows<3>({y, dy, dx}, axis, &log_softmax_backward_row<T>); });
}

namespace {

const Register forward{softmax_forward, DeviceType::cpu, "reference", &softmax_forward_reference};
const Register backward{softmax_backward, DeviceType::cpu, "reference", &softmax_backward_reference};
const Register log_forward{log_softmax_forward, DeviceType::cpu, "reference", &log_softmax_forward_reference};
const Register log_backward{log_softmax_backward, DeviceType::cpu, "reference", &log_softmax_backward_reference};

}  // namespace
}  // namespace heed::kernels
