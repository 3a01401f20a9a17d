// Rung 1 of the ladder: the definition, row by row, for every dtype and any strides.
#include <array>
#include <cmath>
#include <limits>
#include <utility>

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

// Calls row(Row<T>...) with the rows along `axis` of views that share a shape.
template <class T, class Body, class... Views>
void for_rows(int axis, Body&& row, const Views&... views) {
  constexpr int count = sizeof...(Views);
  const std::array<View, count> all = {views...};
  const IndexSpace<count> rows(all, [axis](int other) { return other != axis; });
  parallel_for(rows.size(), 1 + 8192 / (all[0].shape[axis] + 1), [&](std::int64_t begin, std::int64_t end) {
    rows.walk(begin, end, [&](const auto& at) {
      [&]<std::size_t... i>(std::index_sequence<i...>) {
        row(Row<T>{all[i].template as<T>() + at[i], all[i].strides[axis]}...);
      }
      (std::make_index_sequence<count>());
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
void softmax_row(Row<T> x, Row<T> y, std::int64_t n) {
  using C = Compute<T>;
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
void softmax_backward_row(Row<T> y, Row<T> dy, Row<T> dx, std::int64_t n) {
  using C = Compute<T>;
  double dot = 0;
  for (std::int64_t i = 0; i < n; ++i) dot += static_cast<double>(y[i]) * static_cast<double>(dy[i]);
  for (std::int64_t i = 0; i < n; ++i) dx.set(i, y[i] * (dy[i] - static_cast<C>(dot)));
}

template <class T>
void log_softmax_row(Row<T> x, Row<T> y, std::int64_t n) {
  using C = Compute<T>;
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
void log_softmax_backward_row(Row<T> y, Row<T> dy, Row<T> dx, std::int64_t n) {
  using C = Compute<T>;
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += dy[i];
  for (std::int64_t i = 0; i < n; ++i) dx.set(i, dy[i] - std::exp(y[i]) * static_cast<C>(sum));
}

}  // namespace

void softmax_forward_reference(View x, View y, int axis, Stream) {
  const std::int64_t n = x.shape[axis];
  with_floating_type(x.dtype, [&]<class T>(T) {
    for_rows<T>(
        axis, [n](Row<T> x, Row<T> y) { softmax_row(x, y, n); }, x, y);
  });
}

void softmax_backward_reference(View y, View dy, View dx, int axis, Stream) {
  const std::int64_t n = y.shape[axis];
  with_floating_type(y.dtype, [&]<class T>(T) {
    for_rows<T>(
        axis, [n](Row<T> y, Row<T> dy, Row<T> dx) { softmax_backward_row(y, dy, dx, n); }, y, dy, dx);
  });
}

void log_softmax_forward_reference(View x, View y, int axis, Stream) {
  const std::int64_t n = x.shape[axis];
  with_floating_type(x.dtype, [&]<class T>(T) {
    for_rows<T>(
        axis, [n](Row<T> x, Row<T> y) { log_softmax_row(x, y, n); }, x, y);
  });
}

void log_softmax_backward_reference(View y, View dy, View dx, int axis, Stream) {
  const std::int64_t n = y.shape[axis];
  with_floating_type(y.dtype, [&]<class T>(T) {
    for_rows<T>(
        axis, [n](Row<T> y, Row<T> dy, Row<T> dx) { log_softmax_backward_row(y, dy, dx, n); }, y, dy, dx);
  });
}

namespace {

const Register forward{softmax_forward, DeviceType::cpu, "reference", &softmax_forward_reference};
const Register backward{softmax_backward, DeviceType::cpu, "reference", &softmax_backward_reference};
const Register log_forward{log_softmax_forward, DeviceType::cpu, "reference", &log_softmax_forward_reference};
const Register log_backward{log_softmax_backward, DeviceType::cpu, "reference", &log_softmax_backward_reference};

}  // namespace
}  // namespace heed::kernels
