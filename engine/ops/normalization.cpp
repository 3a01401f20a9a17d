#include "engine/operation.h"
#include "engine/ops.h"
#include "kernels/layer_norm/layer_norm.h"

namespace heed {
namespace {

// x as the kernels take it, [rows, n], n its last axis. No graph.
Tensor rows_of(const Tensor& x) {
  const NoGrad guard;
  const std::int64_t n = x.size(-1);
  return x.detach().reshape({x.count() / n, n});
}

// An alias of a contiguous tensor.
View rows_view(const Tensor& y) {
  const std::int64_t n = y.size(-1);
  return alias(y, Layout::contiguous({y.count() / n, n})).view();
}

View optional_view(const Tensor& x) {
  return x.defined() ? x.view() : View{};
}

Dtype statistics_dtype(const Tensor& x) {
  return x.dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32;
}

void check_parameters(const Operation& op, const Tensor& x, std::initializer_list<const Tensor*> parameters) {
  op.floating(x);
  op.check(x.rank() > 0 && x.size(-1) > 0, "shape {} has no elements along a last axis", x.shape());
  for (const Tensor* parameter : parameters) {
    if (!parameter->defined()) continue;
    op.same_dtype({x, *parameter});
    op.check(parameter->shape() == Shape{x.size(-1)}, "parameter {} does not fit the last axis of {}",
             parameter->shape(), x.shape());
  }
}

// The gradients as a formula over the graph, for when they are themselves differentiated. `centred`: layer_norm.
Gradients composed_gradients(const Upstream& up, const Tensor& x, const Tensor& weight, double eps, bool centred) {
  const Tensor& dy = up.dy();
  const Tensor distance = centred ? x - mean(x, {-1}, true) : x;
  const Tensor rstd = rsqrt(mean(distance * distance, {-1}, true) + eps);
  const Tensor xhat = distance * rstd;
  Gradients gradients(3);
  if (up.needs(0)) {
    const Tensor g = weight.defined() ? dy * weight : dy;
    const Tensor inner = g - xhat * mean(g * xhat, {-1}, true);
    gradients[0] = rstd * (centred ? inner - mean(g, {-1}, true) : inner);
  }
  if (up.needs(1)) gradients[1] = sum_to(dy * xhat, weight.shape());
  return gradients;
}

Tensor workspace_for(const Tensor& rows) {
  return empty({kernels::norm_workspace_size(rows.size(0), rows.size(1))}, {statistics_dtype(rows), rows.device()});
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  Operation op("layer_norm");
  check_parameters(op, x, {&weight, &bias});
  const Tensor rows = rows_of(x), y = empty(x.shape(), x.options());
  const Tensor mean = empty({rows.size(0)}, {statistics_dtype(x), x.device()}), rstd = empty_like(mean);
  kernels::layer_norm_forward(rows.view(), optional_view(weight), optional_view(bias), rows_view(y), mean.view(),
                              rstd.view(), eps, op.stream(x));
  return op.record(y, {x, weight, bias}, [=](const Upstream& up) -> Gradients {
    const Tensor& dy = up.dy();
    if (up.create_graph()) {
      Gradients gradients = composed_gradients(up, x, weight, eps, true);
      if (up.needs(2)) gradients[2] = sum_to(dy, bias.shape());
      return gradients;
    }
    Gradients gradients(3);
    if (up.needs(0)) gradients[0] = empty(x.shape(), x.options());
    if (up.needs(1)) gradients[1] = empty(weight.shape(), x.options());
    if (up.needs(2)) gradients[2] = empty(bias.shape(), x.options());
    const Tensor rows = rows_of(x), dy_rows = rows_of(dy), workspace = workspace_for(rows);
    kernels::layer_norm_backward(rows.view(), optional_view(weight), dy_rows.view(), mean.view(), rstd.view(),
                                 up.needs(0) ? rows_view(gradients[0].dense) : View{},
                                 optional_view(gradients[1].dense), optional_view(gradients[2].dense), workspace.view(),
                                 Stream{x.device(), nullptr});
    return gradients;
  });
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  Operation op("rms_norm");
  check_parameters(op, x, {&weight});
  const Tensor rows = rows_of(x), y = empty(x.shape(), x.options());
  const Tensor rstd = empty({rows.size(0)}, {statistics_dtype(x), x.device()});
  kernels::rms_norm_forward(rows.view(), optional_view(weight), rows_view(y), rstd.view(), eps, op.stream(x));
  return op.record(y, {x, weight}, [=](const Upstream& up) -> Gradients {
    Gradients gradients(2);
    if (up.create_graph()) {
      gradients = composed_gradients(up, x, weight, eps, false);
      gradients.resize(2);
      return gradients;
    }
    if (up.needs(0)) gradients[0] = empty(x.shape(), x.options());
    if (up.needs(1)) gradients[1] = empty(weight.shape(), x.options());
    const Tensor rows = rows_of(x), dy_rows = rows_of(up.dy()), workspace = workspace_for(rows);
    kernels::rms_norm_backward(rows.view(), optional_view(weight), dy_rows.view(), rstd.view(),
                               up.needs(0) ? rows_view(gradients[0].dense) : View{}, optional_view(gradients[1].dense),
                               workspace.view(), Stream{x.device(), nullptr});
    return gradients;
  });
}

}  // namespace heed
