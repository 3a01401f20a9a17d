// The definition, row by row, for every dtype and any strides.
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cross_entropy/reference.h"
#include "kernels/dtypes.h"
#include "kernels/reduce/accumulators.h"

namespace heed::kernels {
namespace {

template <class T>
class ClassWeights {
 public:
  ClassWeights(const View& weight, std::int64_t classes) : weight_(weight), total_(static_cast<double>(classes)) {
    if (weight.data == nullptr) return;
    total_ = 0;
    for (std::int64_t c = 0; c < classes; ++c) total_ += (*this)[c];
  }
  double operator[](std::int64_t c) const {
    return weight_.data == nullptr ? 1.0 : static_cast<Compute<T>>(weight_.as<T>()[c * weight_.strides[0]]);
  }
  double total() const { return total_; }

 private:
  const View& weight_;
  double total_;
};

template <class T>
void forward(const View& logits, const View& target, const View& weight, const View& losses, const View& log_sum_exp,
             double label_smoothing, std::int64_t ignore_index) {
  using S = Compute<T>;
  const std::int64_t n = logits.shape[0], classes = logits.shape[1];
  const ClassWeights<T> w(weight, classes);
  const double smoothing = label_smoothing / static_cast<double>(classes);
  parallel_for(n, 1 + 1024 / classes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const auto logit = [&](std::int64_t c) {
        return static_cast<S>(logits.as<T>()[row * logits.strides[0] + c * logits.strides[1]]);
      };
      LogSumExpOf<S> sum;
      for (std::int64_t c = 0; c < classes; ++c) sum.add(logit(c));
      const double lse = sum.max + std::log(sum.sum);
      const std::int64_t t = target_of(target, row);
      double loss = 0;
      if (t != ignore_index) {
        if (t < 0 || t >= classes || !std::isfinite(lse)) {
          loss = std::numeric_limits<double>::quiet_NaN();
        } else {
          loss = (1 - label_smoothing) * w[t] * (lse - logit(t));
          for (std::int64_t c = 0; c < classes && smoothing > 0; ++c) loss += smoothing * w[c] * (lse - logit(c));
        }
      }
      losses.as<T>()[row * losses.strides[0]] = static_cast<T>(static_cast<S>(loss));
      log_sum_exp.as<S>()[row * log_sum_exp.strides[0]] = static_cast<S>(lse);
    }
  });
}

template <class T>
void backward(const View& logits, const View& target, const View& weight, const View& log_sum_exp, const View& dlosses,
              const View& dlogits, double label_smoothing, std::int64_t ignore_index) {
  using S = Compute<T>;
  const std::int64_t n = logits.shape[0], classes = logits.shape[1];
  const ClassWeights<T> w(weight, classes);
  const double smoothing = label_smoothing / static_cast<double>(classes);
  parallel_for(n, 1 + 1024 / classes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t t = target_of(target, row);
      const bool valid = t >= 0 && t < classes;
      const double dloss = static_cast<S>(dlosses.as<T>()[row * dlosses.strides[0]]);
      const double lse = log_sum_exp.as<S>()[row * log_sum_exp.strides[0]];
      const double on_target = valid ? (1 - label_smoothing) * w[t] : 0;
      for (std::int64_t c = 0; c < classes; ++c) {
        const S logit = static_cast<S>(logits.as<T>()[row * logits.strides[0] + c * logits.strides[1]]);
        double gradient = 0;
        if (t != ignore_index) {
          if (!valid || !std::isfinite(lse)) {
            gradient = std::numeric_limits<double>::quiet_NaN();
          } else {
            gradient = (on_target + smoothing * w.total()) * std::exp(logit - lse) - smoothing * w[c];
            if (c == t) gradient -= on_target;
            gradient *= dloss;
          }
        }
        dlogits.as<T>()[row * dlogits.strides[0] + c * dlogits.strides[1]] = static_cast<T>(static_cast<S>(gradient));
      }
    }
  });
}

}  // namespace

void cross_entropy_forward_reference(View logits, View target, View weight, View losses, View log_sum_exp,
                                     double label_smoothing, std::int64_t ignore_index, Stream) {
  with_floating_type(logits.dtype, [&]<class T>(T) {
    forward<T>(logits, target, weight, losses, log_sum_exp, label_smoothing, ignore_index);
  });
}

void cross_entropy_backward_reference(View logits, View target, View weight, View log_sum_exp, View dlosses,
                                      View dlogits, double label_smoothing, std::int64_t ignore_index, Stream) {
  with_floating_type(logits.dtype, [&]<class T>(T) {
    backward<T>(logits, target, weight, log_sum_exp, dlosses, dlogits, label_smoothing, ignore_index);
  });
}

namespace {

const Register register_forward{cross_entropy_forward, DeviceType::cpu, "reference", &cross_entropy_forward_reference};
const Register register_backward{cross_entropy_backward, DeviceType::cpu, "reference",
                                 &cross_entropy_backward_reference};

}  // namespace
}  // namespace heed::kernels
