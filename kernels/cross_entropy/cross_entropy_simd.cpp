// Cross-entropy in vectors, for f32 logits whose rows lie contiguously in memory. A row is read from memory once; the
// passes over it for the maximum, the sum and the smoothing find it in the cache.
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cross_entropy/reference.h"
#include "kernels/reduce/accumulators.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy/cross_entropy_simd.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

inline constexpr float nan = std::numeric_limits<float>::quiet_NaN();

template <class D>
HWY_INLINE hn::Vec<D> weights_at(D d, const float* weight, std::int64_t i) {
  return weight == nullptr ? hn::Set(d, 1) : hn::LoadU(d, weight + i);
}

double total_weight(const float* weight, std::int64_t classes) {
  if (weight == nullptr) return static_cast<double>(classes);
  return sum_of(classes, [=](auto d, std::int64_t i) HWY_ATTR { return hn::LoadU(d, weight + i); });
}

void cross_entropy_forward_f32(const View& logits, const View& target, const View& weight, const View& losses,
                               const View& log_sum_exp, double label_smoothing, std::int64_t ignore_index) {
  const std::int64_t n = logits.shape[0], classes = logits.shape[1];
  const float* const w = weight.as<float>();
  const double smoothing = label_smoothing / static_cast<double>(classes), w_total = total_weight(w, classes);
  parallel_for(n, 1 + 8192 / classes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* const x = logits.as<float>() + row * logits.strides[0];
      float& loss = losses.as<float>()[row * losses.strides[0]];
      float& lse = log_sum_exp.as<float>()[row * log_sum_exp.strides[0]];
      const std::int64_t t = target_of(target, row);

      const float max = max_of(x, classes);
      double log_sum = nan;
      if (std::isfinite(max)) {
        log_sum = std::log(sum_of(classes, [=](auto d, std::int64_t i) HWY_ATTR {
          return exp_of_nonpositive(d, hn::Sub(hn::LoadU(d, x + i), hn::Set(d, max)));
        }));
        lse = static_cast<float>(max + log_sum);
      } else {
        LogSumExpOf<float> sum;
        for (std::int64_t c = 0; c < classes; ++c) sum.add(x[c]);
        lse = sum.result();
      }

      if (t == ignore_index) {
        loss = 0;
      } else if (t < 0 || t >= classes) {
        loss = nan;
      } else {
        const double from_target = static_cast<double>(max) - x[t] + log_sum;  // -log p of the target
        double sum = (1 - label_smoothing) * (w == nullptr ? 1.0 : w[t]) * from_target;
        if (smoothing > 0) {
          sum += smoothing * (w_total * log_sum + sum_of(classes, [=](auto d, std::int64_t i) HWY_ATTR {
                                return hn::Mul(weights_at(d, w, i), hn::Sub(hn::Set(d, max), hn::LoadU(d, x + i)));
                              }));
        }
        loss = static_cast<float>(sum);
      }
    }
  });
}

void cross_entropy_backward_f32(const View& logits, const View& target, const View& weight, const View& log_sum_exp,
                                const View& dlosses, const View& dlogits, double label_smoothing,
                                std::int64_t ignore_index) {
  const std::int64_t n = logits.shape[0], classes = logits.shape[1];
  const float* const w = weight.as<float>();
  const double smoothing = label_smoothing / static_cast<double>(classes), w_total = total_weight(w, classes);
  parallel_for(n, 1 + 8192 / classes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* const x = logits.as<float>() + row * logits.strides[0];
      float* const dx = dlogits.as<float>() + row * dlogits.strides[0];
      const float lse = log_sum_exp.as<float>()[row * log_sum_exp.strides[0]];
      const double dloss = dlosses.as<float>()[row * dlosses.strides[0]];
      const std::int64_t t = target_of(target, row);
      if (t == ignore_index) {
        fill(dx, classes, 0);
        continue;
      }
      if (t < 0 || t >= classes || !std::isfinite(lse)) {
        fill(dx, classes, nan);
        continue;
      }
      const double on_target = (1 - label_smoothing) * (w == nullptr ? 1.0 : w[t]);
      const auto of_p = static_cast<float>(dloss * (on_target + smoothing * w_total));
      const auto of_w = static_cast<float>(dloss * smoothing);
      for_vectors(0, classes, [=](auto d, std::int64_t i) HWY_ATTR {
        const auto p = exp_of_nonpositive(d, hn::Sub(hn::LoadU(d, x + i), hn::Set(d, lse)));
        const auto uniform = hn::Mul(weights_at(d, w, i), hn::Set(d, of_w));
        hn::StoreU(hn::MulSub(p, hn::Set(d, of_p), uniform), d, dx + i);
      });
      dx[t] -= static_cast<float>(dloss * on_target);
    }
  });
}

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {

HWY_EXPORT(cross_entropy_forward_f32);
HWY_EXPORT(cross_entropy_backward_f32);

bool is_row_major_f32(const View& view) {
  return view.data == nullptr || (view.dtype == Dtype::f32 && view.strides[view.rank - 1] == 1);
}

void forward_simd(View logits, View target, View weight, View losses, View log_sum_exp, double label_smoothing,
                  std::int64_t ignore_index, Stream stream) {
  if (!is_row_major_f32(logits) || !is_row_major_f32(weight)) {
    return cross_entropy_forward_reference(logits, target, weight, losses, log_sum_exp, label_smoothing, ignore_index,
                                           stream);
  }
  HWY_DYNAMIC_DISPATCH(cross_entropy_forward_f32)
  (logits, target, weight, losses, log_sum_exp, label_smoothing, ignore_index);
}

void backward_simd(View logits, View target, View weight, View log_sum_exp, View dlosses, View dlogits,
                   double label_smoothing, std::int64_t ignore_index, Stream stream) {
  if (!is_row_major_f32(logits) || !is_row_major_f32(weight) || !is_row_major_f32(dlogits)) {
    return cross_entropy_backward_reference(logits, target, weight, log_sum_exp, dlosses, dlogits, label_smoothing,
                                            ignore_index, stream);
  }
  HWY_DYNAMIC_DISPATCH(cross_entropy_backward_f32)
  (logits, target, weight, log_sum_exp, dlosses, dlogits, label_smoothing, ignore_index);
}

const Register register_forward{cross_entropy_forward, DeviceType::cpu, "simd", &forward_simd, is_default};
const Register register_backward{cross_entropy_backward, DeviceType::cpu, "simd", &backward_simd, is_default};

}  // namespace
}  // namespace heed::kernels
#endif
