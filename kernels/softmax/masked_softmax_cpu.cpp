// The definition, row by row, for every dtype and any strides.
#include "kernels/softmax/masked_softmax.h"

#include <cmath>
#include <limits>

#include "kernels/cpu/parallel.h"
#include "kernels/dtypes.h"

namespace heed::kernels {
namespace {

// The elements of one row of a view, if it has data.
template <class T>
struct Row {
  T* data;
  std::int64_t stride;
  Row(const View& view, std::int64_t b, std::int64_t h, std::int64_t i) : data(view.as<T>()), stride(view.strides[3]) {
    if (data != nullptr) data += b * view.strides[0] + h * view.strides[1] + i * view.strides[2];
  }
  T& operator[](std::int64_t j) const { return data[j * stride]; }
};

// Calls body(b, h, i) for all rows.
template <class Body>
void for_rows(const View& x, Body&& body) {
  const std::int64_t heads = x.shape[1], queries = x.shape[2];
  parallel_for(x.shape[0] * heads * queries, 1 + 4096 / (x.shape[3] + 1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) body(row / queries / heads, row / queries % heads, row % queries);
  });
}

void forward(View x, const MaskedSoftmaxOptions& options, View y, Stream) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const std::int64_t keys = x.shape[3];
  with_floating_type(x.dtype, [&]<class T>(T) {
    using S = Compute<T>;
    for_rows(x, [&](std::int64_t b, std::int64_t h, std::int64_t i) {
      const Row<T> from(x, b, h, i), to(y, b, h, i);
      const Row<bool> allowed(options.mask, b, h, i);
      const Row<S> added(options.mask, b, h, i);
      const std::int64_t visible = visible_keys(options, i, keys);
      const auto score = [&](std::int64_t j) {
        if (j >= visible) return -infinity;
        if (options.mask.data == nullptr) return options.scale * static_cast<S>(from[j]);
        if (options.mask.dtype == Dtype::boolean)
          return allowed[j] ? options.scale * static_cast<S>(from[j]) : -infinity;
        return options.scale * static_cast<S>(from[j]) + added[j];
      };
      double max = -infinity, sum = 0;
      for (std::int64_t j = 0; j < keys; ++j) {
        if (score(j) > max || std::isnan(score(j))) max = score(j);
      }
      const double base = max == -infinity ? 0 : max;
      for (std::int64_t j = 0; j < keys; ++j) sum += std::exp(score(j) - base);
      for (std::int64_t j = 0; j < keys; ++j) {
        to[j] = static_cast<T>(static_cast<S>(sum == 0 ? 0 : std::exp(score(j) - base) / sum));
      }
    });
  });
}

void backward(View y, View dy, const MaskedSoftmaxOptions& options, View dx, Stream) {
  const std::int64_t keys = y.shape[3];
  with_floating_type(y.dtype, [&]<class T>(T) {
    using S = Compute<T>;
    for_rows(y, [&](std::int64_t b, std::int64_t h, std::int64_t i) {
      const Row<T> weights(y, b, h, i), gradient(dy, b, h, i), to(dx, b, h, i);
      const std::int64_t visible = visible_keys(options, i, keys);
      double dot = 0;
      for (std::int64_t j = 0; j < visible; ++j)
        dot += double{static_cast<S>(weights[j])} * static_cast<S>(gradient[j]);
      for (std::int64_t j = 0; j < keys; ++j) {
        const S w = static_cast<S>(weights[j]), g = static_cast<S>(gradient[j]);
        to[j] = static_cast<T>(j < visible ? static_cast<S>(options.scale * w * (g - dot)) : S(0));
      }
    });
  });
}

const Register register_forward{masked_softmax_forward, DeviceType::cpu, "reference", &forward, is_default};
const Register register_backward{masked_softmax_backward, DeviceType::cpu, "reference", &backward, is_default};

}  // namespace
}  // namespace heed::kernels
