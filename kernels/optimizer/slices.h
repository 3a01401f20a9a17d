// What the CPU variants of the optimisers share: the walk over all slices, and the arithmetic of one element.
#pragma once

#include <cmath>
#include <span>

#include "kernels/cpu/parallel.h"
#include "kernels/optimizer/optimizer.h"

namespace heed::kernels {

inline const View& elements_of(const View& tensor) {
  return tensor;
}
inline const View& elements_of(const AdamSlice& slice) {
  return slice.gradient;
}
inline const View& elements_of(const SgdSlice& slice) {
  return slice.gradient;
}

template <class Item>
std::int64_t total_size(std::span<const Item> items) {
  std::int64_t total = 0;
  for (const Item& item : items) total += elements_of(item).size();
  return total;
}

// Takes the elements of all items for one array and calls visit(item, from, to) for what [begin, end) of it holds of each.
template <class Item, class Visit>
void for_each_range(std::span<const Item> items, std::int64_t begin, std::int64_t end, Visit&& visit) {
  std::int64_t first = 0;  // where the item starts
  for (const Item& item : items) {
    if (first >= end) return;
    const std::int64_t size = elements_of(item).size();
    const std::int64_t from = std::max(begin - first, std::int64_t{0}), to = std::min(end - first, size);
    if (from < to) visit(item, from, to);
    first += size;
  }
}

// The same for all elements, in parallel: small slices share a task, a large one is many.
template <class Item, class Visit>
void for_each_range_in_parallel(std::span<const Item> items, Visit&& visit) {
  parallel_for(total_size(items), 16'384,
               [&](std::int64_t begin, std::int64_t end) { for_each_range(items, begin, end, visit); });
}

// Calls visit(parameter_offset, gradient_offset, count) for elements [from, to) of a slice's gradient, cut where the
// rows of a row-sparse slice make the parameter jump.
template <class Slice, class Visit>
void for_each_segment(const Slice& slice, std::int64_t from, std::int64_t to, Visit&& visit) {
  if (slice.rows.data == nullptr) return visit(from, from, to - from);
  const std::int64_t row_length = slice.gradient.size() / slice.rows.shape[0];
  while (from < to) {
    const std::int64_t row = slice.rows.template as<const std::int64_t>()[from / row_length],
                       within = from % row_length;
    const std::int64_t count = std::min(to - from, row_length - within);
    visit(row * row_length + within, from, count);
    from += count;
  }
}

// All tensors as one array, cut into parts that depend on its length alone; sum_part(tensor, from, to) gives the sum of
// a part, and the parts are added in order.
template <class SumPart>
void sum_in_parts(std::span<const View> tensors, const View& workspace, const View& result, SumPart&& sum_part) {
  const std::int64_t total = total_size(tensors);
  const std::int64_t part =
      std::max<std::int64_t>(4096, (total + sum_of_squares_workspace - 1) / sum_of_squares_workspace);
  double* sums = workspace.as<double>();
  parallel_for(total, part, [&](std::int64_t begin, std::int64_t end) {
    double sum = 0;
    for_each_range(tensors, begin, end,
                   [&](const View& tensor, std::int64_t from, std::int64_t to) { sum += sum_part(tensor, from, to); });
    sums[begin / part] = sum;
  });
  double sum = 0;
  for (std::int64_t i = 0; i * part < total; ++i) sum += sums[i];
  result.as<double>()[0] = sum;
}

// Where element number `i`, counted in row-major order, lies.
inline std::int64_t offset_of(const View& view, std::int64_t i) {
  std::int64_t offset = 0;
  for (int axis = view.rank - 1; axis >= 0; --axis) {
    offset += i % view.shape[axis] * view.strides[axis];
    i /= view.shape[axis];
  }
  return offset;
}

// The numbers of one step, rounded to the parameter's type where PyTorch rounds them.
template <class T>
struct AdamStep {
  T scale, shrink, l2, mean_weight, beta2, square_weight, bias_correction2_root, eps, minus_step_size;

  AdamStep(const AdamOptions& options, std::int64_t step)
      : scale(static_cast<T>(options.gradient_scale)),
        shrink(static_cast<T>(options.decoupled ? 1 - options.lr * options.weight_decay : 1)),
        l2(static_cast<T>(options.decoupled ? 0 : options.weight_decay)),
        mean_weight(static_cast<T>(1 - options.beta1)),
        beta2(static_cast<T>(options.beta2)),
        square_weight(static_cast<T>(1 - options.beta2)),
        bias_correction2_root(static_cast<T>(std::sqrt(1 - std::pow(options.beta2, step)))),
        eps(static_cast<T>(options.eps)),
        minus_step_size(static_cast<T>(-options.lr / (1 - std::pow(options.beta1, step)))) {}
};

template <class T>
struct SgdStep {
  T scale, l2, momentum, minus_lr;
  bool nesterov;

  explicit SgdStep(const SgdOptions& options)
      : scale(static_cast<T>(options.gradient_scale)),
        l2(static_cast<T>(options.weight_decay)),
        momentum(static_cast<T>(options.momentum)),
        minus_lr(static_cast<T>(-options.lr)),
        nesterov(options.nesterov) {}
};

// The reference variants on parts of slices, for what the SIMD variants leave to them.
void adam_range(const AdamSlice& slice, const AdamOptions& options, std::int64_t from, std::int64_t to);
void sgd_range(const SgdSlice& slice, const SgdOptions& options, std::int64_t from, std::int64_t to);
double square_sum_range(const View& tensor, std::int64_t from, std::int64_t to);

}  // namespace heed::kernels
