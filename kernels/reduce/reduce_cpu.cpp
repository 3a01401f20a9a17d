// The reductions as plainly as they can be said: every element of y meets its elements of x one by one. They come in
// contiguous blocks (kernels/cpu/loops.h), so the walk over the axes is compiled once, and a reduction is a fold over
// plain memory.
#include <cstddef>
#include <new>
#include <type_traits>

#include "kernels/cpu/loops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/reduce/accumulators.h"
#include "kernels/reduce/reduce.h"
#include "kernels/reduce/reference.h"

namespace heed::kernels {
namespace {

// An accumulator (accumulators.h) without its type.
struct Fold {
  std::size_t input_size, output_size;
  void (*start)(void* accumulator);
  void (*add)(void* accumulator, const void* x, std::int64_t n);
  void (*finish)(const void* accumulator, void* result);
};

inline constexpr std::size_t largest_accumulator = 32;

template <class Accumulator, class C>
constexpr Fold fold_of{
    sizeof(C), sizeof(typename Accumulator::Output), [](void* accumulator) { new (accumulator) Accumulator; },
    [](void* accumulator, const void* x, std::int64_t n) {
      static_assert(sizeof(Accumulator) <= largest_accumulator && std::is_trivially_destructible_v<Accumulator>);
      Accumulator sum = *static_cast<Accumulator*>(accumulator);
      for (std::int64_t i = 0; i < n; ++i) sum.add(static_cast<const C*>(x)[i]);
      *static_cast<Accumulator*>(accumulator) = sum;
    },
    [](const void* accumulator, void* result) {
      *static_cast<typename Accumulator::Output*>(result) = static_cast<const Accumulator*>(accumulator)->result();
    }};

void reduce(const View& x, const View& y, const Fold& fold) {
  const auto kept = loop_nest<2>({x, y}, LoopOrder::any, 0, [&](int axis) { return y.shape[axis] != 1; });
  const auto reduced = loop_nest<1>({x}, LoopOrder::any, 0, [&](int axis) { return y.shape[axis] == 1; });
  const ElementFormat &x_format = element_format(x.dtype, fold.input_size),
                      &y_format = element_format(y.dtype, fold.output_size);
  std::int64_t size = 1;
  for (int axis = 0; axis < reduced.rank; ++axis) size *= reduced.shape[axis];
  parallel_for(y.size(), 1 + 16384 / (size + 1), [&](std::int64_t begin, std::int64_t end) {
    LoopOperand elements;
    LoopCursor output(kept.shape, kept.rank, begin);
    for (; begin < end; ++begin, output.advance_in_run(1)) {
      alignas(std::max_align_t) std::byte accumulator[largest_accumulator], result[sizeof(double)];
      fold.start(accumulator);
      std::byte* const from = x.as<std::byte>() + output.offset(kept.strides[0]) * x_format.size;
      elements.place(from, x_format, reduced.strides[0], reduced.shape, reduced.rank);
      for (std::int64_t done = 0, n; done < size; done += n) {
        n = std::min(size - done, block_elements);
        fold.add(accumulator, elements.load(LoopCursor(reduced.shape, reduced.rank, done), n), n);
      }
      fold.finish(accumulator, result);
      y_format.store(result, 1, output, kept.strides[1], y.as<std::byte>());
    }
  });
}

template <template <class> class Accumulator, class ComputeTypes>
void reduce_as(const View& x, const View& y) {
  const Dtype dtype = x.dtype == Dtype::boolean ? Dtype::u8 : x.dtype;  // a boolean is read as the byte that it is
  with_compute_type(ComputeTypes{}, dtype, [&]<class C>(C) { reduce(x, y, fold_of<Accumulator<C>, C>); });
}

}  // namespace

void sum_reference(View x, View y, Stream) {
  reduce_as<SumOf, NumericComputeTypes>(x, y);
}
void sum_of_squares_reference(View x, View y, Stream) {
  reduce_as<SumOfSquaresOf, FloatingComputeTypes>(x, y);
}
void max_reference(View x, View y, Stream) {
  reduce_as<MaxOf, NumericComputeTypes>(x, y);
}
void min_reference(View x, View y, Stream) {
  reduce_as<MinOf, NumericComputeTypes>(x, y);
}
void log_sum_exp_reference(View x, View y, Stream) {
  reduce_as<LogSumExpOf, FloatingComputeTypes>(x, y);
}
void argmax_reference(View x, View y, Stream) {
  reduce_as<ArgmaxOf, NumericComputeTypes>(x, y);
}
void argmin_reference(View x, View y, Stream) {
  reduce_as<ArgminOf, NumericComputeTypes>(x, y);
}

namespace {

void any(View x, View y, Stream) {
  reduce_as<AnyOf, NumericComputeTypes>(x, y);
}
void all(View x, View y, Stream) {
  reduce_as<AllOf, NumericComputeTypes>(x, y);
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
