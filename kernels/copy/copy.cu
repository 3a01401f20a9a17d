#include "kernels/copy/copy.h"

#include "kernels/convert.h"
#include "kernels/cuda/map.cuh"

namespace heed::kernels {
namespace {

constexpr auto on_cuda = DeviceType::cuda;

// ---- fill

template <class T>
struct Constant {
  T value;
  __device__ T operator()() const { return value; }
};

void fill_reference(View y, double value, Stream stream) {
  with_type(y.dtype, [&](auto element) {
    using T = decltype(element);
    cuda::map<T>("fill", y, {}, Constant<Compute<T>>{convert<Compute<T>>(value)}, stream);
  });
}
const Register register_fill{fill, on_cuda, "reference", &fill_reference, is_default};

}  // namespace
}  // namespace heed::kernels
