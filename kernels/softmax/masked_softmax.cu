// Scale, mask and causality inside the softmax kernels. A row in registers is scaled and masked between being read and being
// reduced; keys that causality hides are not read at all. "block_per_row" does the same for any length, strides and dtype.
#include "kernels/softmax/masked_softmax.h"
#include "kernels/softmax/softmax.cuh"

namespace heed::kernels::cuda {
namespace {

constexpr int block = 256;

enum class Mask : std::uint8_t { none, allowed, added };

// Which of a row's keys are visible, and how scores are made.
template <class S>
struct Scores {
  S scale;
  bool causal;
  std::int64_t shift;
  Mask kind;

  explicit Scores(const MaskedSoftmaxOptions& options)
      : scale(static_cast<S>(options.scale)),
        causal(options.causal),
        shift(options.shift),
        kind(options.mask.data == nullptr           ? Mask::none
             : options.mask.dtype == Dtype::boolean ? Mask::allowed
                                                    : Mask::added) {}

  __device__ std::int64_t visible(std::int64_t query, std::int64_t keys) const {
    if (!causal) return keys;
    const std::int64_t end = query + shift + 1;
    return end < 0 ? 0 : end < keys ? end : keys;
  }
  // The score of a visible key; `mask` points at its element of the mask.
  __device__ S score(S x, const void* mask) const {
    if (kind == Mask::allowed && !*static_cast<const bool*>(mask)) return -infinity<S>;
    return kind == Mask::added ? scale * x + *static_cast<const S*>(mask) : scale * x;
  }
};

// A row's mask: where its elements are.
template <class S>
struct MaskRow {
  const std::byte* data;
  std::int64_t step;  // bytes
  __device__ const void* operator[](std::int64_t j) const { return data + j * step; }
};
template <class S, int N>
__device__ MaskRow<S> mask_row(const Rows<N>& rows, int view, std::int64_t offset, Mask kind) {
  const std::int64_t bytes = kind == Mask::added ? sizeof(S) : 1;
  return {static_cast<const std::byte*>(rows.data[view]) + offset * bytes, rows.steps[view] * bytes};
}

// An operand without memory: its offset is the number of the row's query.
View query_numbers(const View& x) {
  View numbers = x;
  numbers.data = nullptr;
  for (int axis = 0; axis < x.rank; ++axis) numbers.strides[axis] = axis == 2 ? 1 : 0;
  return numbers;
}
View or_nothing(const View& mask, const View& x) {
  if (mask.data != nullptr) return mask;
  View nothing = query_numbers(x);
  nothing.strides[2] = 0;
  return nothing;
}

// ---- row_in_registers

template <class T, int vectors>
__global__ void __launch_bounds__(max_team)
    registers_kernel(const __grid_constant__ Rows<4> rows, const Scores<float> scores, int team) {
  constexpr int width = vector_width<T>;
  const int lane = static_cast<int>(threadIdx.x) % team;
  const std::int64_t row = row_of_team(team), length = row < rows.count ? rows.length : 0;
  const auto at = rows.offsets(row);
  const VectorRow<T> x(rows.row<T>(0, at[0]).data, scores.visible(at[3], length));
  const VectorRow<T> y(rows.row<T>(1, at[1]).data, length, x.head);
  const auto mask = mask_row<float>(rows, 2, at[2], scores.kind);

  float kept[vectors][width], max = -infinity<float>, sum = 0;
#pragma unroll
  for (int v = 0; v < vectors; ++v) x.load(lane + v * team, kept[v]);
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    for (int j = 0; j < width; ++j) {
      const int key = static_cast<int>(x.first(lane + v * team)) + j;
      const bool seen = static_cast<unsigned>(key) < static_cast<unsigned>(x.length);
      kept[v][j] = seen ? scores.score(kept[v][j], mask[key]) : -infinity<float>;
      max = fmaxf(max, kept[v][j]);
    }
  }
  const float base = base_of(team_max(max, team));
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    for (float& value : kept[v]) sum += value = exp(value - base);
  }
  const float factor = Softmax::factor(team_sum(sum, team));
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    for (float& value : kept[v]) value *= factor;
    y.store(lane + v * team, kept[v]);
  }
}

template <class T, int vectors>
__global__ void __launch_bounds__(max_team)
    registers_backward_kernel(const __grid_constant__ Rows<4> rows, const Scores<float> scores, int team) {
  constexpr int width = vector_width<T>;
  const int lane = static_cast<int>(threadIdx.x) % team;
  const std::int64_t row = row_of_team(team), length = row < rows.count ? rows.length : 0;
  const auto at = rows.offsets(row);
  const std::int64_t visible = scores.visible(at[3], length);
  const VectorRow<T> y(rows.row<T>(0, at[0]).data, visible);
  const VectorRow<T> dy(rows.row<T>(1, at[1]).data, visible, y.head);
  const VectorRow<T> dx(rows.row<T>(2, at[2]).data, length, y.head);

  float of_y[vectors][width], of_dy[vectors][width], sum = 0;
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    y.load(lane + v * team, of_y[v]);
    dy.load(lane + v * team, of_dy[v]);
  }
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    for (int j = 0; j < width; ++j) sum += of_y[v][j] * of_dy[v][j];
  }
  sum = team_sum(sum, team);
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    for (int j = 0; j < width; ++j) {
      const float gradient = scores.scale * Softmax::gradient(of_y[v][j], of_dy[v][j], sum);
      of_dy[v][j] = y.has(lane + v * team, j) ? gradient : 0;
    }
    dx.store(lane + v * team, of_dy[v]);
  }
}

// ---- block_per_row

template <class T>
__global__ void __launch_bounds__(block)
    block_per_row_kernel(const __grid_constant__ Rows<4> rows, const Scores<Compute<T>> scores) {
  using S = Compute<T>;
  const auto at = rows.offsets(blockIdx.x);
  const std::int64_t visible = scores.visible(at[3], rows.length);
  const StridedRow<T> x = rows.row<T>(0, at[0]), y = rows.row<T>(1, at[1]);
  const auto mask = mask_row<S>(rows, 2, at[2], scores.kind);
  MaxAndSum<S> state = {-infinity<S>, 0};
  for (std::int64_t j = threadIdx.x; j < visible; j += block) {
    state = MergeSums()(state, single(scores.score(x[j], mask[j])));
  }
  state = team_reduce(state, block, MergeSums(), MaxAndSum<S>{-infinity<S>, 0});
  const S base = base_of(state.max), factor = Softmax::factor(state.sum);
  for (std::int64_t j = threadIdx.x; j < rows.length; j += block) {
    y.set(j, finish<Softmax>(j < visible ? scores.score(x[j], mask[j]) : -infinity<S>, base, factor));
  }
}

template <class T>
__global__ void __launch_bounds__(block)
    block_per_row_backward_kernel(const __grid_constant__ Rows<4> rows, const Scores<Compute<T>> scores) {
  using S = Compute<T>;
  const auto at = rows.offsets(blockIdx.x);
  const std::int64_t visible = scores.visible(at[3], rows.length);
  const StridedRow<T> y = rows.row<T>(0, at[0]), dy = rows.row<T>(1, at[1]), dx = rows.row<T>(2, at[2]);
  S sum = 0;
  for (std::int64_t j = threadIdx.x; j < visible; j += block) sum += y[j] * dy[j];
  sum = team_reduce(sum, block, Sum(), S(0));
  for (std::int64_t j = threadIdx.x; j < rows.length; j += block) {
    dx.set(j, j < visible ? scores.scale * Softmax::gradient(y[j], dy[j], sum) : S(0));
  }
}

// ---- launches

template <bool try_registers>
void forward(View x, const MaskedSoftmaxOptions& options, View y, Stream stream) {
  if (x.size() == 0) return;
  const Rows<4> rows({x, y, or_nothing(options.mask, x), query_numbers(x)}, 3);
  const char* const name = masked_softmax_forward.name();
  with_floating_type(x.dtype, [&]<class T>(T) {
    const Scores<Compute<T>> scores(options);
    if constexpr (try_registers && !std::is_same_v<T, double>) {
      if (rows.contiguous(2) && with_team<T>(rows.vectors<T>(), [&](auto vectors, int team) {
            launch({name, blocks_of_teams(rows.count, team), threads_of(team), 0, stream},
                   &registers_kernel<T, vectors>, rows, scores, team);
          })) {
        return;
      }
    }
    launch({name, blocks_for(rows.count, 1), block, 0, stream}, &block_per_row_kernel<T>, rows, scores);
  });
}

template <bool try_registers>
void backward(View y, View dy, const MaskedSoftmaxOptions& options, View dx, Stream stream) {
  if (y.size() == 0) return;
  const Rows<4> rows({y, dy, dx, query_numbers(y)}, 3);
  const char* const name = masked_softmax_backward.name();
  with_floating_type(y.dtype, [&]<class T>(T) {
    const Scores<Compute<T>> scores(options);
    if constexpr (try_registers && !std::is_same_v<T, double>) {
      if (rows.contiguous(3) && with_team<T>(rows.vectors<T>(), [&](auto vectors, int team) {
            launch({name, blocks_of_teams(rows.count, team), threads_of(team), 0, stream},
                   &registers_backward_kernel<T, vectors>, rows, scores, team);
          })) {
        return;
      }
    }
    launch({name, blocks_for(rows.count, 1), block, 0, stream}, &block_per_row_backward_kernel<T>, rows, scores);
  });
}

constexpr DeviceType gpu = DeviceType::cuda;
const Register variants[] = {
    {masked_softmax_forward, gpu, "block_per_row", &forward<false>},
    {masked_softmax_backward, gpu, "block_per_row", &backward<false>},
    {masked_softmax_forward, gpu, "row_in_registers", &forward<true>, is_default},
    {masked_softmax_backward, gpu, "row_in_registers", &backward<true>, is_default},
};

}  // namespace
}  // namespace heed::kernels::cuda
