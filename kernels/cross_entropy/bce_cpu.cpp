// Binary cross-entropy on logits: the definition, for every dtype and any strides.
#include <cmath>

#include "kernels/cpu/dtypes.h"
#include "kernels/cpu/index_space.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cross_entropy/reference.h"

namespace heed::kernels {
namespace {

constexpr std::int64_t grain = 4096;
constexpr auto every_axis = [](int) { return true; };

}  // namespace

void bce_with_logits_forward_reference(View x, View target, View weight, View pos_weight, View losses, Stream) {
  with_floating_type(x.dtype, [&]<class T>(T) {
    using C = Compute<T>;
    T one(1);
    const View w = or_ones(weight, x, one), pw = or_ones(pos_weight, x, one);
    const IndexSpace<5> space({losses, x, target, w, pw}, every_axis);
    parallel_for(space.size(), grain, [&](std::int64_t begin, std::int64_t end) {
      space.walk(begin, end, [&](const auto& at) {
        const C logit(x.as<T>()[at[1]]), t(target.as<T>()[at[2]]);
        const C k = C(1) + (C(pw.as<T>()[at[4]]) - C(1)) * t;
        const C softplus = std::log1p(std::exp(-std::abs(logit))) + std::max(-logit, C(0));  // log(1 + exp(-x))
        losses.as<T>()[at[0]] = T(C(w.as<T>()[at[3]]) * ((C(1) - t) * logit + k * softplus));
      });
    });
  });
}

void bce_with_logits_backward_reference(View x, View target, View weight, View pos_weight, View dlosses, View dx,
                                        Stream) {
  with_floating_type(x.dtype, [&]<class T>(T) {
    using C = Compute<T>;
    T one(1);
    const View w = or_ones(weight, x, one), pw = or_ones(pos_weight, x, one);
    const IndexSpace<6> space({dx, x, target, w, pw, dlosses}, every_axis);
    parallel_for(space.size(), grain, [&](std::int64_t begin, std::int64_t end) {
      space.walk(begin, end, [&](const auto& at) {
        const C logit(x.as<T>()[at[1]]), t(target.as<T>()[at[2]]);
        const C k = C(1) + (C(pw.as<T>()[at[4]]) - C(1)) * t;
        const C e = std::exp(-std::abs(logit));
        const C sigmoid_of_minus = (logit >= C(0) ? e : C(1)) / (C(1) + e);
        dx.as<T>()[at[0]] = T(C(dlosses.as<T>()[at[5]]) * C(w.as<T>()[at[3]]) * (C(1) - t - k * sigmoid_of_minus));
      });
    });
  });
}

namespace {

const Register register_forward{bce_with_logits_forward, DeviceType::cpu, "reference",
                                &bce_with_logits_forward_reference};
const Register register_backward{bce_with_logits_backward, DeviceType::cpu, "reference",
                                 &bce_with_logits_backward_reference};

}  // namespace
}  // namespace heed::kernels
