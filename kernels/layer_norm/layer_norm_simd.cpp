// The normalisations in vectors, for f32 rows that lie contiguously in memory. A row is read once from memory and then
// stays in the L1 cache for the mean, the variance and the result.
#include <cmath>
#include <initializer_list>

#include "kernels/layer_norm/reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/layer_norm/layer_norm_simd.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

// The parameters at p, or `absent` when there are none.
template <class D>
HWY_INLINE hn::Vec<D> load_or(D d, const float* p, std::int64_t i, float absent) {
  return p == nullptr ? hn::Set(d, absent) : hn::LoadU(d, p + i);
}

template <bool centred>
void forward_row(const float* x, const float* weight, const float* bias, float* y, std::int64_t n, double eps,
                 float* mean, float* rstd) {
  double average = 0;
  if constexpr (
      centred) {  // of the distances from the first element, which are small and exact where there is an offset
    const float first = x[0];
    const double distances =
        sum_of(n, [=](auto d, std::int64_t i) HWY_ATTR { return hn::Sub(hn::LoadU(d, x + i), hn::Set(d, first)); });
    average = first + distances / static_cast<double>(n);
  }
  // The mean as a sum of two floats: x - high is exact where x is close to the mean, so no digit is lost to an offset.
  const auto high = static_cast<float>(average), low = static_cast<float>(average - high);
  const auto centre = [=](auto d, std::int64_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, x + i);
    if constexpr (centred) {
      return hn::Sub(hn::Sub(v, hn::Set(d, high)), hn::Set(d, low));
    } else {
      return v;
    }
  };
  const double squares = sum_of(n, [=](auto d, std::int64_t i) HWY_ATTR {
    const auto v = centre(d, i);
    return hn::Mul(v, v);
  });
  const auto scale = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(n) + eps));
  for_vectors(0, n, [=](auto d, std::int64_t i) HWY_ATTR {
    const auto normalised = hn::Mul(centre(d, i), hn::Set(d, scale));
    hn::StoreU(hn::MulAdd(normalised, load_or(d, weight, i, 1), load_or(d, bias, i, 0)), d, y + i);
  });
  if constexpr (centred) *mean = high;
  *rstd = scale;
}

template <bool centred>
void backward_row(const float* x, const float* weight, const float* dy, float mean, float rstd, float* dx,
                  float* weight_sums, float* bias_sums, std::int64_t n) {
  const auto normalised = [=](auto d, std::int64_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, x + i);
    return hn::Mul(centred ? hn::Sub(v, hn::Set(d, mean)) : v, hn::Set(d, rstd));
  };
  const auto weighted = [=](auto d, std::int64_t i)
                            HWY_ATTR { return hn::Mul(hn::LoadU(d, dy + i), load_or(d, weight, i, 1)); };
  float average = 0, projection = 0;  // of g and of g * xhat along the row
  if (dx != nullptr) {
    if constexpr (centred) average = static_cast<float>(sum_of(n, weighted) / static_cast<double>(n));
    const double sum =
        sum_of(n, [=](auto d, std::int64_t i) HWY_ATTR { return hn::Mul(weighted(d, i), normalised(d, i)); });
    projection = static_cast<float>(sum / static_cast<double>(n));
  }
  for_vectors(0, n, [=](auto d, std::int64_t i) HWY_ATTR {
    const auto gradient = hn::LoadU(d, dy + i), g = weighted(d, i), xhat = normalised(d, i);
    if (dx != nullptr) {
      const auto inner = hn::NegMulAdd(xhat, hn::Set(d, projection), hn::Sub(g, hn::Set(d, average)));
      hn::StoreU(hn::Mul(inner, hn::Set(d, rstd)), d, dx + i);
    }
    if (weight_sums != nullptr) {
      hn::StoreU(hn::MulAdd(gradient, xhat, hn::LoadU(d, weight_sums + i)), d, weight_sums + i);
      if constexpr (centred) hn::StoreU(hn::Add(gradient, hn::LoadU(d, bias_sums + i)), d, bias_sums + i);
    }
  });
}

template <bool centred>
void forward(const View& x, const View& weight, const View& bias, const View& y, const View& mean, const View& rstd,
             double eps) {
  const std::int64_t rows = x.shape[0], n = x.shape[1];
  parallel_for(rows, 1 + 16384 / n, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      forward_row<centred>(x.as<float>() + row * x.strides[0], weight.as<float>(), bias.as<float>(),
                           y.as<float>() + row * y.strides[0], n, eps, mean.as<float>() + row, rstd.as<float>() + row);
    }
  });
}
void layer_norm_forward_f32(const View& x, const View& weight, const View& bias, const View& y, const View& mean,
                            const View& rstd, double eps) {
  forward<true>(x, weight, bias, y, mean, rstd, eps);
}
void rms_norm_forward_f32(const View& x, const View& weight, const View& y, const View& rstd, double eps) {
  forward<false>(x, weight, View{}, y, rstd, rstd, eps);
}

template <bool centred>
void backward(const View& x, const View& weight, const View& dy, const View& mean, const View& rstd, const View& dx,
              const View& dweight, const View& dbias, const View& workspace) {
  const std::int64_t rows = x.shape[0], n = x.shape[1];
  const auto chunk = [&](std::int64_t first, std::int64_t last, float* weight_sums, float* bias_sums) {
    for (std::int64_t row = first; row < last; ++row) {
      float* const to = dx.data == nullptr ? nullptr : dx.as<float>() + row * dx.strides[0];
      backward_row<centred>(x.as<float>() + row * x.strides[0], weight.as<float>(),
                            dy.as<float>() + row * dy.strides[0], mean.as<float>()[row], rstd.as<float>()[row], to,
                            weight_sums, bias_sums, n);
    }
  };
  norm_backward_in_chunks<float, float>(rows, n, dweight, dbias, workspace, chunk);
}
void layer_norm_backward_f32(const View& x, const View& weight, const View& dy, const View& mean, const View& rstd,
                             const View& dx, const View& dweight, const View& dbias, const View& workspace) {
  backward<true>(x, weight, dy, mean, rstd, dx, dweight, dbias, workspace);
}
void rms_norm_backward_f32(const View& x, const View& weight, const View& dy, const View& rstd, const View& dx,
                           const View& dweight, const View& workspace) {
  backward<false>(x, weight, dy, rstd, rstd, dx, dweight, View{}, workspace);
}

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {

HWY_EXPORT(layer_norm_forward_f32);
HWY_EXPORT(layer_norm_backward_f32);
HWY_EXPORT(rms_norm_forward_f32);
HWY_EXPORT(rms_norm_backward_f32);

// The vector code applies: f32, and floats lie side by side along the last axis of every view there is.
bool applies(std::initializer_list<View> views) {
  return std::all_of(views.begin(), views.end(), [](const View& view) {
    return view.data == nullptr || (view.dtype == Dtype::f32 && view.strides[view.rank - 1] == 1);
  });
}

void layer_norm_forward_simd(View x, View weight, View bias, View y, View mean, View rstd, double eps, Stream stream) {
  if (!applies({x, weight, bias, y})) {
    return layer_norm_forward_reference(x, weight, bias, y, mean, rstd, eps, stream);
  }
  HWY_DYNAMIC_DISPATCH(layer_norm_forward_f32)(x, weight, bias, y, mean, rstd, eps);
}
void layer_norm_backward_simd(View x, View weight, View dy, View mean, View rstd, View dx, View dweight, View dbias,
                              View workspace, Stream stream) {
  if (!applies({x, weight, dy, dx})) {
    return layer_norm_backward_reference(x, weight, dy, mean, rstd, dx, dweight, dbias, workspace, stream);
  }
  HWY_DYNAMIC_DISPATCH(layer_norm_backward_f32)(x, weight, dy, mean, rstd, dx, dweight, dbias, workspace);
}
void rms_norm_forward_simd(View x, View weight, View y, View rstd, double eps, Stream stream) {
  if (!applies({x, weight, y})) return rms_norm_forward_reference(x, weight, y, rstd, eps, stream);
  HWY_DYNAMIC_DISPATCH(rms_norm_forward_f32)(x, weight, y, rstd, eps);
}
void rms_norm_backward_simd(View x, View weight, View dy, View rstd, View dx, View dweight, View workspace,
                            Stream stream) {
  if (!applies({x, weight, dy, dx})) {
    return rms_norm_backward_reference(x, weight, dy, rstd, dx, dweight, workspace, stream);
  }
  HWY_DYNAMIC_DISPATCH(rms_norm_backward_f32)(x, weight, dy, rstd, dx, dweight, workspace);
}

constexpr DeviceType cpu = DeviceType::cpu;
const Register layer_forward_simd{layer_norm_forward, cpu, "simd", &layer_norm_forward_simd, is_default};
const Register layer_backward_simd{layer_norm_backward, cpu, "simd", &layer_norm_backward_simd, is_default};
const Register rms_forward_simd{rms_norm_forward, cpu, "simd", &rms_norm_forward_simd, is_default};
const Register rms_backward_simd{rms_norm_backward, cpu, "simd", &rms_norm_backward_simd, is_default};

}  // namespace
}  // namespace heed::kernels
#endif
