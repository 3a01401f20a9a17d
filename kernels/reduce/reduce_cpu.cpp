// The reductions as plainly as they can be said: every element of y walks over its elements of x. The way over y is
// compiled once; a fold is a function for each accumulator and type, called through a pointer for a batch of y's elements.
#include <array>

#include "kernels/cpu/index_space.h"
#include "kernels/cpu/parallel.h"
#include "kernels/dtypes.h"
#include "kernels/reduce/accumulators.h"
#include "kernels/reduce/reduce.h"
#include "kernels/reduce/reference.h"

namespace heed::kernels {
namespace {

// Some elements of y, by their offsets, and where in x those begin that are folded into them.
struct Elements {
  const View &x, &y;
  const std::array<std::int64_t, 2>* at;
  std::int64_t count;
};

// Where a line along the fastest axis begins.
std::int64_t offset_of_line(const LoopNest<1>& nest, std::int64_t line) {
  std::int64_t offset = 0;
  for (int axis = nest.rank - 2; axis >= 0 && line > 0; line /= nest.shape[axis--])
    offset += line % nest.shape[axis] * nest.strides[0][axis];
  return offset;
}

template <class T, class Accumulator>
void fold(const Elements& elements, const LoopNest<1>& reduced, std::int64_t lines) {
  const std::int64_t n = reduced.shape[reduced.rank - 1], stride = reduced.strides[0][reduced.rank - 1];
  for (std::int64_t i = 0; i < elements.count; ++i) {
    Accumulator accumulator;
    const T* const from = elements.x.as<const T>() + elements.at[i][0];
    for (std::int64_t line = 0; line < lines; ++line) {
      const T* const x = from + offset_of_line(reduced, line);
      for (std::int64_t j = 0; j < n; ++j) accumulator.add(static_cast<Compute<T>>(x[j * stride]));
    }
    elements.y.as<typename Accumulator::Output>()[elements.at[i][1]] = accumulator.result();
  }
}

void reduce(const View& x, const View& y, void (*fold)(const Elements&, const LoopNest<1>&, std::int64_t)) {
  const IndexSpace<2> kept({x, y}, [&](int axis) { return y.shape[axis] != 1; });
  const auto reduced = loop_nest<1>({x}, LoopOrder::any, 0, [&](int axis) { return y.shape[axis] == 1; });
  std::int64_t lines = 1;
  for (int axis = 0; axis < reduced.rank - 1; ++axis) lines *= reduced.shape[axis];
  const std::int64_t size = lines * reduced.shape[reduced.rank - 1];
  parallel_for(kept.size(), 1 + 16384 / (size + 1), [&](std::int64_t begin, std::int64_t end) {
    kept.walk_batches(begin, end, [&](const auto* at, std::int64_t count) { fold({x, y, at, count}, reduced, lines); });
  });
}

template <template <class> class Accumulator>
void reduce_floating(const View& x, const View& y) {
  with_floating_type(x.dtype, [&]<class T>(T) { reduce(x, y, &fold<T, Accumulator<T>>); });
}

template <template <class> class Accumulator>
void reduce_every(const View& x, const View& y) {
  with_type(x.dtype, [&]<class T>(T) { reduce(x, y, &fold<T, Accumulator<T>>); });
}

}  // namespace

void sum_reference(View x, View y, Stream) {
  reduce_every<SumOf>(x, y);
}
void sum_of_squares_reference(View x, View y, Stream) {
  reduce_floating<SumOfSquaresOf>(x, y);
}
void max_reference(View x, View y, Stream) {
  reduce_every<MaxOf>(x, y);
}
void min_reference(View x, View y, Stream) {
  reduce_every<MinOf>(x, y);
}
void log_sum_exp_reference(View x, View y, Stream) {
  reduce_floating<LogSumExpOf>(x, y);
}
void argmax_reference(View x, View y, Stream) {
  reduce_every<ArgmaxOf>(x, y);
}
void argmin_reference(View x, View y, Stream) {
  reduce_every<ArgminOf>(x, y);
}

namespace {

void any(View x, View y, Stream) {
  reduce_every<AnyOf>(x, y);
}
void all(View x, View y, Stream) {
  reduce_every<AllOf>(x, y);
}

const Register register_sum{reduce_sum, DeviceType::cpu, "reference", &sum_reference};
const Register register_squares{reduce_sum_of_squares, DeviceType::cpu, "reference", &sum_of_squares_reference};
const Register register_max{reduce_max, DeviceType::cpu, "reference", &max_reference};
const Register register_min{reduce_min, DeviceType::cpu, "reference", &min_reference};
const Register register_lse{reduce_log_sum_exp, DeviceType::cpu, "reference", &log_sum_exp_reference};
const Register register_argmax{reduce_argmax, DeviceType::cpu, "reference", &argmax_reference};
const Register register_argmin{reduce_argmin, DeviceType::cpu, "reference", &argmin_reference};
const Register register_any{reduce_any, DeviceType::cpu, "reference", &any, is_default};
const Register register_all{reduce_all, DeviceType::cpu, "reference", &all, is_default};

}  // namespace
}  // namespace heed::kernels
