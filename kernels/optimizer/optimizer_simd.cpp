// The optimisers in vectors, f32 and f64 alike, for gradients that lie in one piece; others go the reference's way.
// A step of Adam reads four arrays and writes three: memory is the cost, so all of it happens in one pass.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer/optimizer_simd.cpp"
#include <hwy/foreach_target.h>  // must stand before highway.h
#include <hwy/highway.h>

#include "kernels/optimizer/slices.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Calls body(tag, i) until [0, count) is covered, for the Lanes(tag) elements at i: whole vectors, then single elements.
template <class T, class Body>
HWY_INLINE void for_vectors(std::int64_t count, Body&& body) {
  const hn::ScalableTag<T> whole;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(whole));
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(whole, i);
  for (; i < count; ++i) body(hn::CappedTag<T, 1>(), i);
}

template <class T>
void adam_range_simd(const AdamSlice& slice, const AdamOptions& options, std::int64_t from, std::int64_t to) {
  const AdamStep<T> step(options, slice.step);
  for_each_segment(slice, from, to, [&](std::int64_t at, std::int64_t in_gradient, std::int64_t count) HWY_ATTR {
    const T* gradient = slice.gradient.as<const T>() + in_gradient;
    T *parameter = slice.parameter.as<T>() + at, *exp_avg = slice.exp_avg.as<T>() + at,
      *exp_avg_sq = slice.exp_avg_sq.as<T>() + at;
    for_vectors<T>(count, [&](auto d, std::int64_t i) HWY_ATTR {
      auto p = hn::LoadU(d, parameter + i), m = hn::LoadU(d, exp_avg + i), v = hn::LoadU(d, exp_avg_sq + i);
      auto g = hn::Mul(hn::Set(d, step.scale), hn::LoadU(d, gradient + i));
      if (step.l2 != 0) g = hn::MulAdd(hn::Set(d, step.l2), p, g);
      m = hn::MulAdd(hn::Set(d, step.mean_weight), hn::Sub(g, m), m);
      v = hn::MulAdd(hn::Mul(hn::Set(d, step.square_weight), g), g, hn::Mul(hn::Set(d, step.beta2), v));
      const auto root = hn::Div(hn::Sqrt(v), hn::Set(d, step.bias_correction2_root));
      const auto change = hn::Div(hn::Mul(hn::Set(d, step.minus_step_size), m), hn::Add(root, hn::Set(d, step.eps)));
      p = hn::MulAdd(p, hn::Set(d, step.shrink), change);
      hn::StoreU(m, d, exp_avg + i);
      hn::StoreU(v, d, exp_avg_sq + i);
      hn::StoreU(p, d, parameter + i);
    });
  });
}

template <class T>
void sgd_range_simd(const SgdSlice& slice, const SgdOptions& options, std::int64_t from, std::int64_t to) {
  const SgdStep<T> step(options);
  for_each_segment(slice, from, to, [&](std::int64_t at, std::int64_t in_gradient, std::int64_t count) HWY_ATTR {
    const T* gradient = slice.gradient.as<const T>() + in_gradient;
    T* parameter = slice.parameter.as<T>() + at;
    T* momentum = step.momentum == 0 ? nullptr : slice.momentum.as<T>() + at;
    for_vectors<T>(count, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto p = hn::LoadU(d, parameter + i);
      auto g = hn::Mul(hn::Set(d, step.scale), hn::LoadU(d, gradient + i));
      if (step.l2 != 0) g = hn::MulAdd(hn::Set(d, step.l2), p, g);
      if (momentum != nullptr) {
        const auto m = hn::MulAdd(hn::Set(d, step.momentum), hn::LoadU(d, momentum + i), g);
        hn::StoreU(m, d, momentum + i);
        g = step.nesterov ? hn::MulAdd(hn::Set(d, step.momentum), m, g) : m;
      }
      hn::StoreU(hn::MulAdd(hn::Set(d, step.minus_lr), g, p), d, parameter + i);
    });
  });
}

// Of x[0, n), in f64 from the first addition. Four sums run side by side.
double square_sum_of(const float* x, std::int64_t n) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, hn::ScalableTag<double>> half;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  const auto add_square = [&](auto& sum, std::int64_t at) HWY_ATTR {
    const auto value = hn::PromoteTo(d, hn::LoadU(half, x + at));
    sum = hn::MulAdd(value, value, sum);
  };
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    add_square(s0, i);
    add_square(s1, i + lanes);
    add_square(s2, i + 2 * lanes);
    add_square(s3, i + 3 * lanes);
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < n; ++i) sum += double(x[i]) * x[i];
  return sum;
}

void adam_simd(std::span<const AdamSlice> slices, AdamOptions options, Stream) {
  for_each_range_in_parallel(slices, [&](const AdamSlice& slice, std::int64_t from, std::int64_t to) {
    if (!slice.gradient.is_contiguous()) return adam_range(slice, options, from, to);
    const bool f64 = slice.parameter.dtype == Dtype::f64;
    f64 ? adam_range_simd<double>(slice, options, from, to) : adam_range_simd<float>(slice, options, from, to);
  });
}

void sgd_simd(std::span<const SgdSlice> slices, SgdOptions options, Stream) {
  for_each_range_in_parallel(slices, [&](const SgdSlice& slice, std::int64_t from, std::int64_t to) {
    if (!slice.gradient.is_contiguous()) return sgd_range(slice, options, from, to);
    const bool f64 = slice.parameter.dtype == Dtype::f64;
    f64 ? sgd_range_simd<double>(slice, options, from, to) : sgd_range_simd<float>(slice, options, from, to);
  });
}

void sum_of_squares_simd(std::span<const View> tensors, View workspace, View result, Stream) {
  sum_in_parts(tensors, workspace, result, [](const View& tensor, std::int64_t from, std::int64_t to) {
    const bool in_one_piece = tensor.dtype == Dtype::f32 && tensor.is_contiguous();
    return in_one_piece ? square_sum_of(tensor.as<const float>() + from, to - from)
                        : square_sum_range(tensor, from, to);
  });
}

}  // namespace
}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {

HWY_EXPORT(adam_simd);
HWY_EXPORT(sgd_simd);
HWY_EXPORT(sum_of_squares_simd);

void adam_vectors(std::span<const AdamSlice> slices, AdamOptions options, Stream stream) {
  HWY_DYNAMIC_DISPATCH(adam_simd)(slices, options, stream);
}
void sgd_vectors(std::span<const SgdSlice> slices, SgdOptions options, Stream stream) {
  HWY_DYNAMIC_DISPATCH(sgd_simd)(slices, options, stream);
}
void sum_of_squares_vectors(std::span<const View> tensors, View workspace, View result, Stream stream) {
  HWY_DYNAMIC_DISPATCH(sum_of_squares_simd)(tensors, workspace, result, stream);
}

const Register adam_in_vectors{adam, DeviceType::cpu, "simd", &adam_vectors, is_default};
const Register sgd_in_vectors{sgd, DeviceType::cpu, "simd", &sgd_vectors, is_default};
const Register squares_in_vectors{sum_of_squares, DeviceType::cpu, "simd", &sum_of_squares_vectors, is_default};

}  // namespace
}  // namespace heed::kernels
#endif
