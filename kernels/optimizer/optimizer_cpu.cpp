// The optimisers element by element, as their formulas stand in optimizer.h.
#include "kernels/optimizer/slices.h"

namespace heed::kernels {
namespace {

template <class T>
void adam_element(const AdamStep<T>& step, T gradient, T& parameter, T& exp_avg, T& exp_avg_sq) {
  T g = step.scale * gradient;
  if (step.l2 != 0) g += step.l2 * parameter;
  parameter *= step.shrink;
  exp_avg += step.mean_weight * (g - exp_avg);
  exp_avg_sq = step.beta2 * exp_avg_sq + step.square_weight * g * g;
  const T denominator = std::sqrt(exp_avg_sq) / step.bias_correction2_root + step.eps;
  parameter += step.minus_step_size * exp_avg / denominator;
}

template <class T>
void sgd_element(const SgdStep<T>& step, T gradient, T& parameter, T* momentum) {
  T g = step.scale * gradient;
  if (step.l2 != 0) g += step.l2 * parameter;
  if (momentum != nullptr) {
    *momentum = step.momentum * *momentum + g;
    g = step.nesterov ? g + step.momentum * *momentum : *momentum;
  }
  parameter += step.minus_lr * g;
}

template <class T>
void adam_range_as(const AdamSlice& slice, const AdamOptions& options, std::int64_t from, std::int64_t to) {
  const AdamStep<T> step(options, slice.step);
  for_each_segment(slice, from, to, [&](std::int64_t in_parameter, std::int64_t in_gradient, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      const T gradient = slice.gradient.as<const T>()[offset_of(slice.gradient, in_gradient + i)];
      adam_element(step, gradient, slice.parameter.as<T>()[in_parameter + i], slice.exp_avg.as<T>()[in_parameter + i],
                   slice.exp_avg_sq.as<T>()[in_parameter + i]);
    }
  });
}

template <class T>
void sgd_range_as(const SgdSlice& slice, const SgdOptions& options, std::int64_t from, std::int64_t to) {
  const SgdStep<T> step(options);
  T* momentum = options.momentum == 0 ? nullptr : slice.momentum.as<T>();
  for_each_segment(slice, from, to, [&](std::int64_t in_parameter, std::int64_t in_gradient, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      const T gradient = slice.gradient.as<const T>()[offset_of(slice.gradient, in_gradient + i)];
      sgd_element(step, gradient, slice.parameter.as<T>()[in_parameter + i],
                  momentum == nullptr ? nullptr : momentum + in_parameter + i);
    }
  });
}

void adam_reference(std::span<const AdamSlice> slices, AdamOptions options, Stream) {
  for_each_range_in_parallel(slices, [&](const AdamSlice& slice, std::int64_t from, std::int64_t to) {
    adam_range(slice, options, from, to);
  });
}

void sgd_reference(std::span<const SgdSlice> slices, SgdOptions options, Stream) {
  for_each_range_in_parallel(
      slices, [&](const SgdSlice& slice, std::int64_t from, std::int64_t to) { sgd_range(slice, options, from, to); });
}

void sum_of_squares_reference(std::span<const View> tensors, View workspace, View result, Stream) {
  sum_in_parts(tensors, workspace, result, square_sum_range);
}

const Register adam_by_element{adam, DeviceType::cpu, "reference", &adam_reference};
const Register sgd_by_element{sgd, DeviceType::cpu, "reference", &sgd_reference};
const Register squares_by_element{sum_of_squares, DeviceType::cpu, "reference", &sum_of_squares_reference};

}  // namespace

void adam_range(const AdamSlice& slice, const AdamOptions& options, std::int64_t from, std::int64_t to) {
  const bool f64 = slice.parameter.dtype == Dtype::f64;
  return f64 ? adam_range_as<double>(slice, options, from, to) : adam_range_as<float>(slice, options, from, to);
}

void sgd_range(const SgdSlice& slice, const SgdOptions& options, std::int64_t from, std::int64_t to) {
  const bool f64 = slice.parameter.dtype == Dtype::f64;
  return f64 ? sgd_range_as<double>(slice, options, from, to) : sgd_range_as<float>(slice, options, from, to);
}

double square_sum_range(const View& tensor, std::int64_t from, std::int64_t to) {
  double sum = 0;
  for (std::int64_t i = from; i < to; ++i) {
    const std::int64_t at = offset_of(tensor, i);
    const double x = tensor.dtype == Dtype::f64 ? tensor.as<const double>()[at] : tensor.as<const float>()[at];
    sum += x * x;
  }
  return sum;
}

}  // namespace heed::kernels
