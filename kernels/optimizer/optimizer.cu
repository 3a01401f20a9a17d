// The optimisers: one launch for all tensors of a model. What a launch needs to know of them travels as its parameter, so no
// table has to be copied to the device first.
#include <cmath>

#include "kernels/cuda/rows.cuh"
#include "kernels/dtypes.h"
#include "kernels/optimizer/optimizer.h"

namespace heed::kernels::cuda {
namespace {

constexpr int block = 256, per_thread = 4;
constexpr std::int64_t chunk = block * per_thread;  // elements of one block

// Where the elements of a tensor lie that may have any strides.
struct Layout {
  LoopNest<1> nest;
  explicit Layout(const View& view) : nest(loop_nest(std::array<View, 1>{view}, LoopOrder::logical, 0)) {}
  __device__ std::int64_t offset(std::int64_t number) const {
    std::int64_t at = 0;
    for (int axis = nest.rank - 1; axis > 0; --axis) {
      at += number % nest.shape[axis] * nest.strides[0][axis];
      number /= nest.shape[axis];
    }
    return at + number * nest.strides[0][0];
  }
};

// As many items as fit into the parameters of a launch. Item has `first_block`, the number of the first of its blocks.
template <class Item>
struct Table {
  static constexpr int capacity = (32'000 - 16) / sizeof(Item);
  int count = 0;
  unsigned blocks = 0;
  Item items[capacity];

  bool full() const { return count == capacity; }
  void add(const Item& item, std::int64_t elements, std::int64_t per_block) {
    items[count] = item;
    items[count++].first_block = blocks;
    blocks += blocks_for(elements, per_block);
  }
  // The item that a block works for.
  __device__ const Item& of_block(unsigned number) const {
    int low = 0, high = count - 1;
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (items[middle].first_block <= number) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return items[low];
  }
};

// ---- one element

// The numbers of one step, rounded to the parameter's type where PyTorch rounds them.
template <class T>
struct AdamNumbers {
  T scale, shrink, l2, mean_weight, beta2, square_weight, eps;
  explicit AdamNumbers(const AdamOptions& o)
      : scale(static_cast<T>(o.gradient_scale)),
        shrink(static_cast<T>(o.decoupled ? 1 - o.lr * o.weight_decay : 1)),
        l2(static_cast<T>(o.decoupled ? 0 : o.weight_decay)),
        mean_weight(static_cast<T>(1 - o.beta1)),
        beta2(static_cast<T>(o.beta2)),
        square_weight(static_cast<T>(1 - o.beta2)),
        eps(static_cast<T>(o.eps)) {}
};

template <class T>
struct AdamItem {
  using Numbers = AdamNumbers<T>;
  T* parameter;
  const T* gradient;
  T *exp_avg, *exp_avg_sq;
  const std::int64_t* rows;  // null: all
  std::int64_t row_length, size;
  T minus_step_size, bias_correction2_root;
  unsigned first_block;

  AdamItem() = default;
  AdamItem(const AdamSlice& slice, const AdamOptions& o)
      : parameter(slice.parameter.as<T>()),
        gradient(slice.gradient.as<const T>()),
        exp_avg(slice.exp_avg.as<T>()),
        exp_avg_sq(slice.exp_avg_sq.as<T>()),
        rows(slice.rows.as<const std::int64_t>()),
        row_length(rows == nullptr ? 1 : slice.gradient.size() / slice.rows.shape[0]),
        size(slice.gradient.size()),
        minus_step_size(static_cast<T>(-o.lr / (1 - std::pow(o.beta1, slice.step)))),
        bias_correction2_root(static_cast<T>(std::sqrt(1 - std::pow(o.beta2, slice.step)))) {}

  __device__ void update(const Numbers& numbers, std::int64_t at, T gradient) const {
    T p = parameter[at], m = exp_avg[at], v = exp_avg_sq[at], g = numbers.scale * gradient;
    if (numbers.l2 != 0) g += numbers.l2 * p;
    m += numbers.mean_weight * (g - m);
    v = numbers.beta2 * v + numbers.square_weight * g * g;
    p = p * numbers.shrink + minus_step_size * m / (sqrt(v) / bias_correction2_root + numbers.eps);
    parameter[at] = p, exp_avg[at] = m, exp_avg_sq[at] = v;
  }
};

template <class T>
struct SgdNumbers {
  T scale, l2, momentum, minus_lr;
  bool nesterov;
  explicit SgdNumbers(const SgdOptions& o)
      : scale(static_cast<T>(o.gradient_scale)),
        l2(static_cast<T>(o.weight_decay)),
        momentum(static_cast<T>(o.momentum)),
        minus_lr(static_cast<T>(-o.lr)),
        nesterov(o.nesterov) {}
};

template <class T>
struct SgdItem {
  using Numbers = SgdNumbers<T>;
  T* parameter;
  const T* gradient;
  T* momentum;  // null: none
  const std::int64_t* rows;
  std::int64_t row_length, size;
  unsigned first_block;

  SgdItem() = default;
  SgdItem(const SgdSlice& slice, const SgdOptions& o)
      : parameter(slice.parameter.as<T>()),
        gradient(slice.gradient.as<const T>()),
        momentum(o.momentum == 0 ? nullptr : slice.momentum.as<T>()),
        rows(slice.rows.as<const std::int64_t>()),
        row_length(rows == nullptr ? 1 : slice.gradient.size() / slice.rows.shape[0]),
        size(slice.gradient.size()) {}

  __device__ void update(const Numbers& numbers, std::int64_t at, T gradient) const {
    T p = parameter[at], g = numbers.scale * gradient;
    if (numbers.l2 != 0) g += numbers.l2 * p;
    if (momentum != nullptr) {
      const T m = numbers.momentum * momentum[at] + g;
      momentum[at] = m;
      g = numbers.nesterov ? g + numbers.momentum * m : m;
    }
    parameter[at] = p + numbers.minus_lr * g;
  }
};

// ---- all elements

// A thread has `per_thread` elements, a block apart; the rows of a row-sparse slice make the parameter jump.
template <class Item>
__global__ void __launch_bounds__(block)
    update_kernel(const __grid_constant__ Table<Item> table, const typename Item::Numbers numbers) {
  const Item& item = table.of_block(blockIdx.x);
  const std::int64_t first = (blockIdx.x - item.first_block) * chunk + threadIdx.x;
#pragma unroll
  for (int k = 0; k < per_thread; ++k) {
    const std::int64_t i = first + k * block;
    if (i >= item.size) break;
    const std::int64_t at =
        item.rows == nullptr ? i : item.rows[i / item.row_length] * item.row_length + i % item.row_length;
    item.update(numbers, at, item.gradient[i]);
  }
}

// One tensor whose gradient has strides.
template <class Item>
__global__ void __launch_bounds__(block) update_strided_kernel(const Item item, const __grid_constant__ Layout gradient,
                                                               const typename Item::Numbers numbers) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * block + threadIdx.x;
  if (i >= item.size) return;
  const std::int64_t at =
      item.rows == nullptr ? i : item.rows[i / item.row_length] * item.row_length + i % item.row_length;
  item.update(numbers, at, item.gradient[gradient.offset(i)]);
}

template <class Item, class Slice, class Options>
void update_as(const char* name, std::span<const Slice> slices, const Options& options, Dtype dtype, Stream stream) {
  const typename Item::Numbers numbers(options);
  Table<Item> table;
  const auto flush = [&] {
    launch({name, table.blocks, block, 0, stream}, &update_kernel<Item>, table, numbers);
    table.count = 0, table.blocks = 0;
  };
  for (const Slice& slice : slices) {
    if (slice.parameter.dtype != dtype || slice.gradient.size() == 0) continue;
    const Item item(slice, options);
    if (slice.gradient.is_contiguous()) {
      if (table.full()) flush();
      table.add(item, item.size, chunk);
    } else {
      launch({name, blocks_for(item.size, block), block, 0, stream}, &update_strided_kernel<Item>, item,
             Layout(slice.gradient), numbers);
    }
  }
  flush();
}

void adam_cuda(std::span<const AdamSlice> slices, AdamOptions options, Stream stream) {
  update_as<AdamItem<float>>(adam.name(), slices, options, Dtype::f32, stream);
  update_as<AdamItem<double>>(adam.name(), slices, options, Dtype::f64, stream);
}

void sgd_cuda(std::span<const SgdSlice> slices, SgdOptions options, Stream stream) {
  update_as<SgdItem<float>>(sgd.name(), slices, options, Dtype::f32, stream);
  update_as<SgdItem<double>>(sgd.name(), slices, options, Dtype::f64, stream);
}

// ---- sum_of_squares

struct Squares {
  const void* data;
  std::int64_t size;
  bool f64;
  unsigned first_block;
};

template <class T, class Offset>
__device__ double sum_of_squares_of(const T* x, std::int64_t first, std::int64_t size, std::int64_t step,
                                    Offset&& offset) {
  double sum = 0;
  for (std::int64_t i = first; i < size; i += step) {
    const double value = x[offset(i)];
    sum += value * value;
  }
  return sum;
}

// Each block adds up every 256th stretch of all tensors and puts its sum into its place, or onto what is there. Which
// elements a block gets depends on the sizes alone.
__global__ void __launch_bounds__(block)
    squares_kernel(const __grid_constant__ Table<Squares> table, double* sums, bool add) {
  double sum = 0;
  for (unsigned number = blockIdx.x; number < table.blocks; number += gridDim.x) {
    const Squares& tensor = table.of_block(number);
    const std::int64_t begin = (number - tensor.first_block) * chunk;
    const std::int64_t end = min(begin + chunk, tensor.size);
    const auto dense = [](std::int64_t i) { return i; };
    const auto first = begin + threadIdx.x;
    sum += tensor.f64 ? sum_of_squares_of(static_cast<const double*>(tensor.data), first, end, block, dense)
                      : sum_of_squares_of(static_cast<const float*>(tensor.data), first, end, block, dense);
  }
  sum = block_sum<block>(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = add ? sums[blockIdx.x] + sum : sum;
}

// One tensor with strides.
template <class T>
__global__ void __launch_bounds__(block)
    strided_squares_kernel(const T* x, std::int64_t size, const __grid_constant__ Layout layout, double* sums) {
  const double sum =
      sum_of_squares_of(x, static_cast<std::int64_t>(blockIdx.x) * block + threadIdx.x, size,
                        static_cast<std::int64_t>(gridDim.x) * block, [&](std::int64_t i) { return layout.offset(i); });
  const double all = block_sum<block>(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] += all;
}

__global__ void __launch_bounds__(block) add_sums_kernel(const double* sums, double* result) {
  const double sum = block_sum<block>(sums[threadIdx.x]);
  if (threadIdx.x == 0) *result = sum;
}

void sum_of_squares_cuda(std::span<const View> tensors, View workspace, View result, Stream stream) {
  static_assert(sum_of_squares_workspace == block);
  const char* const name = sum_of_squares.name();
  auto* const sums = workspace.as<double>();
  Table<Squares> table;
  bool add = false;
  const auto flush = [&] {
    launch({name, block, block, 0, stream}, &squares_kernel, table, sums, add);
    add = true, table.count = 0, table.blocks = 0;
  };
  for (const View& tensor : tensors) {
    if (!tensor.is_contiguous() || tensor.size() == 0) continue;
    if (table.full()) flush();
    table.add({tensor.data, tensor.size(), tensor.dtype == Dtype::f64, 0}, tensor.size(), chunk);
  }
  flush();
  for (const View& tensor : tensors) {
    if (tensor.is_contiguous()) continue;
    with_type(Types<float, double>(), tensor.dtype, [&]<class T>(T) {
      launch({name, std::min(blocks_for(tensor.size(), block), unsigned{block}), block, 0, stream},
             &strided_squares_kernel<T>, tensor.as<const T>(), tensor.size(), Layout(tensor), sums);
    });
  }
  launch({name, 1, block, 0, stream}, &add_sums_kernel, sums, result.as<double>());
}

constexpr DeviceType gpu = DeviceType::cuda;
const Register register_adam{adam, gpu, "one_launch", &adam_cuda, is_default};
const Register register_sgd{sgd, gpu, "one_launch", &sgd_cuda, is_default};
const Register register_squares{sum_of_squares, gpu, "two_launches", &sum_of_squares_cuda, is_default};

}  // namespace
}  // namespace heed::kernels::cuda
