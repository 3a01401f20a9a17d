#include "nn/init.h"

#include <cmath>

#include "engine/ops.h"

namespace heed::nn::init {
namespace {

struct Fans {
  double in, out;
};

Fans fans_of(const Tensor& x, const char* name) {
  check(x.rank() >= 2, "{}: needs at least two axes, not shape {}", name, x.shape());
  const double receptive_field = static_cast<double>(x.count()) / static_cast<double>(x.size(0) * x.size(1));
  return {static_cast<double>(x.size(1)) * receptive_field, static_cast<double>(x.size(0)) * receptive_field};
}

}  // namespace

void constant(const Tensor& x, double value) {
  const NoGrad no_grad;
  assign(x, full_like(x, value));
}

void uniform(const Tensor& x, double low, double high, Generator* generator) {
  check(low <= high, "uniform: no numbers between {} and {}", low, high);
  const NoGrad no_grad;
  assign(x, rand(x.shape(), x.options(), generator) * (high - low) + low);
}

void normal(const Tensor& x, double mean, double std, Generator* generator) {
  check(std >= 0, "normal: negative standard deviation {}", std);
  const NoGrad no_grad;
  assign(x, randn(x.shape(), x.options(), generator) * std + mean);
}

void trunc_normal(const Tensor& x, double mean, double std, double low, double high, Generator* generator) {
  check(std > 0 && low < high, "trunc_normal: standard deviation {}, interval [{}, {}]", std, low, high);
  const NoGrad no_grad;
  normal(x, mean, std, generator);
  const Tensor lowest = scalar(low, x.options()), highest = scalar(high, x.options());
  for (int round = 0; round < 1000; ++round) {
    const Tensor outside = logical_or(less(x, lowest), greater(x, highest));
    if (!any(outside).item<bool>()) return;
    assign(x, where(outside, randn(x.shape(), x.options(), generator) * std + mean, x));
  }
  fail("trunc_normal: hardly any number of mean {} and standard deviation {} lies in [{}, {}]", mean, std, low, high);
}

void xavier_uniform(const Tensor& x, double gain, Generator* generator) {
  const Fans fans = fans_of(x, "xavier_uniform");
  const double bound = gain * std::sqrt(6 / (fans.in + fans.out));
  uniform(x, -bound, bound, generator);
}

void xavier_normal(const Tensor& x, double gain, Generator* generator) {
  const Fans fans = fans_of(x, "xavier_normal");
  normal(x, 0, gain * std::sqrt(2 / (fans.in + fans.out)), generator);
}

void kaiming_uniform(const Tensor& x, double slope, Generator* generator) {
  const double bound = std::sqrt(6 / ((1 + slope * slope) * fans_of(x, "kaiming_uniform").in));
  uniform(x, -bound, bound, generator);
}

}  // namespace heed::nn::init
