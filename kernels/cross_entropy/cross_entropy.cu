// Cross-entropy. "vectors": a team of threads per row, which reads the logits once forward, and reads and writes them once
// backward. "block_per_row": any strides and dtype.
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/cuda/max_and_sum.cuh"

namespace heed::kernels::cuda {
namespace {

constexpr int block = 256;

// The target of each row, i64 or i32.
struct Targets {
  const void* data;
  std::int64_t step;
  bool wide;
  std::int64_t ignored;

  Targets(const View& view, std::int64_t ignored)
      : data(view.data), step(view.strides[0]), wide(view.dtype == Dtype::i64), ignored(ignored) {}
  __device__ std::int64_t operator[](std::int64_t row) const {
    return wide ? static_cast<const std::int64_t*>(data)[row * step]
                : static_cast<const std::int32_t*>(data)[row * step];
  }
};

// A vector with one element per row, or per class.
template <class T>
struct Column {
  T* data;  // null: absent
  std::int64_t step;
  explicit Column(const View& view) : data(view.as<T>()), step(view.strides[0]) {}
  __device__ Compute<T> operator[](std::int64_t i) const { return widened(data[i * step]); }
  __device__ void set(std::int64_t i, Compute<T> value) const { data[i * step] = narrowed<T>(value); }
};

template <class T>
struct Forward {
  Rows<1> logits;
  Targets target;
  Column<T> weight, losses;
  Column<Compute<T>> log_sum_exp;
  Compute<T> label_smoothing;
};
template <class T>
struct Backward {
  Rows<2> rows;  // logits, dlogits
  Targets target;
  Column<T> weight, dlosses;
  Column<Compute<T>> log_sum_exp;
  Compute<T> label_smoothing;
};

template <class S>
__device__ bool is_finite(S x) {
  return x - x == 0;
}

// ---- forward

// What the smoothing needs to know: the sum of the weights, and that of weight times distance from an element below. One
// close to the logits, so that an offset they share costs no digits: the target's where it is finite.
template <class S>
struct Smoothing {
  S weights, distances;
};
struct AddSmoothing {
  template <class S>
  __device__ Smoothing<S> operator()(Smoothing<S> a, Smoothing<S> b) const {
    return {a.weights + b.weights, a.distances + b.distances};
  }
};

// Writes the loss of a row: what its target is, and its logit, and what was found out about all logits.
template <class T, class S>
__device__ void write_loss(const Forward<T>& task, std::int64_t row, std::int64_t target, S logit, S origin,
                           MaxAndSum<S> state, Smoothing<S> smoothing) {
  const S base = base_of(state.max), log_sum = log(state.sum), classes = static_cast<S>(task.logits.length);
  S loss = 0;
  if (target != task.target.ignored) {
    if (target < 0 || target >= task.logits.length || !is_finite(log_sum)) {
      loss = std::numeric_limits<S>::quiet_NaN();
    } else {
      const S weight = task.weight.data == nullptr ? S(1) : task.weight[target];
      loss = (1 - task.label_smoothing) * weight * ((base - logit) + log_sum);
      if (task.label_smoothing > 0) {
        const S all = smoothing.distances + smoothing.weights * ((base - origin) + log_sum);
        loss += task.label_smoothing / classes * all;
      }
    }
  }
  task.losses.set(row, loss);
  task.log_sum_exp.set(row, base + log_sum);
}

template <class T>
__global__ void __launch_bounds__(block, 1) vectors_forward_kernel(const __grid_constant__ Forward<T> task, int team) {
  constexpr int width = vector_width<T>;
  const int lane = static_cast<int>(threadIdx.x) % team;
  const std::int64_t row = row_of_team(team), classes = task.logits.length;
  const std::int64_t length = row < task.logits.count ? classes : 0;
  const VectorRow<T> x(task.logits.template row<T>(0, task.logits.offsets(row)[0]).data, length);
  const std::int64_t target = length > 0 ? task.target[row] : 0;
  const float logit = target >= 0 && target < length ? widened(x.data[target]) : 0;
  const float origin = is_finite(logit) ? logit : 0;

  const RowState state = team_reduce(max_and_sum(x, lane, team), team, MergeSums(), nothing_read);
  Smoothing<float> smoothing = {0, 0};
  if (task.label_smoothing > 0) {  // the row is in the first-level cache, if not in registers
    const VectorRow<T> weight(task.weight.data, length, x.head);
    for (std::int64_t v = lane; v < x.count(); v += team) {
      float values[width], weights[width];
      x.load(v, values);
      for (int j = 0; j < width; ++j) weights[j] = x.has(v, j) ? 1 : 0;
      if (task.weight.data != nullptr) weight.load(v, weights);
      for (int j = 0; j < width; ++j) {
        smoothing.weights += weights[j];
        smoothing.distances += weights[j] * (origin - values[j]);
      }
    }
    smoothing = team_reduce(smoothing, team, AddSmoothing(), Smoothing<float>{0, 0});
  }
  if (lane == 0 && length > 0) write_loss<T>(task, row, target, logit, origin, state, smoothing);
}

template <class T>
__global__ void __launch_bounds__(block) block_per_row_forward_kernel(const __grid_constant__ Forward<T> task) {
  using S = Compute<T>;
  const std::int64_t row = blockIdx.x, classes = task.logits.length, target = task.target[row];
  const StridedRow<T> x = task.logits.template row<T>(0, task.logits.offsets(row)[0]);
  const S logit = target >= 0 && target < classes ? x[target] : S(0), origin = is_finite(logit) ? logit : S(0);
  MaxAndSum<S> state = {-infinity<S>, 0};
  Smoothing<S> smoothing = {0, 0};
  for (std::int64_t c = threadIdx.x; c < classes; c += block) {
    state = MergeSums()(state, single(x[c]));
    const S weight = task.weight.data == nullptr ? S(1) : task.weight[c];
    smoothing.weights += weight;
    smoothing.distances += weight * (origin - x[c]);
  }
  state = team_reduce(state, block, MergeSums(), MaxAndSum<S>{-infinity<S>, 0});
  smoothing = team_reduce(smoothing, block, AddSmoothing(), Smoothing<S>{0, 0});
  if (threadIdx.x == 0) write_loss<T>(task, row, target, logit, origin, state, smoothing);
}

// ---- backward

// dlogits[c] = of_p p[c] - of_weight w[c], less `on_target` at the target; fill, where it is not 1, stands for all of it.
template <class S>
struct Gradient {
  S log_sum_exp, of_p, of_weight, on_target;
  std::int64_t target;
  S fill;  // 1: the formula holds; 0: an ignored row; NaN: a row without a loss

  __device__ S at(std::int64_t c, S logit, S weight) const {
    if (fill != 1) return fill;
    const S gradient = of_p * exp(logit - log_sum_exp) - of_weight * weight;
    return c == target ? gradient - on_target : gradient;
  }
};

template <class T, class S>
__device__ Gradient<S> gradient_of(const Backward<T>& task, std::int64_t row, S weights) {
  const std::int64_t target = task.target[row], classes = task.rows.length;
  const S log_sum_exp = task.log_sum_exp[row], dloss = task.dlosses[row];
  if (target == task.target.ignored) return {0, 0, 0, 0, target, 0};
  if (target < 0 || target >= classes || !is_finite(log_sum_exp)) {
    return {0, 0, 0, 0, target, std::numeric_limits<S>::quiet_NaN()};
  }
  const S weight = task.weight.data == nullptr ? S(1) : task.weight[target];
  const S on_target = (1 - task.label_smoothing) * weight, smoothing = task.label_smoothing / static_cast<S>(classes);
  return {log_sum_exp, dloss * (on_target + smoothing * weights), dloss * smoothing, dloss * on_target, target, 1};
}

// The sum of all classes' weights, where the smoothing needs it.
template <class T>
__device__ Compute<T> sum_of_weights(const Backward<T>& task, int lane, int team) {
  using S = Compute<T>;
  if (task.label_smoothing == 0 || task.weight.data == nullptr) return static_cast<S>(task.rows.length);
  S sum = 0;
  for (std::int64_t c = lane; c < task.rows.length; c += team) sum += task.weight[c];
  return team_reduce(sum, team, Sum(), S(0));
}

template <class T>
__global__ void __launch_bounds__(block) vectors_backward_kernel(const __grid_constant__ Backward<T> task, int team) {
  constexpr int width = vector_width<T>;
  const int lane = static_cast<int>(threadIdx.x) % team;
  const std::int64_t row = row_of_team(team);
  const float weights_sum = sum_of_weights(task, lane, team);
  if (row >= task.rows.count) return;
  const auto at = task.rows.offsets(row);
  const VectorRow<T> x(task.rows.template row<T>(0, at[0]).data, task.rows.length);
  const VectorRow<T> dx(task.rows.template row<T>(1, at[1]).data, task.rows.length, x.head);
  const VectorRow<T> weight(task.weight.data, task.rows.length, x.head);
  const Gradient<float> gradient = gradient_of(task, row, weights_sum);
#pragma unroll 4
  for (std::int64_t v = lane; v < x.count(); v += team) {
    float values[width], weights[width];
    x.load(v, values);
    for (float& w : weights) w = 1;
    if (task.weight.data != nullptr && gradient.of_weight != 0) weight.load(v, weights);
    for (int j = 0; j < width; ++j) values[j] = gradient.at(x.first(v) + j, values[j], weights[j]);
    dx.store(v, values);
  }
}

template <class T>
__global__ void __launch_bounds__(block) block_per_row_backward_kernel(const __grid_constant__ Backward<T> task) {
  using S = Compute<T>;
  const std::int64_t row = blockIdx.x;
  const auto at = task.rows.offsets(row);
  const StridedRow<T> x = task.rows.template row<T>(0, at[0]), dx = task.rows.template row<T>(1, at[1]);
  const Gradient<S> gradient = gradient_of(task, row, sum_of_weights(task, threadIdx.x, block));
  for (std::int64_t c = threadIdx.x; c < task.rows.length; c += block) {
    dx.set(c, gradient.at(c, x[c], task.weight.data == nullptr ? S(1) : task.weight[c]));
  }
}

// ---- launches

// A team for rows that are read once and not kept: up to a warp where a thread then has a few vectors, or a block.
int streaming_team(std::int64_t vectors) {
  if (vectors > 16 * warp_size) return block;
  int team = 2;
  while (team < warp_size && team * 4 < vectors) team *= 2;
  return team;
}

template <class T>
inline constexpr bool has_vectors = !std::is_same_v<T, double>;

struct ForwardKernels {
  template <class T>
  static constexpr auto vectors = &vectors_forward_kernel<T>;
  template <class T>
  static constexpr auto block_per_row = &block_per_row_forward_kernel<T>;
};
struct BackwardKernels {
  template <class T>
  static constexpr auto vectors = &vectors_backward_kernel<T>;
  template <class T>
  static constexpr auto block_per_row = &block_per_row_backward_kernel<T>;
};

// The kernel for vectors where it may be and the rows and the weights lie in one piece, else the other.
template <class Kernels, bool try_vectors, class T, class Task, int n>
void launch_rows(const char* name, const Rows<n>& rows, const Task& task, Stream stream) {
  if constexpr (try_vectors && has_vectors<T>) {
    if (rows.contiguous() && (task.weight.data == nullptr || task.weight.step == 1)) {
      const int team = streaming_team(rows.template vectors<T>());
      const unsigned blocks = blocks_for(rows.count, block / team);
      return launch({name, blocks, block, 0, stream}, Kernels::template vectors<T>, task, team);
    }
  }
  launch({name, blocks_for(rows.count, 1), block, 0, stream}, Kernels::template block_per_row<T>, task);
}

template <bool try_vectors>
void forward(View logits, View target, View weight, View losses, View log_sum_exp, double label_smoothing,
             std::int64_t ignore_index, Stream stream) {
  const Rows<1> rows({logits}, 1);
  if (rows.count == 0) return;
  with_floating_type(logits.dtype, [&]<class T>(T) {
    using S = Compute<T>;
    const Forward<T> task{rows,
                          Targets(target, ignore_index),
                          Column<T>(weight),
                          Column<T>(losses),
                          Column<S>(log_sum_exp),
                          static_cast<S>(label_smoothing)};
    launch_rows<ForwardKernels, try_vectors, T>(cross_entropy_forward.name(), rows, task, stream);
  });
}

template <bool try_vectors>
void backward(View logits, View target, View weight, View log_sum_exp, View dlosses, View dlogits,
              double label_smoothing, std::int64_t ignore_index, Stream stream) {
  const Rows<2> rows({logits, dlogits}, 1);
  if (rows.count == 0) return;
  with_floating_type(logits.dtype, [&]<class T>(T) {
    using S = Compute<T>;
    const Backward<T> task{rows,
                           Targets(target, ignore_index),
                           Column<T>(weight),
                           Column<T>(dlosses),
                           Column<S>(log_sum_exp),
                           static_cast<S>(label_smoothing)};
    launch_rows<BackwardKernels, try_vectors, T>(cross_entropy_backward.name(), rows, task, stream);
  });
}

constexpr DeviceType gpu = DeviceType::cuda;
const Register variants[] = {
    {cross_entropy_forward, gpu, "block_per_row", &forward<false>},
    {cross_entropy_backward, gpu, "block_per_row", &backward<false>},
    {cross_entropy_forward, gpu, "vectors", &forward<true>, is_default},
    {cross_entropy_backward, gpu, "vectors", &backward<true>, is_default},
};

}  // namespace
}  // namespace heed::kernels::cuda
