#include "examples/custom_kernel/sink_softmax.h"

#include <algorithm>
#include <cmath>

#include "engine/operation.h"
#include "engine/ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/softmax/softmax.h"

namespace sink {
namespace {

using namespace heed;

// ---- The kernel: plain views in, numbers out. Two variants in one slot.

// The sink's score is 0, so the maximum is at least 0: exp never overflows, and a row of -inf needs no special case.
template <class T>
void one_row(const T* x, T* y, std::int64_t n) {
  T max = 0;
  for (std::int64_t i = 0; i < n; ++i) max = std::max(max, x[i]);
  T sum = std::exp(-max);
  for (std::int64_t i = 0; i < n; ++i) sum += y[i] = std::exp(x[i] - max);
  for (std::int64_t i = 0; i < n; ++i) y[i] /= sum;
}

template <class T>
void rows(View x, View y, std::int64_t begin, std::int64_t end) {
  const std::int64_t n = x.shape[1];
  for (std::int64_t row = begin; row < end; ++row) one_row(x.as<const T>() + row * n, y.as<T>() + row * n, n);
}

void one_thread(View x, View y, Stream) {
  x.dtype == Dtype::f32 ? rows<float>(x, y, 0, x.shape[0]) : rows<double>(x, y, 0, x.shape[0]);
}

void all_threads(View x, View y, Stream) {
  kernels::parallel_for(x.shape[0], 1 + 4096 / (x.shape[1] + 1), [=](std::int64_t begin, std::int64_t end) {
    x.dtype == Dtype::f32 ? rows<float>(x, y, begin, end) : rows<double>(x, y, begin, end);
  });
}

const kernels::Register simple{softmax_forward, DeviceType::cpu, "one_thread", &one_thread};
const kernels::Register fast{softmax_forward, DeviceType::cpu, "all_threads", &all_threads, kernels::is_default};

}  // namespace

// ---- The operation: checks, memory, the kernel, and the way back.

Tensor softmax(const Tensor& x) {
  Operation op("sink_softmax");
  op.check(x.dtype() == Dtype::f32 || x.dtype() == Dtype::f64, "x is {}, neither f32 nor f64", x.dtype());
  const int axis = op.axis(-1, x.shape());
  const Tensor flat = x.detach().reshape({x.size(axis) == 0 ? 0 : -1, x.size(axis)}).contiguous();  // [rows, n]
  const Tensor y = empty(x.shape(), x.options());
  softmax_forward(flat.view(), y.reshape(flat.shape()).view(), op.stream(x));
  return op.record(
      y, {x},
      [axis](const Upstream& up) -> Gradients {
        const Tensor y = up.y();
        const Tensor& dy = up.dy();
        if (up.create_graph()) return {y * (dy - sum(y * dy, {axis}, true))};  // to be differentiated once more
        const Tensor dx = empty_like(y);
        kernels::softmax_backward(y.view(), dy.view(), dx.view(), axis, Stream{y.device(), nullptr});
        return {dx};
      },
      save_output);
}

}  // namespace sink
