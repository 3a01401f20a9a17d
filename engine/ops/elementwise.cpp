#include <cmath>
#include <numbers>

#include "engine/ops.h"
#include "engine/ops/apply.h"
#include "kernels/copy/copy.h"

namespace heed {
namespace {

void not_boolean(const Operation& op, const Tensor& x) {
  op.same_device({x});
  op.check(x.dtype() != Dtype::boolean, "needs numbers, not bool");
}

void has_sign(const Operation& op, const Tensor& x) {
  op.same_device({x});
  op.check(x.dtype() != Dtype::boolean && x.dtype() != Dtype::u8, "needs a dtype with negative numbers, not {}",
           x.dtype());
}

void boolean(const Operation& op, const Tensor& x, const char* what) {
  op.same_device({x});
  op.check(x.dtype() == Dtype::boolean, "{} is {}, not bool", what, x.dtype());
}

// A number as a tensor of x's dtype.
Tensor like(const Tensor& x, double value) {
  return scalar(value, x.options());
}

}  // namespace

// ---- Arithmetic. Each gradient is summed down to the shape that its input was broadcast from.

Tensor add(const Tensor& a, const Tensor& b) {
  Operation op("add");
  not_boolean(op, a);
  return op.record(
      apply(op, kernels::add, a, b), {a, b},
      [a_shape = a.shape(), b_shape = b.shape()](const Upstream& up) -> Gradients {
        return {up.needs(0) ? sum_to(up.dy(), a_shape) : Tensor(), up.needs(1) ? sum_to(up.dy(), b_shape) : Tensor()};
      });
}

Tensor sub(const Tensor& a, const Tensor& b) {
  Operation op("sub");
  not_boolean(op, a);
  return op.record(
      apply(op, kernels::sub, a, b), {a, b},
      [a_shape = a.shape(), b_shape = b.shape()](const Upstream& up) -> Gradients {
        return {up.needs(0) ? sum_to(up.dy(), a_shape) : Tensor(), up.needs(1) ? sum_to(-up.dy(), b_shape) : Tensor()};
      });
}

Tensor mul(const Tensor& a, const Tensor& b) {
  Operation op("mul");
  not_boolean(op, a);
  return op.record(apply(op, kernels::mul, a, b), {a, b}, [a, b](const Upstream& up) -> Gradients {
    return {up.needs(0) ? sum_to(up.dy() * b, a.shape()) : Tensor(),
            up.needs(1) ? sum_to(up.dy() * a, b.shape()) : Tensor()};
  });
}

Tensor div(const Tensor& a, const Tensor& b) {
  Operation op("div");
  op.floating(a);
  return op.record(apply(op, kernels::div, a, b), {a, b}, [a, b](const Upstream& up) -> Gradients {
    return {up.needs(0) ? sum_to(up.dy() / b, a.shape()) : Tensor(),
            up.needs(1) ? sum_to(-up.dy() * a / (b * b), b.shape()) : Tensor()};
  });
}

// d/da a^b = b a^(b - 1), 0 where b = 0, even at a = 0;  d/db a^b = a^b log a, 0 where a = 0 and b >= 0 (PyTorch).
Tensor pow(const Tensor& a, const Tensor& b) {
  Operation op("pow");
  op.floating(a);
  return op.record(
      apply(op, kernels::pow, a, b), {a, b},
      [a, b](const Upstream& up) -> Gradients {
        Gradients gradients(2);
        if (up.needs(0)) {
          const Tensor slope = masked_fill(b * pow(a, b - 1.0), equal(b, like(b, 0)), 0);
          gradients[0] = sum_to(up.dy() * slope, a.shape());
        }
        if (up.needs(1)) {
          const Tensor vanishes = logical_and(equal(a, like(a, 0)), greater_equal(b, like(b, 0)));
          gradients[1] = sum_to(up.dy() * masked_fill(up.y() * log(a), vanishes, 0), b.shape());
        }
        return gradients;
      },
      save_output);
}

Tensor pow(const Tensor& a, double b) {
  Operation op("pow");
  op.floating(a);
  const Tensor y = b == 2 ? apply(op, kernels::mul, a, a) : apply(op, kernels::pow, a, like(a, b));
  return op.record(y, {a}, [a, b](const Upstream& up) -> Gradients {
    if (b == 0) return {zeros_like(a)};
    return {up.dy() * (b * (b == 2 ? a : pow(a, b - 1)))};
  });
}

namespace {

// What the larger (or smaller) of two operands gets: `loses` says where an operand gets nothing; ties share.
Gradients gradients_of_choice(const Upstream& up, const Tensor& a, const Tensor& b, const Tensor& a_loses,
                              const Tensor& b_loses) {
  const Tensor share = where(equal(a, b), up.dy() * 0.5, up.dy());
  return {up.needs(0) ? sum_to(masked_fill(share, a_loses, 0), a.shape()) : Tensor(),
          up.needs(1) ? sum_to(masked_fill(share, b_loses, 0), b.shape()) : Tensor()};
}

}  // namespace

Tensor maximum(const Tensor& a, const Tensor& b) {
  Operation op("maximum");
  not_boolean(op, a);
  return op.record(apply(op, kernels::maximum, a, b), {a, b}, [a, b](const Upstream& up) -> Gradients {
    return gradients_of_choice(up, a, b, less(a, b), greater(a, b));
  });
}

Tensor minimum(const Tensor& a, const Tensor& b) {
  Operation op("minimum");
  not_boolean(op, a);
  return op.record(apply(op, kernels::minimum, a, b), {a, b}, [a, b](const Upstream& up) -> Gradients {
    return gradients_of_choice(up, a, b, greater(a, b), less(a, b));
  });
}

// ---- Functions of one tensor

Tensor neg(const Tensor& x) {
  Operation op("neg");
  has_sign(op, x);
  return op.record(apply(op, kernels::neg, x), {x}, [](const Upstream& up) -> Gradients { return {-up.dy()}; });
}

// dx = dy sign(x)
Tensor abs(const Tensor& x) {
  Operation op("abs");
  has_sign(op, x);
  return op.record(apply(op, kernels::abs, x), {x}, [x](const Upstream& up) -> Gradients {
    if (!up.create_graph()) return {apply_backward(kernels::abs_backward, x, up.dy())};
    const Tensor zero = like(x, 0);
    return {up.dy() * (greater(x, zero).to(x.dtype()) - less(x, zero).to(x.dtype()))};
  });
}

Tensor exp(const Tensor& x) {
  Operation op("exp");
  op.floating(x);
  return op.record(
      apply(op, kernels::exp, x), {x}, [](const Upstream& up) -> Gradients { return {up.dy() * up.y()}; }, save_output);
}

Tensor log(const Tensor& x) {
  Operation op("log");
  op.floating(x);
  return op.record(apply(op, kernels::log, x), {x}, [x](const Upstream& up) -> Gradients { return {up.dy() / x}; });
}

// dx = dy / (2 y)
Tensor sqrt(const Tensor& x) {
  Operation op("sqrt");
  op.floating(x);
  return op.record(
      apply(op, kernels::sqrt, x), {x}, [](const Upstream& up) -> Gradients { return {up.dy() / (up.y() * 2.0)}; },
      save_output);
}

// dx = -dy y^3 / 2
Tensor rsqrt(const Tensor& x) {
  Operation op("rsqrt");
  op.floating(x);
  return op.record(
      apply(op, kernels::rsqrt, x), {x},
      [](const Upstream& up) -> Gradients {
        const Tensor y = up.y();
        return {up.dy() * (-0.5 * (y * y * y))};
      },
      save_output);
}

// dx = dy 2 / sqrt(pi) exp(-x^2)
Tensor erf(const Tensor& x) {
  Operation op("erf");
  op.floating(x);
  return op.record(apply(op, kernels::erf, x), {x}, [x](const Upstream& up) -> Gradients {
    return {up.dy() * (2 * std::numbers::inv_sqrtpi * exp(-(x * x)))};
  });
}

Tensor clamp(const Tensor& x, double low, double high) {
  Operation op("clamp");
  has_sign(op, x);
  op.check(!std::isnan(low) && !std::isnan(high), "bounds [{}, {}] must not be NaN", low, high);
  const Tensor y = empty_like(x);
  kernels::clamp(x.view(), y.view(), low, high, op.stream(x));
  return op.record(y, {x}, [=](const Upstream& up) -> Gradients {
    if (up.create_graph()) {
      const Tensor inside = logical_and(greater_equal(x, like(x, low)), less_equal(x, like(x, high)));
      return {where(inside, up.dy(), like(x, 0))};
    }
    const Tensor dx = empty_like(x);
    kernels::clamp_backward(x.view(), up.dy().view(), dx.view(), low, high, Stream{x.device(), nullptr});
    return {dx};
  });
}

// ---- Choices

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  Operation op("where");
  boolean(op, condition, "condition");
  op.same_device({condition, a});
  op.same_dtype({a, b});
  const Shape shape = broadcast_shape(op, broadcast_shape(op, a.shape(), b.shape()), condition.shape());
  const Tensor y = empty(shape, a.options());
  kernels::where(broadcast_view(condition, shape), broadcast_view(a, shape), broadcast_view(b, shape), y.view(),
                 op.stream(a));
  return op.record(y, {a, b}, [condition, a_shape = a.shape(), b_shape = b.shape()](const Upstream& up) -> Gradients {
    const Tensor& dy = up.dy();
    const Tensor zero = like(dy, 0);
    return {up.needs(0) ? sum_to(where(condition, dy, zero), a_shape) : Tensor(),
            up.needs(1) ? sum_to(where(condition, zero, dy), b_shape) : Tensor()};
  });
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, double value) {
  Operation op("masked_fill");
  boolean(op, mask, "mask");
  op.same_device({x, mask});
  op.check(broadcast(mask.shape(), x.shape()) == x.shape(), "mask of shape {} does not broadcast to {}", mask.shape(),
           x.shape());
  if (std::isinf(value)) op.may_be_infinite();
  const Tensor y = empty_like(x);
  kernels::where(broadcast_view(mask, x.shape()), broadcast_view(like(x, value), x.shape()), x.view(), y.view(),
                 op.stream(x));
  return op.record(y, {x}, [mask](const Upstream& up) -> Gradients { return {masked_fill(up.dy(), mask, 0)}; });
}

namespace {

Tensor triangle(const char* name, const Tensor& x, std::int64_t diagonal, bool upper) {
  Operation op(name);
  op.same_device({x});
  op.check(x.rank() >= 2, "needs a matrix, not shape {}", x.shape());
  const Tensor y = empty_like(x);
  kernels::triangle(x.view(), y.view(), diagonal, upper, op.stream(x));
  return op.record(y, {x}, [=](const Upstream& up) -> Gradients { return {triangle(name, up.dy(), diagonal, upper)}; });
}

}  // namespace

Tensor tril(const Tensor& x, std::int64_t diagonal) {
  return triangle("tril", x, diagonal, false);
}
Tensor triu(const Tensor& x, std::int64_t diagonal) {
  return triangle("triu", x, diagonal, true);
}

// ---- Comparisons and logic

namespace {

Tensor compare(const char* name, const kernels::Kernel<kernels::Binary>& kernel, const Tensor& a, const Tensor& b) {
  Operation op(name);
  return op.non_differentiable(apply(op, kernel, a, b, Dtype::boolean), {a, b});
}

Tensor combine(const char* name, const kernels::Kernel<kernels::Binary>& kernel, const Tensor& a, const Tensor& b) {
  Operation op(name);
  boolean(op, a, "first operand");
  boolean(op, b, "second operand");
  return op.non_differentiable(apply(op, kernel, a, b), {a, b});
}

}  // namespace

Tensor equal(const Tensor& a, const Tensor& b) {
  return compare("equal", kernels::equal, a, b);
}
Tensor not_equal(const Tensor& a, const Tensor& b) {
  return compare("not_equal", kernels::not_equal, a, b);
}
Tensor less(const Tensor& a, const Tensor& b) {
  return compare("less", kernels::less, a, b);
}
Tensor less_equal(const Tensor& a, const Tensor& b) {
  return compare("less_equal", kernels::less_equal, a, b);
}
Tensor greater(const Tensor& a, const Tensor& b) {
  return compare("greater", kernels::greater, a, b);
}
Tensor greater_equal(const Tensor& a, const Tensor& b) {
  return compare("greater_equal", kernels::greater_equal, a, b);
}
Tensor logical_and(const Tensor& a, const Tensor& b) {
  return combine("logical_and", kernels::logical_and, a, b);
}
Tensor logical_or(const Tensor& a, const Tensor& b) {
  return combine("logical_or", kernels::logical_or, a, b);
}
Tensor logical_not(const Tensor& x) {
  Operation op("logical_not");
  op.same_device({x});
  const Tensor y = empty(x.shape(), {Dtype::boolean, x.device()});
  kernels::logical_not(x.view(), y.view(), op.stream(x));
  return op.non_differentiable(y, {x});
}

}  // namespace heed
