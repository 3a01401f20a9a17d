// Reductions. A group of threads shares the elements of one result and folds its accumulators as a tree in shared memory;
// where there are few results of many elements each, several groups make partial accumulators of them and a second launch
// folds those, in order. No atomics: the same bits on every run.
//
// Which threads are neighbours follows the memory: along the reduced elements where x runs along those (rows), along the
// results where x runs along the results (columns).
#include "kernels/reduce/reduce.h"

#include "kernels/cuda/map.cuh"
#include "kernels/reduce/accumulators.h"

namespace heed::kernels {
namespace {

constexpr int threads = 256;
constexpr std::int64_t worth_a_piece = 2048;  // elements
constexpr std::int64_t enough_blocks = 512;   // to keep a large device busy
constexpr std::size_t partial_bytes = 1 << 20;

// Partial accumulators, between two launches in one stream.
__device__ unsigned char partials[partial_bytes];

// ---- Accumulators that differ from the CPU's

// The largest element relative to which `sum` is kept in f64; exponentials in the element's own precision.
template <class T>
struct LogSumExpOnDevice {
  using Output = T;
  Compute<T> max = -std::numeric_limits<Compute<T>>::infinity();
  double sum = 0;

  __device__ void add(Compute<T> x) { merge({x, 1}); }
  __device__ void merge(const LogSumExpOnDevice& later) {
    if (later.max > max) {
      sum = sum * ::exp(max - later.max) + later.sum;
      max = later.max;
    } else if (later.max == max) {  // here the difference of two infinities would be NaN
      sum += later.sum;
    } else {
      sum += later.sum * ::exp(later.max - max);  // a NaN comes this way
    }
  }
  __device__ Output result() const { return static_cast<T>(static_cast<Compute<T>>(max + ::log(sum))); }
};

// The extreme and where it stands; threads meet the elements in no order, so each comes with its position.
template <class T, template <class> class Order>
struct PlaceOf {
  using Output = std::int64_t;
  Compute<T> best = {};
  std::int64_t position = -1;  // none yet

  __device__ void add(Compute<T> x, std::int64_t at) { merge({x, at}); }
  __device__ void merge(const PlaceOf& other) {
    if (other.position < 0) return;
    const bool mine_is_nan = best != best, other_is_nan = other.best != other.best;
    const bool equal = best == other.best || (mine_is_nan && other_is_nan);
    const bool better = !mine_is_nan && !equal && Order<Compute<T>>::beats(other.best, best);
    if (position < 0 || better || (equal && other.position < position)) *this = other;
  }
  __device__ Output result() const { return position; }
};
template <class T>
using ArgmaxOnDevice = PlaceOf<T, Greater>;
template <class T>
using ArgminOnDevice = PlaceOf<T, Less>;

// ---- The kernels

// How a block's threads are shared out: `width` results side by side, `height` threads for each; both powers of two.
struct Shape {
  int width, height;
  bool neighbours_reduce;  // neighbouring threads share a result
  __device__ int column() const { return neighbours_reduce ? threadIdx.x / height : threadIdx.x % width; }
  __device__ int row() const { return neighbours_reduce ? threadIdx.x % height : threadIdx.x / width; }
};

// Folds the accumulators of the threads that share a result; row 0 gets the answer. Every thread must call it.
template <class Accumulator>
__device__ void fold(Accumulator& own, const Shape& shape) {
  __shared__ alignas(16) unsigned char memory[threads * sizeof(Accumulator)];
  auto* shared = reinterpret_cast<Accumulator*>(memory);
  const int row = shape.row(), place = row * shape.width + shape.column();
  for (int half = shape.height / 2; half > 0; half /= 2) {
    if (row >= half && row < 2 * half) shared[place] = own;
    __syncthreads();
    if (row < half) own.merge(shared[place + half * shape.width]);
  }
}

template <class Accumulator, class T>
__device__ void add_to(Accumulator& accumulator, T x, std::int64_t position) {
  if constexpr (requires { accumulator.add(cuda::widened(x), position); })
    accumulator.add(cuda::widened(x), position);
  else
    accumulator.add(cuda::widened(x));
}

// One launch: results [0, results) and reduced elements [0, length) of a part of each loop, `piece` of them to a block.
struct Part {
  std::uint32_t results, length, piece;
  std::int64_t first_position;  // of the part's first element among the reduced
  std::int64_t first_piece, pieces;
  Shape shape;
  cuda::Indexer<2> kept;  // y, x
  cuda::Indexer<1> reduced;
};

// y is null: to the partials, [results, pieces].
template <class Accumulator, class T>
__global__ void __launch_bounds__(threads) reduce_part(Part part, typename Accumulator::Output* y, const T* x) {
  const std::uint32_t piece = blockIdx.y, begin = piece * part.piece;
  const std::uint32_t end = begin + min(part.piece, part.length - begin);
  const std::uint32_t result = blockIdx.x * part.shape.width + part.shape.column();
  const bool works = result < part.results;
  const auto offsets = part.kept(works ? result : 0);
  Accumulator accumulator;
  if (works) {
    const T* from = x + offsets.of[1];
#pragma unroll 4
    for (std::uint32_t i = begin + part.shape.row(); i < end; i += part.shape.height)
      add_to(accumulator, from[part.reduced(i).of[0]], part.first_position + i);
  }
  fold(accumulator, part.shape);
  if (!works || part.shape.row() != 0) return;
  if (y != nullptr)
    y[offsets.of[0]] = accumulator.result();
  else
    reinterpret_cast<Accumulator*>(partials)[result * part.pieces + part.first_piece + piece] = accumulator;
}

template <class Accumulator>
__global__ void __launch_bounds__(threads) reduce_partials(std::uint32_t results, std::int64_t pieces,
                                                           cuda::Indexer<2> kept, typename Accumulator::Output* y) {
  const Shape shape{1, threads, true};
  const std::uint32_t result = blockIdx.x;
  Accumulator accumulator;
  for (std::int64_t piece = threadIdx.x; piece < pieces; piece += threads)
    accumulator.merge(reinterpret_cast<const Accumulator*>(partials)[result * pieces + piece]);
  fold(accumulator, shape);
  if (threadIdx.x == 0) y[kept(result).of[0]] = accumulator.result();
}

// ---- The host's side

int power_of_two(std::int64_t at_least, int at_most) {
  int power = 1;
  while (power < at_least && power < at_most) power *= 2;
  return power;
}

Shape shape_for(const LoopNest<2>& kept, const LoopNest<1>& reduced, std::int64_t results, std::int64_t length) {
  const std::int64_t along_reduced = reduced.strides[0][reduced.rank - 1], along_kept = kept.strides[1][kept.rank - 1];
  const bool rows = results == 1 || (length > 1 && along_reduced <= along_kept);
  if (rows) {
    const int height = power_of_two(length, threads);
    return {threads / height, height, true};
  }
  const int width = power_of_two(results, length > 8 ? 32 : threads);
  return {width, threads / width, false};
}

// A reduction's kernels for one element type, and the sizes of what they keep and write. The host's code knows no more, so
// there is one of it: as a template of the accumulator it took nearly all the time in which this file is compiled.
struct Reduction {
  const void *part, *partials;  // kernels
  std::size_t accumulator_bytes, output_bytes, element_bytes;
};

template <class T, class Accumulator>
Reduction reduction() {
  return {cuda::address_of(&reduce_part<Accumulator, T>), cuda::address_of(&reduce_partials<Accumulator>),
          sizeof(Accumulator), sizeof(typename Accumulator::Output), sizeof(T)};
}

const void* moved(const void* from, std::int64_t elements, std::size_t bytes) {
  return static_cast<const char*>(from) + elements * static_cast<std::int64_t>(bytes);
}

void reduce_as(const char* kernel, const Reduction& reduction, const View& x, const View& y, Stream stream) {
  if (y.size() == 0) return;
  const auto is_kept = [&](int axis) { return y.shape[axis] != 1; };
  const auto is_reduced = [&](int axis) { return y.shape[axis] == 1; };
  const LoopNest<2> kept = loop_nest<2>({y, x}, LoopOrder::any, 1, is_kept);
  const LoopNest<1> reduced = loop_nest<1>({x}, LoopOrder::any, 0, is_reduced);
  const std::int64_t length = cuda::size_of(reduced);

  cuda::for_each_part(kept, [&](const LoopNest<2>& results_part, const auto& at) {
    const std::int64_t results = cuda::size_of(results_part);
    const Shape shape = shape_for(results_part, reduced, results, length);
    const std::int64_t groups = cuda::divide_up(results, shape.width);
    const auto room = static_cast<std::int64_t>(partial_bytes / reduction.accumulator_bytes) / results;
    const std::int64_t wanted = std::min({enough_blocks / groups, length / worth_a_piece, room});
    std::int64_t piece = cuda::divide_up(length, std::max<std::int64_t>(wanted, 1));
    piece = std::clamp<std::int64_t>(piece, 1, cuda::max_indexed / 2);

    // Usually one part of the reduced elements, cut into `pieces`.
    std::int64_t pieces = 0;
    cuda::for_each_part(reduced, [&](const LoopNest<1>& part, const auto&) {
      pieces += std::max<std::int64_t>(cuda::divide_up(cuda::size_of(part), piece), 1);
    });
    if (pieces > std::max<std::int64_t>(room, 1)) cuda::fail(kernel, "too many elements for a CUDA device");
    const cuda::Indexer<2> results_at(results_part);
    const void *const to = moved(y.data, at[0], reduction.output_bytes), *const to_partials = nullptr;
    std::int64_t first_piece = 0, first_position = 0;
    cuda::for_each_part(reduced, [&](const LoopNest<1>& part, const auto& from) {
      const std::int64_t part_length = cuda::size_of(part);
      const std::int64_t part_pieces = std::max<std::int64_t>(cuda::divide_up(part_length, piece), 1);
      const Part launched{static_cast<std::uint32_t>(results),
                          static_cast<std::uint32_t>(part_length),
                          static_cast<std::uint32_t>(piece),
                          first_position,
                          first_piece,
                          pieces,
                          shape,
                          results_at,
                          cuda::Indexer<1>(part)};
      const dim3 grid(static_cast<unsigned>(groups), static_cast<unsigned>(part_pieces));
      const void* const elements = moved(x.data, at[1] + from[0], reduction.element_bytes);
      const void* const arguments[] = {&launched, pieces == 1 ? &to : &to_partials, &elements};
      cuda::launch_address({kernel, grid, threads, 0, stream}, reduction.part, arguments);
      first_piece += part_pieces;
      first_position += part_length;
    });
    if (pieces == 1) return;
    const auto blocks = static_cast<std::uint32_t>(results);
    const void* const arguments[] = {&blocks, &pieces, &results_at, &to};
    cuda::launch_address({kernel, blocks, threads, 0, stream}, reduction.partials, arguments);
  });
}

template <class Types, template <class> class Accumulator, auto& slot>
void reduce(View x, View y, Stream stream) {
  with_type(Types{}, x.dtype,
            [&]<class T>(T) { reduce_as(slot.name(), reduction<T, Accumulator<T>>(), x, y, stream); });
}

using EveryType = Types<float, double, BFloat16, Float16, std::int32_t, std::int64_t, std::uint8_t, bool>;
constexpr auto on_cuda = DeviceType::cuda;

const Register register_sum{reduce_sum, on_cuda, "tree", &reduce<EveryType, SumOf, reduce_sum>, is_default};
const Register register_squares{reduce_sum_of_squares, on_cuda, "tree",
                                &reduce<FloatingTypes, SumOfSquaresOf, reduce_sum_of_squares>, is_default};
const Register register_max{reduce_max, on_cuda, "tree", &reduce<EveryType, MaxOf, reduce_max>, is_default};
const Register register_min{reduce_min, on_cuda, "tree", &reduce<EveryType, MinOf, reduce_min>, is_default};
const Register register_log_sum_exp{reduce_log_sum_exp, on_cuda, "tree",
                                    &reduce<FloatingTypes, LogSumExpOnDevice, reduce_log_sum_exp>, is_default};
const Register register_argmax{reduce_argmax, on_cuda, "tree", &reduce<EveryType, ArgmaxOnDevice, reduce_argmax>,
                               is_default};
const Register register_argmin{reduce_argmin, on_cuda, "tree", &reduce<EveryType, ArgminOnDevice, reduce_argmin>,
                               is_default};
const Register register_any{reduce_any, on_cuda, "tree", &reduce<EveryType, AnyOf, reduce_any>, is_default};
const Register register_all{reduce_all, on_cuda, "tree", &reduce<EveryType, AllOf, reduce_all>, is_default};

}  // namespace
}  // namespace heed::kernels
