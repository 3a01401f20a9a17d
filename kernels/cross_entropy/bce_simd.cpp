// Binary cross-entropy in vectors, for f32 lines that lie contiguously in memory; a weight may be one for a whole line.
#include "kernels/cpu/index_space.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cross_entropy/reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy/bce_simd.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include <hwy/contrib/math/math-inl.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

// One operand along a line: `step` is 1, or 0 when all elements are the same.
struct Line {
  const float* data;
  std::int64_t step;
  template <class D>
  HWY_INLINE hn::Vec<D> at(D d, std::int64_t i) const {
    return step == 0 ? hn::Set(d, *data) : hn::LoadU(d, data + i);
  }
};

// Cuts lines along the fastest axis into pieces and calls piece(out, lines, n), lines standing for views 1 to N - 1.
// False, and nothing done, where the views do not lie so.
template <int N, class Piece>
bool for_pieces(const std::array<View, N>& views, Piece&& piece) {
  constexpr std::int64_t length = 4096;
  IndexSpace<N> lines(views, [](int) { return true; });
  std::array<std::int64_t, N> steps;
  for (int v = 0; v < N; ++v) {
    steps[v] = lines.inner_stride(v);
    if (views[v].dtype != Dtype::f32 || steps[v] > 1 || (v == 0 && steps[v] != 1)) return false;
  }
  const std::int64_t n = lines.inner_length(), pieces_per_line = (n + length - 1) / length;
  lines.drop_inner();
  parallel_for(lines.size() * pieces_per_line, 1 + length / (n + 1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t line = i / pieces_per_line, start = i % pieces_per_line * length;
      lines.walk(line, line + 1, [&](const auto& at) {
        std::array<Line, N - 1> inputs;
        for (int v = 1; v < N; ++v)
          inputs[v - 1] = {views[v].template as<float>() + at[v] + start * steps[v], steps[v]};
        piece(views[0].template as<float>() + at[0] + start, inputs, std::min(n - start, length));
      });
    }
  });
  return true;
}

bool bce_forward(const View& x, const View& target, const View& weight, const View& pos_weight, const View& losses) {
  const auto piece = [](float* loss, const std::array<Line, 4>& in, std::int64_t n) {
    for_vectors(0, n, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto one = hn::Set(d, 1);
      const auto logit = in[0].at(d, i), t = in[1].at(d, i);
      const auto k = hn::MulAdd(hn::Sub(in[3].at(d, i), one), t, one);
      const auto decay = exp_of_nonpositive(d, hn::Neg(hn::Abs(logit)));
      const auto softplus = hn::Add(hn::Log1p(d, decay), hn::Max(hn::Neg(logit), hn::Zero(d)));  // log(1 + exp(-x))
      const auto sum = hn::MulAdd(hn::Sub(one, t), logit, hn::Mul(k, softplus));
      hn::StoreU(hn::Mul(in[2].at(d, i), sum), d, loss + i);
    });
  };
  return for_pieces<5>({losses, x, target, weight, pos_weight}, piece);
}

bool bce_backward(const View& x, const View& target, const View& weight, const View& pos_weight, const View& dlosses,
                  const View& dx) {
  const auto piece = [](float* to, const std::array<Line, 5>& in, std::int64_t n) {
    for_vectors(0, n, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto one = hn::Set(d, 1);
      const auto logit = in[0].at(d, i), t = in[1].at(d, i);
      const auto k = hn::MulAdd(hn::Sub(in[3].at(d, i), one), t, one);
      const auto decay = exp_of_nonpositive(d, hn::Neg(hn::Abs(logit)));
      const auto above = hn::IfThenElse(hn::Ge(logit, hn::Zero(d)), decay, one);
      const auto sigmoid_of_minus = hn::Div(above, hn::Add(one, decay));
      const auto slope = hn::NegMulAdd(k, sigmoid_of_minus, hn::Sub(one, t));
      hn::StoreU(hn::Mul(hn::Mul(in[4].at(d, i), in[2].at(d, i)), slope), d, to + i);
    });
  };
  return for_pieces<6>({dx, x, target, weight, pos_weight, dlosses}, piece);
}

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {

HWY_EXPORT(bce_forward);
HWY_EXPORT(bce_backward);

void forward_simd(View x, View target, View weight, View pos_weight, View losses, Stream stream) {
  float one = 1;
  const View w = or_ones(weight, x, one), pw = or_ones(pos_weight, x, one);
  if (x.dtype == Dtype::f32 && HWY_DYNAMIC_DISPATCH(bce_forward)(x, target, w, pw, losses)) return;
  bce_with_logits_forward_reference(x, target, weight, pos_weight, losses, stream);
}

void backward_simd(View x, View target, View weight, View pos_weight, View dlosses, View dx, Stream stream) {
  float one = 1;
  const View w = or_ones(weight, x, one), pw = or_ones(pos_weight, x, one);
  if (x.dtype == Dtype::f32 && HWY_DYNAMIC_DISPATCH(bce_backward)(x, target, w, pw, dlosses, dx)) return;
  bce_with_logits_backward_reference(x, target, weight, pos_weight, dlosses, dx, stream);
}

const Register register_forward{bce_with_logits_forward, DeviceType::cpu, "simd", &forward_simd, is_default};
const Register register_backward{bce_with_logits_backward, DeviceType::cpu, "simd", &backward_simd, is_default};

}  // namespace
}  // namespace heed::kernels
#endif
