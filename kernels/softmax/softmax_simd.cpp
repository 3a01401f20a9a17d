// Rungs 2 and 3 of the ladder: f32 rows that lie contiguously in memory. NOTES.md compares them.
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/cpu/index_space.h"
#include "kernels/cpu/parallel.h"
#include "kernels/softmax/reference.h"
#include "kernels/softmax/softmax.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softmax/softmax_simd.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

inline constexpr float infinity = std::numeric_limits<float>::infinity();

// Calls row(float* ..., n) for the rows of f32 views; false, and nothing done, where rows are not contiguous floats.
template <class Body, class... Views>
bool for_rows(int axis, Body&& row, const Views&... views) {
  constexpr int count = sizeof...(Views);
  const std::array<View, count> all = {views...};
  for (const View& view : all) {
    if (view.dtype != Dtype::f32 || view.strides[axis] != 1) return false;
  }
  const std::int64_t n = all[0].shape[axis];
  const IndexSpace<count> rows(all, [axis](int other) { return other != axis; });
  parallel_for(rows.size(), 1 + 16384 / (n + 1), [&](std::int64_t begin, std::int64_t end) {
    rows.walk(begin, end, [&](const auto& at) {
      [&]<std::size_t... i>(std::index_sequence<i...>) {
        row(all[i].template as<float>() + at[i]..., n);
      }
      (std::make_index_sequence<count>());
    });
  });
  return true;
}

// The maximum of a row and the sum of exp(x - max). Where all is -inf, the differences are NaN: see all_masked.
struct MaxAndSum {
  float max;
  double sum;
};

template <class D>
HWY_INLINE auto exp_from(D d, const float* x, float max) {
  return exp_of_nonpositive(d, hn::Sub(hn::LoadU(d, x), hn::Set(d, max)));
}

// A row without a single finite element or NaN. A NaN or +inf in any other row finds its own way into the sum.
HWY_INLINE bool all_masked(float max, const float* x, std::int64_t n) {
  return max == -infinity && !any_nan(x, n);
}

// Rung 2. Three passes: the maximum; exp(x - max), stored in y, and its sum; y times 1 / sum. Only the first pass waits
// for memory as long as the row stays in the cache until the last.
void softmax_row_three_pass(const float* x, float* y, std::int64_t n) {
  const float max = max_of(x, n);
  if (all_masked(max, x, n)) return fill(y, n, 0);
  const double sum = sum_of(n, [=](auto d, std::int64_t i) HWY_ATTR {
    const auto e = exp_from(d, x + i, max);
    hn::StoreU(e, d, y + i);
    return e;
  });
  const auto scale = static_cast<float>(1 / sum);
  for_vectors(0, n, [=](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, y + i), hn::Set(d, scale)), d, y + i);
  });
}

MaxAndSum max_and_sum_two_pass(const float* x, std::int64_t n) {
  const float max = max_of(x, n);
  return {max, sum_of(n, [=](auto d, std::int64_t i) HWY_ATTR { return exp_from(d, x + i, max); })};
}

// Maximum and sum in one pass (Milakov, Gimelshein 2018, arXiv:1805.02867): the sum is relative to the maximum so far
// and is rescaled when that grows. Block by block, so that the vectors within a block share one maximum and the
// rescaling, a scalar exp, happens once in a thousand elements.
MaxAndSum max_and_sum_online(const float* x, std::int64_t n) {
  constexpr std::int64_t block = 1024;
  float max = -infinity;
  double sum = 0;
  for (std::int64_t begin = 0; begin < n; begin += block) {
    const std::int64_t length = std::min(n - begin, block);
    const float block_max = max_of(x + begin, length);
    if (!(block_max <= max)) {
      sum *= std::exp(static_cast<double>(max) - static_cast<double>(block_max));
      max = block_max;
    } else if (max == -infinity && all_masked(max, x + begin, length)) {
      continue;
    }
    sum += sum_of(length, [=](auto d, std::int64_t i) HWY_ATTR { return exp_from(d, x + begin + i, max); });
  }
  return {max, sum};
}

// Rung 3. Two passes, each of them over memory when the row is longer than the cache: one read, then one read and one
// write, where three passes would read three times and write twice. The price: every exp is computed twice.
void softmax_row_online(const float* x, float* y, std::int64_t n) {
  const auto [max, sum] = max_and_sum_online(x, n);
  if (sum == 0) return fill(y, n, 0);
  const auto scale = static_cast<float>(1 / sum);
  for_vectors(0, n, [=, max = max](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(exp_from(d, x + i, max), hn::Set(d, scale)), d, y + i);
  });
}

void log_softmax_row(const float* x, float* y, std::int64_t n, MaxAndSum found) {
  const float max = found.max, log_sum = static_cast<float>(std::log(found.sum));
  for_vectors(0, n, [=](auto d, std::int64_t i) HWY_ATTR {
    const auto from_max = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, max));
    hn::StoreU(hn::Sub(from_max, hn::Set(d, log_sum)), d, y + i);
  });
}
void log_softmax_row_two_pass(const float* x, float* y, std::int64_t n) {
  const MaxAndSum found = max_and_sum_two_pass(x, n);
  if (all_masked(found.max, x, n)) return fill(y, n, -infinity);
  log_softmax_row(x, y, n, found);
}
void log_softmax_row_online(const float* x, float* y, std::int64_t n) {
  const MaxAndSum found = max_and_sum_online(x, n);
  if (found.sum == 0) return fill(y, n, -infinity);
  log_softmax_row(x, y, n, found);
}

void softmax_backward_row(const float* y, const float* dy, float* dx, std::int64_t n) {
  const auto dot = static_cast<float>(
      sum_of(n, [=](auto d, std::int64_t i) HWY_ATTR { return hn::Mul(hn::LoadU(d, y + i), hn::LoadU(d, dy + i)); }));
  for_vectors(0, n, [=](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, y + i), hn::Sub(hn::LoadU(d, dy + i), hn::Set(d, dot))), d, dx + i);
  });
}

void log_softmax_backward_row(const float* y, const float* dy, float* dx, std::int64_t n) {
  const auto sum = static_cast<float>(sum_of(n, [=](auto d, std::int64_t i) HWY_ATTR { return hn::LoadU(d, dy + i); }));
  for_vectors(0, n, [=](auto d, std::int64_t i) HWY_ATTR {
    const auto probability = exp_of_nonpositive(d, hn::LoadU(d, y + i));
    hn::StoreU(hn::NegMulAdd(probability, hn::Set(d, sum), hn::LoadU(d, dy + i)), d, dx + i);
  });
}

bool softmax_three_pass_f32(const View& x, const View& y, int axis) {
  return for_rows(axis, softmax_row_three_pass, x, y);
}
bool softmax_online_f32(const View& x, const View& y, int axis) {
  return for_rows(axis, softmax_row_online, x, y);
}
bool log_softmax_two_pass_f32(const View& x, const View& y, int axis) {
  return for_rows(axis, log_softmax_row_two_pass, x, y);
}
bool log_softmax_online_f32(const View& x, const View& y, int axis) {
  return for_rows(axis, log_softmax_row_online, x, y);
}
bool softmax_backward_f32(const View& y, const View& dy, const View& dx, int axis) {
  return for_rows(axis, softmax_backward_row, y, dy, dx);
}
bool log_softmax_backward_f32(const View& y, const View& dy, const View& dx, int axis) {
  return for_rows(axis, log_softmax_backward_row, y, dy, dx);
}

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {

HWY_EXPORT(softmax_three_pass_f32);
HWY_EXPORT(softmax_online_f32);
HWY_EXPORT(log_softmax_two_pass_f32);
HWY_EXPORT(log_softmax_online_f32);
HWY_EXPORT(softmax_backward_f32);
HWY_EXPORT(log_softmax_backward_f32);

void softmax_three_pass(View x, View y, int axis, Stream stream) {
  if (!HWY_DYNAMIC_DISPATCH(softmax_three_pass_f32)(x, y, axis)) softmax_forward_reference(x, y, axis, stream);
}
void softmax_online(View x, View y, int axis, Stream stream) {
  if (!HWY_DYNAMIC_DISPATCH(softmax_online_f32)(x, y, axis)) softmax_forward_reference(x, y, axis, stream);
}
void log_softmax_two_pass(View x, View y, int axis, Stream stream) {
  if (!HWY_DYNAMIC_DISPATCH(log_softmax_two_pass_f32)(x, y, axis)) log_softmax_forward_reference(x, y, axis, stream);
}
void log_softmax_online(View x, View y, int axis, Stream stream) {
  if (!HWY_DYNAMIC_DISPATCH(log_softmax_online_f32)(x, y, axis)) log_softmax_forward_reference(x, y, axis, stream);
}
void softmax_backward_simd(View y, View dy, View dx, int axis, Stream stream) {
  if (!HWY_DYNAMIC_DISPATCH(softmax_backward_f32)(y, dy, dx, axis)) softmax_backward_reference(y, dy, dx, axis, stream);
}
void log_softmax_backward_simd(View y, View dy, View dx, int axis, Stream stream) {
  if (!HWY_DYNAMIC_DISPATCH(log_softmax_backward_f32)(y, dy, dx, axis))
    log_softmax_backward_reference(y, dy, dx, axis, stream);
}

constexpr DeviceType cpu = DeviceType::cpu;
const Register three_pass{softmax_forward, cpu, "three_pass", &softmax_three_pass, is_default};
const Register online{softmax_forward, cpu, "online", &softmax_online};
const Register log_two_pass{log_softmax_forward, cpu, "two_pass", &log_softmax_two_pass, is_default};
const Register log_online{log_softmax_forward, cpu, "online", &log_softmax_online};
const Register simd_backward{softmax_backward, cpu, "simd", &softmax_backward_simd, is_default};
const Register simd_log_backward{log_softmax_backward, cpu, "simd", &log_softmax_backward_simd, is_default};

}  // namespace
}  // namespace heed::kernels
#endif
