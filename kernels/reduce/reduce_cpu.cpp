// The reductions as plainly as they can be said: every element of y walks over its elements of x.
#include "kernels/cpu/index_space.h"
#include "kernels/cpu/parallel.h"
#include "kernels/dtypes.h"
#include "kernels/reduce/accumulators.h"
#include "kernels/reduce/reduce.h"
#include "kernels/reduce/reference.h"

namespace heed::kernels {
namespace {

template <class T, class Accumulator>
void reduce_as(const View& x, const View& y) {
  const IndexSpace<2> kept({x, y}, [&](int axis) { return y.shape[axis] != 1; });
  const IndexSpace<1> reduced({x}, [&](int axis) { return y.shape[axis] == 1; });
  parallel_for(kept.size(), 1 + 16384 / (reduced.size() + 1), [&](std::int64_t begin, std::int64_t end) {
    kept.walk(begin, end, [&](const auto& at) {
      Accumulator accumulator;
      const T* from = x.as<T>() + at[0];
      reduced.walk(0, reduced.size(),
                   [&](const auto& step) { accumulator.add(static_cast<Compute<T>>(from[step[0]])); });
      y.as<typename Accumulator::Output>()[at[1]] = accumulator.result();
    });
  });
}

template <template <class> class Accumulator>
void reduce_floating(const View& x, const View& y) {
  with_floating_type(x.dtype, [&]<class T>(T) { reduce_as<T, Accumulator<T>>(x, y); });
}

template <template <class> class Accumulator>
void reduce_every(const View& x, const View& y) {
  with_type(x.dtype, [&]<class T>(T) { reduce_as<T, Accumulator<T>>(x, y); });
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
