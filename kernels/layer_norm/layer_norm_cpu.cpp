// The definitions, row by row, for every dtype and any strides. RMS normalisation is layer normalisation that takes the
// mean to be 0: `centred` tells them apart.
#include <cmath>

#include "kernels/dtypes.h"
#include "kernels/layer_norm/reference.h"

namespace heed::kernels {
namespace {

// A vector of parameters, all `absent` when there is none.
template <class T>
struct Parameters {
  const View& view;
  Compute<T> absent;
  Compute<T> operator[](std::int64_t i) const {
    return view.data == nullptr ? absent : static_cast<Compute<T>>(view.as<T>()[i * view.strides[0]]);
  }
};

template <class T>
auto row_of(const View& view, std::int64_t row) {
  T* const start = view.as<T>() + row * view.strides[0];
  const std::int64_t stride = view.strides[1];
  return [=](std::int64_t i) -> T& { return start[i * stride]; };
}

template <class T, bool centred>
void forward(const View& x, const View& weight, const View& bias, const View& y, const View& mean, const View& rstd,
             double eps) {
  using S = Compute<T>;
  const std::int64_t rows = x.shape[0], n = x.shape[1];
  const Parameters<T> w{weight, 1}, b{bias, 0};
  parallel_for(rows, 1 + 4096 / n, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const auto from = row_of<T>(x, row), to = row_of<T>(y, row);
      double average = 0, variance = 0;
      if constexpr (centred) {
        for (std::int64_t i = 0; i < n; ++i) average += static_cast<S>(from(i));
        average /= static_cast<double>(n);
      }
      for (std::int64_t i = 0; i < n; ++i) variance += std::pow(static_cast<S>(from(i)) - average, 2);
      const double scale = 1 / std::sqrt(variance / static_cast<double>(n) + eps);
      for (std::int64_t i = 0; i < n; ++i) {
        to(i) = static_cast<T>(static_cast<S>((static_cast<S>(from(i)) - average) * scale * w[i] + b[i]));
      }
      if constexpr (centred) mean.as<S>()[row] = static_cast<S>(average);
      rstd.as<S>()[row] = static_cast<S>(scale);
    }
  });
}

template <class T, bool centred>
void backward(const View& x, const View& weight, const View& dy, const View& mean, const View& rstd, const View& dx,
              const View& dweight, const View& dbias, const View& workspace) {
  using S = Compute<T>;
  const std::int64_t rows = x.shape[0], n = x.shape[1];
  const Parameters<T> w{weight, 1};
  const auto chunk = [&](std::int64_t first, std::int64_t last, S* weight_sums, S* bias_sums) {
    for (std::int64_t row = first; row < last; ++row) {
      const auto input = row_of<T>(x, row), gradient = row_of<T>(dy, row);
      const S scale = rstd.as<S>()[row], offset = centred ? mean.as<S>()[row] : S(0);
      const auto normalised = [&](std::int64_t i) { return (static_cast<S>(input(i)) - offset) * scale; };
      double average = 0, projection = 0;  // of g and of g * xhat along the row
      for (std::int64_t i = 0; i < n; ++i) {
        const S g = static_cast<S>(gradient(i)) * w[i];
        if constexpr (centred) average += g;
        projection += g * normalised(i);
      }
      average /= static_cast<double>(n);
      projection /= static_cast<double>(n);
      for (std::int64_t i = 0; i < n; ++i) {
        const S d = static_cast<S>(gradient(i)), xhat = normalised(i);
        if (weight_sums != nullptr) {
          weight_sums[i] += d * xhat;
          bias_sums[i] += d;
        }
        if (dx.data == nullptr) continue;
        row_of<T>(dx, row)(i) = static_cast<T>(static_cast<S>(scale * (d * w[i] - average - xhat * projection)));
      }
    }
  };
  norm_backward_in_chunks<T, S>(rows, n, dweight, dbias, workspace, chunk);
}

}  // namespace

void layer_norm_forward_reference(View x, View weight, View bias, View y, View mean, View rstd, double eps, Stream) {
  with_floating_type(x.dtype, [&]<class T>(T) { forward<T, true>(x, weight, bias, y, mean, rstd, eps); });
}
void layer_norm_backward_reference(View x, View weight, View dy, View mean, View rstd, View dx, View dweight,
                                   View dbias, View workspace, Stream) {
  with_floating_type(x.dtype,
                     [&]<class T>(T) { backward<T, true>(x, weight, dy, mean, rstd, dx, dweight, dbias, workspace); });
}
void rms_norm_forward_reference(View x, View weight, View y, View rstd, double eps, Stream) {
  with_floating_type(x.dtype, [&]<class T>(T) { forward<T, false>(x, weight, View{}, y, View{}, rstd, eps); });
}
void rms_norm_backward_reference(View x, View weight, View dy, View rstd, View dx, View dweight, View workspace,
                                 Stream) {
  with_floating_type(
      x.dtype, [&]<class T>(T) { backward<T, false>(x, weight, dy, View{}, rstd, dx, dweight, View{}, workspace); });
}

namespace {

constexpr DeviceType cpu = DeviceType::cpu;
const Register layer_forward{layer_norm_forward, cpu, "reference", &layer_norm_forward_reference};
const Register layer_backward{layer_norm_backward, cpu, "reference", &layer_norm_backward_reference};
const Register rms_forward{rms_norm_forward, cpu, "reference", &rms_norm_forward_reference};
const Register rms_backward{rms_norm_backward, cpu, "reference", &rms_norm_backward_reference};

}  // namespace
}  // namespace heed::kernels
