#include "engine/operation.h"
#include "engine/ops.h"
#include "engine/ops/apply.h"
#include "kernels/cross_entropy/cross_entropy.h"

namespace heed {
namespace {

Tensor reduced(const Tensor& losses, Reduction reduction) {
  switch (reduction) {
    case Reduction::mean:
      return mean(losses);
    case Reduction::sum:
      return sum(losses);
    case Reduction::none:
      break;
  }
  return losses;
}

View optional_view(const Tensor& x) {
  return x.defined() ? x.view() : View{};
}

// ---- cross_entropy --------------------------------------------------------------------------------------------------

template <class Index>
void check_targets(const Operation& op, const Tensor& target, std::int64_t classes, std::int64_t ignore_index) {
  const View view = target.view();
  for (std::int64_t i = 0; i < view.shape[0]; ++i) {
    const std::int64_t t = view.as<Index>()[i * view.strides[0]];
    if (t == ignore_index || (t >= 0 && t < classes)) continue;
    op.fail("target {} at position {} out of range for {} classes", t, i, classes);
  }
}

void check_arguments(const Operation& op, const Tensor& logits, const Tensor& target,
                     const CrossEntropyOptions& options) {
  op.floating(logits);
  op.same_device({logits, target});
  op.check(logits.rank() == 2, "logits {}, expected [n, classes]", logits.shape());
  op.check(target.dtype() == Dtype::i64 || target.dtype() == Dtype::i32, "target is {}, expected i64 or i32",
           target.dtype());
  const std::int64_t classes = logits.size(1);
  op.check(target.shape() == Shape{logits.size(0)}, "target {} does not fit logits {}; expected [n] and [n, classes]",
           target.shape(), logits.shape());
  op.check(classes > 0, "logits {} have no classes", logits.shape());
  op.check(options.label_smoothing >= 0 && options.label_smoothing < 1, "label_smoothing {} is not in [0, 1)",
           options.label_smoothing);
  if (options.weight.defined()) {
    op.same_dtype({logits, options.weight});
    op.check(options.weight.shape() == Shape{classes}, "weight {} does not fit {} classes", options.weight.shape(),
             classes);
    op.check(!options.weight.requires_grad(), "weight has no gradient");
  }
  if (target.device().type != DeviceType::cpu) return;  // elsewhere a wrong target makes its row NaN, without waiting
  if (target.dtype() == Dtype::i64) {
    check_targets<std::int64_t>(op, target, classes, options.ignore_index);
  } else {
    check_targets<std::int32_t>(op, target, classes, options.ignore_index);
  }
}

// The weight of each row's target [n], 0 where the row is ignored.
Tensor row_weights(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options) {
  const Tensor ignored = equal(target, scalar(static_cast<double>(options.ignore_index), target.options()));
  if (!options.weight.defined()) return logical_not(ignored).to(logits.dtype());
  return masked_fill(index_select(options.weight, 0, masked_fill(target, ignored, 0)), ignored, 0);
}

// The distribution [n, classes] that each row is compared with, times its weight, such that
// loss = -sum(q log p) and dlogits = dloss (p sum(q) - q).
Tensor target_distribution(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options) {
  const std::int64_t classes = logits.size(1);
  const Tensor ignored = equal(target, scalar(static_cast<double>(options.ignore_index), target.options()));
  const Tensor q = one_hot(masked_fill(target, ignored, 0), classes, logits.dtype()) * (1 - options.label_smoothing) +
                   options.label_smoothing / static_cast<double>(classes);
  return masked_fill(options.weight.defined() ? q * options.weight : q, ignored.unsqueeze(1), 0);
}

// ---- bce_with_logits ------------------------------------------------------------------------------------------------

// log(1 + exp(-x)), without overflow.
Tensor softplus_of_minus(const Tensor& x) {
  return maximum(-x, zeros_like(x)) + log(exp(-abs(x)) + 1);
}

// The gradients as a formula over the graph: dx = dy w (1 - t - k sigmoid(-x)), k = 1 + (pos_weight - 1) t.
Gradients composed_bce_gradients(const Upstream& up, const Tensor& x, const Tensor& t, const BceOptions& options) {
  const Tensor dy = options.weight.defined() ? up.dy() * options.weight : up.dy();
  Gradients gradients(2);
  if (up.needs(0)) {
    const Tensor k = options.pos_weight.defined() ? (options.pos_weight - 1) * t + 1 : ones_like(t);
    gradients[0] = dy * (1 - t - k * sigmoid(-x));
  }
  if (up.needs(1)) {
    gradients[1] = options.pos_weight.defined() ? dy * ((options.pos_weight - 1) * softplus_of_minus(x) - x) : -dy * x;
  }
  return gradients;
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options) {
  Operation op("cross_entropy");
  check_arguments(op, logits, target, options);
  const Dtype statistics = logits.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32;
  const Tensor losses = empty({logits.size(0)}, logits.options());
  const Tensor log_sum_exp = empty(losses.shape(), {statistics, logits.device()});
  const double smoothing = options.label_smoothing;
  kernels::cross_entropy_forward(logits.view(), target.view(), optional_view(options.weight), losses.view(),
                                 log_sum_exp.view(), smoothing, options.ignore_index, op.stream(logits));
  const Tensor recorded = op.record(losses, {logits}, [=](const Upstream& up) -> Gradients {
    if (up.create_graph()) {
      const Tensor q = target_distribution(logits, target, options);
      return {up.dy().unsqueeze(1) * (softmax(logits, 1) * sum(q, {1}, true) - q)};
    }
    const Tensor dlogits = empty_like(logits);
    kernels::cross_entropy_backward(logits.view(), target.view(), optional_view(options.weight), log_sum_exp.view(),
                                    up.dy().view(), dlogits.view(), smoothing, options.ignore_index,
                                    Stream{logits.device(), nullptr});
    return {dlogits};
  });
  if (options.reduction != Reduction::mean) return reduced(recorded, options.reduction);
  return sum(recorded) / sum(row_weights(logits, target, options));
}

Tensor bce_with_logits(const Tensor& logits, const Tensor& target, const BceOptions& options) {
  Operation op("bce_with_logits");
  op.floating(logits);
  op.same_dtype({logits, target});
  op.check(logits.shape() == target.shape(), "logits {} and target {} differ in shape", logits.shape(), target.shape());
  const auto weights_view = [&](const Tensor& weights, const char* name) {
    if (!weights.defined()) return View{};
    op.same_dtype({logits, weights});
    op.check(broadcast(weights.shape(), logits.shape()) == logits.shape(), "{} {} does not broadcast to {}", name,
             weights.shape(), logits.shape());
    op.check(!weights.requires_grad(), "{} has no gradient", name);
    return broadcast_view(weights, logits.shape());
  };
  const View weight = weights_view(options.weight, "weight");
  const View pos_weight = weights_view(options.pos_weight, "pos_weight");
  const Tensor losses = empty_like(logits);
  kernels::bce_with_logits_forward(logits.view(), target.view(), weight, pos_weight, losses.view(), op.stream(logits));
  // The views lie in the weights, which `options` keeps alive.
  const Tensor recorded = op.record(losses, {logits, target}, [=](const Upstream& up) -> Gradients {
    if (up.create_graph() || up.needs(1)) return composed_bce_gradients(up, logits, target, options);
    const Tensor dx = empty_like(logits);
    kernels::bce_with_logits_backward(logits.view(), target.view(), weight, pos_weight, up.dy().view(), dx.view(),
                                      Stream{logits.device(), nullptr});
    return {dx, Tensor()};
  });
  return reduced(recorded, options.reduction);
}

Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  Operation op("mse_loss");
  op.floating(input);
  op.same_dtype({input, target});
  op.check(input.shape() == target.shape(), "input {} and target {} differ in shape", input.shape(), target.shape());
  const Tensor distance = input - target;
  return reduced(distance * distance, reduction);
}

}  // namespace heed
