// The f32 reductions in vectors. What matters is to which side the fastest axis of x belongs. Where it is reduced, a
// line of memory folds into one number ("rows"); where it is kept, lines fold into one another ("columns"), and no
// vector is ever taken apart. Long reductions are cut into pieces, whose number depends on the shape alone; they are
// merged in order. Folds are compiled once per instruction set; the way through the axes, below, once.
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

#include "kernels/cpu/index_space.h"
#include "kernels/cpu/parallel.h"
#include "kernels/reduce/accumulators.h"
#include "kernels/reduce/reduce.h"
#include "kernels/reduce/reference.h"
#include "kernels/reduce/vector_folds.h"

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
static_assert(index_batch <= fold_depth);

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

// Some lines of `width` floats, at x + offsets[...], into one line. As they lie in memory, line after line; the result
// stays in the L1 cache, and taking four lines at a time makes its traffic small.
template <class Fold>
HWY_INLINE void fold_lines(const float* x, const LineOffsets* offsets, std::int64_t lines, std::int64_t width,
                           float* result) {
  for_vectors(0, width, [&](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(Fold::load(d, x + offsets[0][0] + i), d, result + i);
  });
  std::int64_t line = 1;
  for (; line + 4 <= lines; line += 4) {
    const float *x0 = x + offsets[line][0], *x1 = x + offsets[line + 1][0];
    const float *x2 = x + offsets[line + 2][0], *x3 = x + offsets[line + 3][0];
    for_vectors(0, width, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto first = Fold::combine(Fold::load(d, x0 + i), Fold::load(d, x1 + i));
      const auto second = Fold::combine(Fold::load(d, x2 + i), Fold::load(d, x3 + i));
      hn::StoreU(Fold::combine(hn::LoadU(d, result + i), Fold::combine(first, second)), d, result + i);
    });
  }
  for (; line < lines; ++line) {
    for_vectors(0, width, [&](auto d, std::int64_t i) HWY_ATTR {
      hn::StoreU(Fold::combine(hn::LoadU(d, result + i), Fold::load(d, x + offsets[line][0] + i)), d, result + i);
    });
  }
}

// The same lines into an accumulator per column.
template <class Fold>
void fold_columns(Fold, const float* x, const LineOffsets* offsets, std::int64_t lines, std::int64_t width,
                  typename Fold::Accumulator* accumulators) {
  HWY_ALIGN float partial[strip_width];
  fold_lines<Fold>(x, offsets, lines, width, partial);
  for (std::int64_t i = 0; i < width; ++i) accumulators[i].add(partial[i]);
}
void fold_columns(LogSumExpFold, const float* x, const LineOffsets* offsets, std::int64_t lines, std::int64_t width,
                  LogSumExpOf<float>* accumulators) {
  HWY_ALIGN float max[strip_width], sum[strip_width] = {};
  fold_lines<ExtremeFold<true>>(x, offsets, lines, width, max);
  for (std::int64_t line = 0; line < lines; ++line) {
    for_vectors(0, width, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto from_max = hn::Sub(hn::LoadU(d, x + offsets[line][0] + i), hn::LoadU(d, max + i));
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

template <class Fold>
void fold_each_row(const float* x, const RowOffsets* at, std::int64_t count, std::int64_t n, void* y) {
  for (std::int64_t i = 0; i < count; ++i) {
    typename Fold::Accumulator accumulator;
    fold_line(Fold{}, x + at[i][0], n, accumulator);
    static_cast<float*>(y)[at[i][1]] = accumulator.result();
  }
}

template <class Fold>
void fold_all_lines(const float* x, const LineOffsets* at, std::int64_t count, std::int64_t n, void* accumulator) {
  for (std::int64_t i = 0; i < count; ++i)
    fold_line(Fold{}, x + at[i][0], n, *static_cast<typename Fold::Accumulator*>(accumulator));
}

template <class Fold>
void fold_each_column(const float* x, const LineOffsets* at, std::int64_t count, std::int64_t width,
                      void* accumulators) {
  fold_columns(Fold{}, x, at, count, width, static_cast<typename Fold::Accumulator*>(accumulators));
}

// The extreme of a line first, then the first element equal to it; with a NaN, the first NaN.
template <bool greatest>
void find_in_each_row(const float* x, const RowOffsets* at, std::int64_t count, std::int64_t n, void* y) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t row = 0; row < count; ++row) {
    const float* const from = x + at[row][0];
    typename ExtremeFold<greatest>::Accumulator extreme;
    fold_line(ExtremeFold<greatest>{}, from, n, extreme);
    const float best = extreme.result();
    const auto is_best = [best](float value) { return std::isnan(best) ? std::isnan(value) : value == best; };
    std::int64_t i = 0;
    if (!std::isnan(best)) {
      while (i + lanes <= n && hn::AllFalse(d, hn::Eq(hn::LoadU(d, from + i), hn::Set(d, best)))) i += lanes;
    }
    while (!is_best(from[i])) ++i;
    static_cast<std::int64_t*>(y)[at[row][1]] = i;
  }
}

template <class Fold>
constexpr VectorFold vector_fold{&fold_each_row<Fold>, &fold_all_lines<Fold>, &fold_each_column<Fold>};

const VectorFolds* folds() {
  static constexpr VectorFolds table = {
      .sum = vector_fold<SumFold<false>>,
      .sum_of_squares = vector_fold<SumFold<true>>,
      .max = vector_fold<ExtremeFold<true>>,
      .min = vector_fold<ExtremeFold<false>>,
      .log_sum_exp = vector_fold<LogSumExpFold>,
      .argmax = &find_in_each_row<true>,
      .argmin = &find_in_each_row<false>,
  };
  return &table;
}

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {

HWY_EXPORT(folds);

// An array of accumulators (accumulators.h), their type left out.
struct AccumulatorType {
  std::size_t size;
  void (*start)(void* accumulators, std::int64_t count);
  void (*merge)(void* accumulators, const void* later, std::int64_t count);
  void (*finish)(const void* accumulators, std::int64_t count, float* y, std::int64_t stride);
};

template <class A>
constexpr AccumulatorType accumulator_type{
    sizeof(A), [](void* accumulators, std::int64_t count) { std::fill_n(static_cast<A*>(accumulators), count, A{}); },
    [](void* accumulators, const void* later, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) static_cast<A*>(accumulators)[i].merge(static_cast<const A*>(later)[i]);
    },
    [](const void* accumulators, std::int64_t count, float* y, std::int64_t stride) {
      for (std::int64_t i = 0; i < count; ++i) y[i * stride] = static_cast<const A*>(accumulators)[i].result();
    }};

inline constexpr std::size_t largest_accumulator = 16;
static_assert(sizeof(LogSumExpOf<float>) <= largest_accumulator);

// The axes of x that stay, with those of y, and the axes that go.
struct Axes {
  IndexSpace<2> kept;
  IndexSpace<1> reduced;
  Axes(const View& x, const View& y)
      : kept({x, y}, [&](int axis) { return y.shape[axis] != 1; }),
        reduced({x}, [&](int axis) { return y.shape[axis] == 1; }) {}
};

constexpr std::int64_t segment_length = 16384;

// Every output has one line of its own.
void reduce_single_lines(RowsFunction rows, const View& x, const View& y, const Axes& axes) {
  const std::int64_t n = axes.reduced.inner_length();
  parallel_for(axes.kept.size(), 1 + segment_length / (n + 1), [&](std::int64_t begin, std::int64_t end) {
    axes.kept.walk_batches(
        begin, end, [&](const RowOffsets* at, std::int64_t count) { rows(x.as<const float>(), at, count, n, y.data); });
  });
}

// The fastest axis is reduced. Few outputs: the segments of each are spread over the cores; many: the outputs are.
void reduce_rows(const VectorFold& fold, const AccumulatorType& type, const View& x, const View& y, const Axes& axes) {
  constexpr std::int64_t max_pieces = 64;
  const IndexSpace<2>& kept = axes.kept;
  IndexSpace<1> lines = axes.reduced;
  const std::int64_t n = lines.inner_length();
  lines.drop_inner();
  const std::int64_t segments_per_line = (n + segment_length - 1) / segment_length;
  const std::int64_t segments = lines.size() * segments_per_line;

  const auto fold_segments = [&](const float* from, std::int64_t first, std::int64_t last, void* accumulator) {
    while (first < last) {
      const std::int64_t line = first / segments_per_line, in_line = first % segments_per_line;
      const std::int64_t count = segments_per_line == 1 ? last - first : 1;  // short lines are walked in one go
      const std::int64_t begin = in_line * segment_length, length = std::min(n - begin, segment_length);
      lines.walk_batches(line, line + count, [&](const LineOffsets* at, std::int64_t batch) {
        fold.lines(from + begin, at, batch, length, accumulator);
      });
      first += count;
    }
  };

  const bool split = kept.size() < 16 && segments >= 4;
  const std::int64_t per_piece = split ? (segments + max_pieces - 1) / max_pieces : segments;
  const std::int64_t grain = split ? kept.size() : 1 + segment_length / (lines.size() * n + 1);
  parallel_for(kept.size(), grain, [&](std::int64_t begin, std::int64_t end) {
    kept.walk(begin, end, [&](const RowOffsets& at) {
      alignas(std::max_align_t) std::byte pieces[max_pieces * largest_accumulator];
      const std::int64_t count = (segments + per_piece - 1) / per_piece;
      type.start(pieces, count);
      parallel_for(segments, per_piece, [&](std::int64_t first, std::int64_t last) {
        fold_segments(x.as<const float>() + at[0], first, last, pieces + first / per_piece * type.size);
      });
      for (std::int64_t i = 1; i < count; ++i) type.merge(pieces, pieces + i * type.size, 1);
      type.finish(pieces, 1, y.as<float>() + at[1], 1);
    });
  });
}

// The fastest axis is kept: strips of up to 512 columns, their lines in batches, in pieces where there are too few strips
// to occupy the cores.
void reduce_columns(const VectorFold& fold, const AccumulatorType& type, const View& x, const View& y,
                    const Axes& axes) {
  constexpr std::int64_t max_accumulators = 4096;
  const IndexSpace<1>& lines = axes.reduced;
  IndexSpace<2> kept = axes.kept;
  const std::int64_t columns = kept.inner_length(), y_stride = kept.inner_stride(1);
  kept.drop_inner();
  const std::int64_t strips = (columns + strip_width - 1) / strip_width;
  const std::int64_t widest = std::min(columns, strip_width);

  const bool split = kept.size() * strips < 16;
  const std::int64_t pieces =
      split ? std::clamp<std::int64_t>(lines.size() * widest / 32768, 1, max_accumulators / widest) : 1;
  const std::int64_t per_piece = std::max<std::int64_t>(1, (lines.size() + pieces - 1) / pieces);
  const std::int64_t grain = split ? kept.size() * strips : 1 + 16384 / (lines.size() * widest + 1);
  parallel_for(kept.size() * strips, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      kept.walk(task / strips, task / strips + 1, [&](const RowOffsets& at) {
        const std::int64_t column = task % strips * strip_width, width = std::min(strip_width, columns - column);
        alignas(std::max_align_t) std::byte accumulators[max_accumulators * largest_accumulator];  // [pieces, width]
        const std::size_t piece_size = width * type.size;
        type.start(accumulators, pieces * width);
        parallel_for(lines.size(), per_piece, [&](std::int64_t first, std::int64_t last) {
          std::byte* const own = accumulators + first / per_piece * piece_size;
          lines.walk_batches(first, last, [&](const LineOffsets* offsets, std::int64_t count) {
            fold.columns(x.as<const float>() + at[0] + column, offsets, count, width, own);
          });
        });
        for (std::int64_t p = 1; p < pieces; ++p) type.merge(accumulators, accumulators + p * piece_size, width);
        type.finish(accumulators, width, y.as<float>() + at[1] + column * y_stride, y_stride);
      });
    }
  });
}

// True when the reduction has been done; otherwise the reference is the better way.
bool reduce_f32(const VectorFold& fold, const AccumulatorType& type, const View& x, const View& y) {
  if (x.dtype != Dtype::f32) return false;
  const Axes axes(x, y);
  const auto& [kept, reduced] = axes;
  if (kept.size() == 0 || reduced.size() == 0) return false;
  if (reduced.inner_stride(0) == 1 && reduced.inner_length() >= 4) {
    const bool is_one_line = reduced.inner_length() == reduced.size() && reduced.size() <= segment_length;
    is_one_line ? reduce_single_lines(fold.rows, x, y, axes) : reduce_rows(fold, type, x, y, axes);
    return true;
  }
  if (kept.inner_stride(0) == 1 && kept.inner_length() >= 4) {
    reduce_columns(fold, type, x, y, axes);
    return true;
  }
  return false;
}

bool find_f32(RowsFunction rows, const View& x, const View& y) {
  if (x.dtype != Dtype::f32) return false;
  const Axes axes(x, y);
  const IndexSpace<1>& line = axes.reduced;
  if (line.inner_length() != line.size() || line.inner_stride(0) != 1) return false;
  reduce_single_lines(rows, x, y, axes);
  return true;
}

template <VectorFold VectorFolds::*fold, class Accumulator, Reduction& reference>
void fold_simd(View x, View y, Stream stream) {
  const VectorFold& chosen = HWY_DYNAMIC_DISPATCH(folds)()->*fold;
  if (!reduce_f32(chosen, accumulator_type<Accumulator>, x, y)) reference(x, y, stream);
}

template <RowsFunction VectorFolds::*find, Reduction& reference>
void find_simd(View x, View y, Stream stream) {
  if (!find_f32(HWY_DYNAMIC_DISPATCH(folds)()->*find, x, y)) reference(x, y, stream);
}

constexpr auto sum_simd = &fold_simd<&VectorFolds::sum, SumOf<float>, sum_reference>;
constexpr auto squares_simd = &fold_simd<&VectorFolds::sum_of_squares, SumOf<float>, sum_of_squares_reference>;
constexpr auto max_simd = &fold_simd<&VectorFolds::max, MaxOf<float>, max_reference>;
constexpr auto min_simd = &fold_simd<&VectorFolds::min, MinOf<float>, min_reference>;
constexpr auto lse_simd = &fold_simd<&VectorFolds::log_sum_exp, LogSumExpOf<float>, log_sum_exp_reference>;
constexpr auto argmax_simd = &find_simd<&VectorFolds::argmax, argmax_reference>;
constexpr auto argmin_simd = &find_simd<&VectorFolds::argmin, argmin_reference>;

const Register register_sum{reduce_sum, DeviceType::cpu, "simd", sum_simd, is_default};
const Register register_squares{reduce_sum_of_squares, DeviceType::cpu, "simd", squares_simd, is_default};
const Register register_max{reduce_max, DeviceType::cpu, "simd", max_simd, is_default};
const Register register_min{reduce_min, DeviceType::cpu, "simd", min_simd, is_default};
const Register register_lse{reduce_log_sum_exp, DeviceType::cpu, "simd", lse_simd, is_default};
const Register register_argmax{reduce_argmax, DeviceType::cpu, "simd", argmax_simd, is_default};
const Register register_argmin{reduce_argmin, DeviceType::cpu, "simd", argmin_simd, is_default};

}  // namespace
}  // namespace heed::kernels
#endif
