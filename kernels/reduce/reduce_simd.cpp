// The f32 reductions in vectors. What matters is to which side the fastest axis of x belongs. Where it is reduced, a
// line of memory folds into one number ("rows"); where it is kept, lines fold into one another ("columns"), and no
// vector is ever taken apart. Long reductions are cut into pieces, whose number depends on the shape alone; they are
// merged in order.
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>

#include "kernels/cpu/index_space.h"
#include "kernels/cpu/parallel.h"
#include "kernels/reduce/accumulators.h"
#include "kernels/reduce/reduce.h"
#include "kernels/reduce/reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduce/reduce_simd.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

// A fold: `load` makes a vector of elements, `combine` folds one vector into another lane by lane, `join` adds the
// result in one lane to an accumulator. At most 64 elements meet in a lane in between, so f32 sums keep their digits.

template <bool squared>
struct SumFold {
  using Accumulator = SumOf<float>;
  template <class D>
  static HWY_INLINE auto load(D d, const float* x) {
    const auto v = hn::LoadU(d, x);
    if constexpr (squared) {
      return hn::Mul(v, v);
    } else {
      return v;
    }
  }
  template <class V>
  static HWY_INLINE V combine(V a, V b) {
    return hn::Add(a, b);
  }
  template <class D>
  static HWY_INLINE float across(D d, hn::Vec<D> v) {
    return hn::GetLane(hn::SumOfLanes(d, v));
  }
};

template <bool greatest>
struct ExtremeFold {
  using Accumulator = std::conditional_t<greatest, MaxOf<float>, MinOf<float>>;
  template <class D>
  static HWY_INLINE auto load(D d, const float* x) {
    return hn::LoadU(d, x);
  }
  // Instruction sets disagree on the maximum of a NaN and a number, so it is spelt out: a NaN in either stays.
  template <class V>
  static HWY_INLINE V combine(V best, V x) {
    const auto better = greatest ? hn::Gt(x, best) : hn::Lt(x, best);
    return hn::IfThenElse(hn::Or(better, hn::IsNaN(x)), x, best);
  }
  template <class D>
  static HWY_INLINE float across(D d, hn::Vec<D> v) {
    if (!hn::AllFalse(d, hn::IsNaN(v))) return std::numeric_limits<float>::quiet_NaN();
    return hn::GetLane(greatest ? hn::MaxOfLanes(d, v) : hn::MinOfLanes(d, v));
  }
};

inline constexpr std::int64_t fold_depth = 64;

// One contiguous line into an accumulator. Four vectors at a time, as one addition must wait for the one before.
template <class Fold>
void fold_line(Fold, const float* x, std::int64_t n, typename Fold::Accumulator& accumulator) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  while (i + 4 * lanes <= n) {
    auto v0 = Fold::load(d, x + i), v1 = Fold::load(d, x + i + lanes);
    auto v2 = Fold::load(d, x + i + 2 * lanes), v3 = Fold::load(d, x + i + 3 * lanes);
    const std::int64_t stop = std::min(n, i + 4 * lanes * fold_depth);
    for (i += 4 * lanes; i + 4 * lanes <= stop; i += 4 * lanes) {
      v0 = Fold::combine(v0, Fold::load(d, x + i));
      v1 = Fold::combine(v1, Fold::load(d, x + i + lanes));
      v2 = Fold::combine(v2, Fold::load(d, x + i + 2 * lanes));
      v3 = Fold::combine(v3, Fold::load(d, x + i + 3 * lanes));
    }
    accumulator.add(Fold::across(d, Fold::combine(Fold::combine(v0, v1), Fold::combine(v2, v3))));
  }
  for_vectors(i, n, [&](auto tail, std::int64_t at) HWY_ATTR {
    accumulator.add(Fold::across(tail, Fold::load(tail, x + at)));
  });
}

// log_sum_exp has no lane-wise fold: its terms need the maximum first. The line is read twice, from the cache.
struct LogSumExpFold {
  using Accumulator = LogSumExpOf<float>;
};
void fold_line(LogSumExpFold, const float* x, std::int64_t n, LogSumExpOf<float>& accumulator) {
  const float max = max_of(x, n);
  if (!std::isfinite(max)) {  // infinities and NaN follow rules of their own, which the accumulator knows
    for (std::int64_t i = 0; i < n; ++i) accumulator.add(x[i]);
    return;
  }
  const double sum = sum_of(n, [x, max](auto d, std::int64_t i) HWY_ATTR {
    return exp_of_nonpositive(d, hn::Sub(hn::LoadU(d, x + i), hn::Set(d, max)));
  });
  accumulator.merge({max, sum});
}

inline constexpr std::int64_t strip_width = 512;

// Some lines of `width` floats, at x + offsets[...], into one line. As they lie in memory, line after line; the result
// stays in the L1 cache, and taking four lines at a time makes its traffic small.
template <class Fold>
HWY_INLINE void fold_lines(const float* x, const std::int64_t* offsets, std::int64_t lines, std::int64_t width,
                           float* result) {
  for_vectors(0, width,
              [&](auto d, std::int64_t i) HWY_ATTR { hn::StoreU(Fold::load(d, x + offsets[0] + i), d, result + i); });
  std::int64_t line = 1;
  for (; line + 4 <= lines; line += 4) {
    const float *x0 = x + offsets[line], *x1 = x + offsets[line + 1];
    const float *x2 = x + offsets[line + 2], *x3 = x + offsets[line + 3];
    for_vectors(0, width, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto first = Fold::combine(Fold::load(d, x0 + i), Fold::load(d, x1 + i));
      const auto second = Fold::combine(Fold::load(d, x2 + i), Fold::load(d, x3 + i));
      hn::StoreU(Fold::combine(hn::LoadU(d, result + i), Fold::combine(first, second)), d, result + i);
    });
  }
  for (; line < lines; ++line) {
    for_vectors(0, width, [&](auto d, std::int64_t i) HWY_ATTR {
      hn::StoreU(Fold::combine(hn::LoadU(d, result + i), Fold::load(d, x + offsets[line] + i)), d, result + i);
    });
  }
}

// The same lines into an accumulator per column.
template <class Fold>
void fold_columns(Fold, const float* x, const std::int64_t* offsets, std::int64_t lines, std::int64_t width,
                  typename Fold::Accumulator* accumulators) {
  HWY_ALIGN float partial[strip_width];
  fold_lines<Fold>(x, offsets, lines, width, partial);
  for (std::int64_t i = 0; i < width; ++i) accumulators[i].add(partial[i]);
}
void fold_columns(LogSumExpFold, const float* x, const std::int64_t* offsets, std::int64_t lines, std::int64_t width,
                  LogSumExpOf<float>* accumulators) {
  HWY_ALIGN float max[strip_width], sum[strip_width] = {};
  fold_lines<ExtremeFold<true>>(x, offsets, lines, width, max);
  for (std::int64_t line = 0; line < lines; ++line) {
    for_vectors(0, width, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto from_max = hn::Sub(hn::LoadU(d, x + offsets[line] + i), hn::LoadU(d, max + i));
      hn::StoreU(hn::Add(hn::LoadU(d, sum + i), exp_of_nonpositive(d, from_max)), d, sum + i);
    });
  }
  for (std::int64_t i = 0; i < width; ++i) {
    if (std::isinf(max[i])) {
      accumulators[i].add(max[i]);  // the differences above were NaN
    } else {
      accumulators[i].merge({max[i], sum[i]});
    }
  }
}

// The fastest axis is reduced. Few outputs: the segments of each are spread over the cores; many: the outputs are.
template <class Fold>
void reduce_rows(const View& x, const View& y, const IndexSpace<2>& kept, IndexSpace<1> lines) {
  using Accumulator = typename Fold::Accumulator;
  constexpr std::int64_t segment_length = 16384, max_pieces = 64;
  const std::int64_t n = lines.inner_length();
  lines.drop_inner();
  const std::int64_t segments_per_line = (n + segment_length - 1) / segment_length;
  const std::int64_t segments = lines.size() * segments_per_line;

  const auto fold_segments = [&](const float* from, std::int64_t first, std::int64_t last) {
    Accumulator accumulator;
    while (first < last) {
      const std::int64_t line = first / segments_per_line, in_line = first % segments_per_line;
      const std::int64_t count = segments_per_line == 1 ? last - first : 1;  // short lines are walked in one go
      const std::int64_t begin = in_line * segment_length, length = std::min(n - begin, segment_length);
      lines.walk(line, line + count,
                 [&](const auto& at) { fold_line(Fold{}, from + at[0] + begin, length, accumulator); });
      first += count;
    }
    return accumulator;
  };

  const bool split = kept.size() < 16 && segments >= 4;
  const std::int64_t grain = split ? kept.size() : 1 + segment_length / (lines.size() * n + 1);
  parallel_for(kept.size(), grain, [&](std::int64_t begin, std::int64_t end) {
    kept.walk(begin, end, [&](const auto& at) {
      const float* from = x.as<float>() + at[0];
      Accumulator total;
      if (split) {
        const std::int64_t per_piece = (segments + max_pieces - 1) / max_pieces;
        std::array<Accumulator, max_pieces> pieces;
        parallel_for(segments, per_piece, [&](std::int64_t first, std::int64_t last) {
          pieces[first / per_piece] = fold_segments(from, first, last);
        });
        for (std::int64_t i = 0; i * per_piece < segments; ++i) total.merge(pieces[i]);
      } else {
        total = fold_segments(from, 0, segments);
      }
      y.as<float>()[at[1]] = total.result();
    });
  });
}

// The fastest axis is kept: strips of up to 512 columns, their lines in blocks of fold_depth, in pieces where there are
// too few strips to occupy the cores.
template <class Fold>
void reduce_columns(const View& x, const View& y, IndexSpace<2> kept, const IndexSpace<1>& lines) {
  using Accumulator = typename Fold::Accumulator;
  constexpr std::int64_t max_accumulators = 4096;
  const std::int64_t columns = kept.inner_length(), y_stride = kept.inner_stride(1);
  kept.drop_inner();
  const std::int64_t strips = (columns + strip_width - 1) / strip_width;
  const std::int64_t widest = std::min(columns, strip_width);

  const auto fold_piece = [&](const float* from, std::int64_t width, std::int64_t begin, std::int64_t end,
                              Accumulator* accumulators) {
    std::int64_t offsets[fold_depth], count = 0, left = end - begin;
    lines.walk(begin, end, [&](const auto& at) {
      offsets[count++] = at[0];
      if (--left > 0 && count < fold_depth) return;
      fold_columns(Fold{}, from, offsets, count, width, accumulators);
      count = 0;
    });
  };

  const bool split = kept.size() * strips < 16;
  const std::int64_t pieces =
      split ? std::clamp<std::int64_t>(lines.size() * widest / 32768, 1, max_accumulators / widest) : 1;
  const std::int64_t per_piece = std::max<std::int64_t>(1, (lines.size() + pieces - 1) / pieces);
  const std::int64_t grain = split ? kept.size() * strips : 1 + 16384 / (lines.size() * widest + 1);
  parallel_for(kept.size() * strips, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      kept.walk(task / strips, task / strips + 1, [&](const auto& at) {
        const std::int64_t column = task % strips * strip_width, width = std::min(strip_width, columns - column);
        alignas(Accumulator) std::byte storage[max_accumulators * sizeof(Accumulator)];
        const auto accumulators = reinterpret_cast<Accumulator*>(storage);  // [pieces, width]
        std::uninitialized_default_construct_n(accumulators, pieces * width);
        parallel_for(lines.size(), per_piece, [&](std::int64_t first, std::int64_t last) {
          fold_piece(x.as<float>() + at[0] + column, width, first, last, &accumulators[first / per_piece * width]);
        });
        for (std::int64_t i = 0; i < width; ++i) {
          for (std::int64_t p = 1; p < pieces; ++p) accumulators[i].merge(accumulators[p * width + i]);
          y.as<float>()[at[1] + (column + i) * y_stride] = accumulators[i].result();
        }
      });
    }
  });
}

// True when the reduction has been done; otherwise the reference is the better way.
template <class Fold>
bool reduce_f32(const View& x, const View& y) {
  const IndexSpace<2> kept({x, y}, [&](int axis) { return y.shape[axis] != 1; });
  const IndexSpace<1> reduced({x}, [&](int axis) { return y.shape[axis] == 1; });
  if (kept.size() == 0 || reduced.size() == 0) return false;
  if (reduced.inner_stride(0) == 1 && reduced.inner_length() >= 4) {
    reduce_rows<Fold>(x, y, kept, reduced);
    return true;
  }
  if (kept.inner_stride(0) == 1 && kept.inner_length() >= 4) {
    reduce_columns<Fold>(x, y, kept, reduced);
    return true;
  }
  return false;
}

bool sum_f32(const View& x, const View& y) {
  return reduce_f32<SumFold<false>>(x, y);
}
bool sum_of_squares_f32(const View& x, const View& y) {
  return reduce_f32<SumFold<true>>(x, y);
}
bool max_f32(const View& x, const View& y) {
  return reduce_f32<ExtremeFold<true>>(x, y);
}
bool min_f32(const View& x, const View& y) {
  return reduce_f32<ExtremeFold<false>>(x, y);
}
bool log_sum_exp_f32(const View& x, const View& y) {
  return reduce_f32<LogSumExpFold>(x, y);
}

// The extreme of a line first, then the first element equal to it; with a NaN, the first NaN.
template <bool greatest>
bool position_f32(const View& x, const View& y) {
  const IndexSpace<2> kept({x, y}, [&](int axis) { return y.shape[axis] != 1; });
  const IndexSpace<1> line({x}, [&](int axis) { return y.shape[axis] == 1; });
  if (line.inner_length() != line.size() || line.inner_stride(0) != 1) return false;
  const std::int64_t n = line.inner_length();
  parallel_for(kept.size(), 1 + 16384 / (n + 1), [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const hn::ScalableTag<float> d;
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    kept.walk(begin, end, [&](const auto& at) HWY_ATTR {
      const float* from = x.as<float>() + at[0];
      typename ExtremeFold<greatest>::Accumulator extreme;
      fold_line(ExtremeFold<greatest>{}, from, n, extreme);
      const float best = extreme.result();
      const auto is_best = [best](float value) { return std::isnan(best) ? std::isnan(value) : value == best; };
      std::int64_t i = 0;
      if (!std::isnan(best)) {
        while (i + lanes <= n && hn::AllFalse(d, hn::Eq(hn::LoadU(d, from + i), hn::Set(d, best)))) i += lanes;
      }
      while (!is_best(from[i])) ++i;
      y.as<std::int64_t>()[at[1]] = i;
    });
  });
  return true;
}
bool argmax_f32(const View& x, const View& y) {
  return position_f32<true>(x, y);
}
bool argmin_f32(const View& x, const View& y) {
  return position_f32<false>(x, y);
}

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {

HWY_EXPORT(sum_f32);
HWY_EXPORT(sum_of_squares_f32);
HWY_EXPORT(max_f32);
HWY_EXPORT(min_f32);
HWY_EXPORT(log_sum_exp_f32);
HWY_EXPORT(argmax_f32);
HWY_EXPORT(argmin_f32);

void sum_simd(View x, View y, Stream stream) {
  if (x.dtype == Dtype::f32 && HWY_DYNAMIC_DISPATCH(sum_f32)(x, y)) return;
  sum_reference(x, y, stream);
}
void sum_of_squares_simd(View x, View y, Stream stream) {
  if (x.dtype == Dtype::f32 && HWY_DYNAMIC_DISPATCH(sum_of_squares_f32)(x, y)) return;
  sum_of_squares_reference(x, y, stream);
}
void max_simd(View x, View y, Stream stream) {
  if (x.dtype == Dtype::f32 && HWY_DYNAMIC_DISPATCH(max_f32)(x, y)) return;
  max_reference(x, y, stream);
}
void min_simd(View x, View y, Stream stream) {
  if (x.dtype == Dtype::f32 && HWY_DYNAMIC_DISPATCH(min_f32)(x, y)) return;
  min_reference(x, y, stream);
}
void log_sum_exp_simd(View x, View y, Stream stream) {
  if (x.dtype == Dtype::f32 && HWY_DYNAMIC_DISPATCH(log_sum_exp_f32)(x, y)) return;
  log_sum_exp_reference(x, y, stream);
}
void argmax_simd(View x, View y, Stream stream) {
  if (x.dtype == Dtype::f32 && HWY_DYNAMIC_DISPATCH(argmax_f32)(x, y)) return;
  argmax_reference(x, y, stream);
}
void argmin_simd(View x, View y, Stream stream) {
  if (x.dtype == Dtype::f32 && HWY_DYNAMIC_DISPATCH(argmin_f32)(x, y)) return;
  argmin_reference(x, y, stream);
}

const Register register_sum{reduce_sum, DeviceType::cpu, "simd", &sum_simd, is_default};
const Register register_squares{reduce_sum_of_squares, DeviceType::cpu, "simd", &sum_of_squares_simd, is_default};
const Register register_max{reduce_max, DeviceType::cpu, "simd", &max_simd, is_default};
const Register register_min{reduce_min, DeviceType::cpu, "simd", &min_simd, is_default};
const Register register_lse{reduce_log_sum_exp, DeviceType::cpu, "simd", &log_sum_exp_simd, is_default};
const Register register_argmax{reduce_argmax, DeviceType::cpu, "simd", &argmax_simd, is_default};
const Register register_argmin{reduce_argmin, DeviceType::cpu, "simd", &argmin_simd, is_default};

}  // namespace
}  // namespace heed::kernels
#endif
