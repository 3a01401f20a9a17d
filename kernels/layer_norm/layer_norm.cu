// Layer and RMS normalisation. "row_in_registers": a team of threads reads its row once, as in the softmax of that name.
// "block_per_row": rows of any length, strides and dtype, read three times.
#include "kernels/cuda/rows.cuh"
#include "kernels/layer_norm/layer_norm.h"

namespace heed::kernels::cuda {
namespace {

constexpr int block = 256;  // threads per row of block_per_row

// Two sums that a team adds up together.
template <class S>
struct Sums {
  S first, second;
};
struct AddSums {
  template <class S>
  __device__ Sums<S> operator()(Sums<S> a, Sums<S> b) const {
    return {a.first + b.first, a.second + b.second};
  }
};
template <class S>
__device__ Sums<S> team_sums(Sums<S> sums, int team) {
  return team_reduce(sums, team, AddSums(), Sums<S>{0, 0});
}

// What a row is shifted by and scaled with. The mean is the sum of two numbers: `rough` is what adding up the elements
// gives, and `rest` the mean of the distances from it, which are exact where rough is close. So an offset costs no digits.
template <class S>
struct Statistics {
  S rough, rest, rstd;
  __device__ S normalised(S x) const { return ((x - rough) - rest) * rstd; }
};
template <class S>
__device__ Statistics<S> statistics(S rough, Sums<S> of_distances, S n, S eps) {
  const S rest = of_distances.first / n, variance = of_distances.second / n - rest * rest;
  return {rough, rest, 1 / sqrt((variance < 0 ? S(0) : variance) + eps)};  // a NaN is not below 0
}

// Parameters of a layer, or what stands in for them.
template <class T>
struct Parameters {
  const T* data;  // null: absent
  std::int64_t step;
  explicit Parameters(const View& view) : data(view.as<const T>()), step(view.strides[0]) {}
  bool contiguous() const { return data == nullptr || step == 1; }
  __device__ Compute<T> at(std::int64_t i, Compute<T> absent) const {
    return data == nullptr ? absent : widened(data[i * step]);
  }
};

template <class T>
struct Forward {
  Rows<2> rows;  // x, y
  Parameters<T> weight, bias;
  Compute<T>*mean, *rstd;  // mean is null for RMS normalisation
  Compute<T> eps;
};
template <class T>
struct Backward {
  Rows<3> rows;  // x, dy, dx
  Parameters<T> weight;
  const Compute<T>*mean, *rstd;
};

// ---- row_in_registers

template <class T, bool centred, int vectors>
__global__ void __launch_bounds__(max_team) registers_kernel(const __grid_constant__ Forward<T> task, int team) {
  constexpr int width = vector_width<T>;
  const int lane = static_cast<int>(threadIdx.x) % team;
  const std::int64_t row = row_of_team(team);
  const int n = static_cast<int>(task.rows.length), length = row < task.rows.count ? n : 0;
  const auto at = task.rows.offsets(row);
  const VectorRow<T> x(task.rows.template row<T>(0, at[0]).data, length);
  const VectorRow<T> y(task.rows.template row<T>(1, at[1]).data, length, x.head);

  float kept[vectors][width], sum = 0;
#pragma unroll
  for (int v = 0; v < vectors; ++v) x.load(lane + v * team, kept[v]);
  if constexpr (centred) {
#pragma unroll
    for (int v = 0; v < vectors; ++v) {
      for (const float value : kept[v]) sum += value;
    }
    sum = team_sum(sum, team) / static_cast<float>(n);
  }
  const float rough = sum;
  Sums<float> distances = {0, 0};
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    const int first = static_cast<int>(x.first(lane + v * team));
    for (int j = 0; j < width; ++j) {
      const bool inside = static_cast<unsigned>(first + j) < static_cast<unsigned>(length);
      const float distance = inside ? kept[v][j] - rough : 0;
      if constexpr (centred) distances.first += distance;
      distances.second += distance * distance;
    }
  }
  const Statistics<float> of_row = statistics(rough, team_sums(distances, team), static_cast<float>(n), task.eps);

  const VectorRow<const T> weight(task.weight.data, length, x.head), bias(task.bias.data, length, x.head);
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    float w[width], b[width];
    for (int j = 0; j < width; ++j) w[j] = 1, b[j] = 0;
    if (task.weight.data != nullptr) weight.load(lane + v * team, w);
    if (task.bias.data != nullptr) bias.load(lane + v * team, b);
    for (int j = 0; j < width; ++j) kept[v][j] = of_row.normalised(kept[v][j]) * w[j] + b[j];
    y.store(lane + v * team, kept[v]);
  }
  if (lane == 0 && length > 0) {
    if constexpr (centred) task.mean[row] = of_row.rough + of_row.rest;
    task.rstd[row] = of_row.rstd;
  }
}

template <class T, bool centred, int vectors>
__global__ void __launch_bounds__(max_team)
    registers_backward_kernel(const __grid_constant__ Backward<T> task, int team) {
  constexpr int width = vector_width<T>;
  const int lane = static_cast<int>(threadIdx.x) % team;
  const std::int64_t row = row_of_team(team);
  const std::int64_t length = row < task.rows.count ? task.rows.length : 0;
  const auto at = task.rows.offsets(row);
  const VectorRow<T> x(task.rows.template row<T>(0, at[0]).data, length);
  const VectorRow<T> dy(task.rows.template row<T>(1, at[1]).data, length, x.head);
  const VectorRow<T> dx(task.rows.template row<T>(2, at[2]).data, length, x.head);
  const VectorRow<const T> weight(task.weight.data, length, x.head);
  const float mean = centred && length > 0 ? task.mean[row] : 0, rstd = length > 0 ? task.rstd[row] : 0;

  float xhat[vectors][width], g[vectors][width];
  Sums<float> sums = {0, 0};  // of g and of g xhat
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    x.load(lane + v * team, xhat[v]);
    dy.load(lane + v * team, g[v]);  // 0 outside the row, where nothing is added then
  }
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    float w[width];
    for (int j = 0; j < width; ++j) w[j] = 1;
    if (task.weight.data != nullptr) weight.load(lane + v * team, w);
    for (int j = 0; j < width; ++j) {
      xhat[v][j] = (xhat[v][j] - mean) * rstd;
      g[v][j] *= w[j];
      if constexpr (centred) sums.first += g[v][j];
      sums.second += g[v][j] * xhat[v][j];
    }
  }
  sums = team_sums(sums, team);
  const float average = sums.first / static_cast<float>(task.rows.length);
  const float projection = sums.second / static_cast<float>(task.rows.length);
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    for (int j = 0; j < width; ++j) g[v][j] = rstd * (g[v][j] - average - xhat[v][j] * projection);
    dx.store(lane + v * team, g[v]);
  }
}

// ---- block_per_row

template <class T, bool centred>
__global__ void __launch_bounds__(block) block_per_row_kernel(const __grid_constant__ Forward<T> task) {
  using S = Compute<T>;
  const std::int64_t row = blockIdx.x, n = task.rows.length;
  const auto at = task.rows.offsets(row);
  const StridedRow<T> x = task.rows.template row<T>(0, at[0]), y = task.rows.template row<T>(1, at[1]);
  S rough = 0;
  if constexpr (centred) {
    for (std::int64_t i = threadIdx.x; i < n; i += block) rough += x[i];
    rough = team_reduce(rough, block, Sum(), S(0)) / static_cast<S>(n);
  }
  Sums<S> distances = {0, 0};
  for (std::int64_t i = threadIdx.x; i < n; i += block) {
    const S distance = x[i] - rough;
    if constexpr (centred) distances.first += distance;
    distances.second += distance * distance;
  }
  const Statistics<S> of_row = statistics(rough, team_sums(distances, block), static_cast<S>(n), task.eps);
  for (std::int64_t i = threadIdx.x; i < n; i += block) {
    y.set(i, of_row.normalised(x[i]) * task.weight.at(i, 1) + task.bias.at(i, 0));
  }
  if (threadIdx.x == 0) {
    if constexpr (centred) task.mean[row] = of_row.rough + of_row.rest;
    task.rstd[row] = of_row.rstd;
  }
}

template <class T, bool centred>
__global__ void __launch_bounds__(block) block_per_row_backward_kernel(const __grid_constant__ Backward<T> task) {
  using S = Compute<T>;
  const std::int64_t row = blockIdx.x, n = task.rows.length;
  const auto at = task.rows.offsets(row);
  const StridedRow<T> x = task.rows.template row<T>(0, at[0]), dy = task.rows.template row<T>(1, at[1]);
  const StridedRow<T> dx = task.rows.template row<T>(2, at[2]);
  const S mean = centred ? task.mean[row] : 0, rstd = task.rstd[row];
  Sums<S> sums = {0, 0};
  for (std::int64_t i = threadIdx.x; i < n; i += block) {
    const S g = dy[i] * task.weight.at(i, 1);
    if constexpr (centred) sums.first += g;
    sums.second += g * (x[i] - mean) * rstd;
  }
  sums = team_sums(sums, block);
  const S average = sums.first / static_cast<S>(n), projection = sums.second / static_cast<S>(n);
  for (std::int64_t i = threadIdx.x; i < n; i += block) {
    const S g = dy[i] * task.weight.at(i, 1), xhat = (x[i] - mean) * rstd;
    dx.set(i, rstd * (g - average - xhat * projection));
  }
}

// ---- the parameters' gradients: sums down the columns

constexpr int columns_per_block = 32, strips = 16;

// A block adds up 32 columns of a chunk of rows. Its 16 warps take turns with the rows; their sums meet in shared memory.
//   partial [chunks, 2, n]: of dy xhat, and of dy
template <class T, bool centred>
__global__ void __launch_bounds__(columns_per_block* strips)
    column_sums_kernel(const __grid_constant__ Backward<T> task, std::int64_t rows_per_chunk, Compute<T>* partial) {
  using S = Compute<T>;
  __shared__ S of_strips[2][strips][columns_per_block];
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * columns_per_block + threadIdx.x;
  const std::int64_t n = task.rows.length, first = blockIdx.y * rows_per_chunk;
  const std::int64_t last = min(first + rows_per_chunk, task.rows.count);
  Sums<S> sums = {0, 0};
  if (column < n) {
#pragma unroll 4
    for (std::int64_t row = first + threadIdx.y; row < last; row += strips) {
      const auto at = task.rows.offsets(row);
      const S dy = task.rows.template row<T>(1, at[1])[column], x = task.rows.template row<T>(0, at[0])[column];
      sums.first += dy * ((x - (centred ? task.mean[row] : S(0))) * task.rstd[row]);
      sums.second += dy;
    }
  }
  of_strips[0][threadIdx.y][threadIdx.x] = sums.first;
  of_strips[1][threadIdx.y][threadIdx.x] = sums.second;
  __syncthreads();
  if (threadIdx.y >= 2 || column >= n) return;
  S sum = 0;
  for (const S(&strip)[columns_per_block] : of_strips[threadIdx.y]) sum += strip[threadIdx.x];
  partial[(blockIdx.y * 2 + threadIdx.y) * n + column] = sum;
}

// Adds up the chunks, in order.
template <class T>
__global__ void add_chunks_kernel(const Compute<T>* partial, std::int64_t chunks, std::int64_t n, T* dweight,
                                  std::int64_t weight_step, T* dbias, std::int64_t bias_step) {
  using S = Compute<T>;
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= n) return;
  const auto sum_of = [&](int which) {
    double sum = 0;
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[(chunk * 2 + which) * n + column];
    return narrowed<T>(static_cast<S>(sum));
  };
  if (dweight != nullptr) dweight[column * weight_step] = sum_of(0);
  if (dbias != nullptr) dbias[column * bias_step] = sum_of(1);
}

template <class T, bool centred>
void parameter_gradients(const char* name, const Backward<T>& task, const View& dweight, const View& dbias,
                         const View& workspace, Stream stream) {
  if (dweight.data == nullptr && dbias.data == nullptr) return;
  const std::int64_t rows = task.rows.count, n = task.rows.length, chunks = norm_row_chunks(rows);
  auto* const partial = workspace.as<Compute<T>>();
  const dim3 grid(blocks_for(n, columns_per_block), static_cast<unsigned>(chunks));
  launch({name, grid, {columns_per_block, strips}, 0, stream}, &column_sums_kernel<T, centred>, task,
         divide_up(rows, chunks), partial);
  launch({name, blocks_for(n, block), block, 0, stream}, &add_chunks_kernel<T>, partial, chunks, n, dweight.as<T>(),
         dweight.strides[0], dbias.as<T>(), dbias.strides[0]);
}

// ---- which kernel a call takes

template <bool centred, bool try_registers>
void forward(const char* name, const View& x, const View& weight, const View& bias, const View& y, const View& mean,
             const View& rstd, double eps, Stream stream) {
  const Rows<2> rows({x, y}, 1);
  if (rows.count == 0) return;
  with_floating_type(x.dtype, [&]<class T>(T) {
    using S = Compute<T>;
    const Forward<T> task{rows,         Parameters<T>(weight), Parameters<T>(bias),
                          mean.as<S>(), rstd.as<S>(),          static_cast<S>(eps)};
    if constexpr (try_registers && !std::is_same_v<T, double>) {
      const bool fits = rows.contiguous() && task.weight.contiguous() && task.bias.contiguous();
      if (fits && with_team<T>(rows.vectors<T>(), [&](auto vectors, int team) {
            launch({name, blocks_of_teams(rows.count, team), threads_of(team), 0, stream},
                   &registers_kernel<T, centred, vectors>, task, team);
          })) {
        return;
      }
    }
    launch({name, blocks_for(rows.count, 1), block, 0, stream}, &block_per_row_kernel<T, centred>, task);
  });
}

template <bool centred, bool try_registers>
void backward(const char* name, const View& x, const View& weight, const View& dy, const View& mean, const View& rstd,
              const View& dx, const View& dweight, const View& dbias, const View& workspace, Stream stream) {
  const Rows<3> rows({x, dy, dx.data == nullptr ? x : dx}, 1);
  with_floating_type(x.dtype, [&]<class T>(T) {
    using S = Compute<T>;
    const Backward<T> task{rows, Parameters<T>(weight), mean.as<const S>(), rstd.as<const S>()};
    // First, because dx may replace x or dy.
    parameter_gradients<T, centred>(name, task, dweight, dbias, workspace, stream);
    if (dx.data == nullptr || rows.count == 0) return;
    if constexpr (try_registers && !std::is_same_v<T, double>) {
      const bool fits = rows.contiguous() && task.weight.contiguous();
      if (fits && with_team<T>(rows.vectors<T>(), [&](auto vectors, int team) {
            launch({name, blocks_of_teams(rows.count, team), threads_of(team), 0, stream},
                   &registers_backward_kernel<T, centred, vectors>, task, team);
          })) {
        return;
      }
    }
    launch({name, blocks_for(rows.count, 1), block, 0, stream}, &block_per_row_backward_kernel<T, centred>, task);
  });
}

template <bool try_registers>
void layer_forward(View x, View weight, View bias, View y, View mean, View rstd, double eps, Stream stream) {
  forward<true, try_registers>(layer_norm_forward.name(), x, weight, bias, y, mean, rstd, eps, stream);
}
template <bool try_registers>
void layer_backward(View x, View weight, View dy, View mean, View rstd, View dx, View dweight, View dbias,
                    View workspace, Stream stream) {
  backward<true, try_registers>(layer_norm_backward.name(), x, weight, dy, mean, rstd, dx, dweight, dbias, workspace,
                                stream);
}
template <bool try_registers>
void rms_forward(View x, View weight, View y, View rstd, double eps, Stream stream) {
  forward<false, try_registers>(rms_norm_forward.name(), x, weight, View{}, y, View{}, rstd, eps, stream);
}
template <bool try_registers>
void rms_backward(View x, View weight, View dy, View rstd, View dx, View dweight, View workspace, Stream stream) {
  backward<false, try_registers>(rms_norm_backward.name(), x, weight, dy, View{}, rstd, dx, dweight, View{}, workspace,
                                 stream);
}

constexpr DeviceType gpu = DeviceType::cuda;
const Register variants[] = {
    {layer_norm_forward, gpu, "block_per_row", &layer_forward<false>},
    {layer_norm_backward, gpu, "block_per_row", &layer_backward<false>},
    {rms_norm_forward, gpu, "block_per_row", &rms_forward<false>},
    {rms_norm_backward, gpu, "block_per_row", &rms_backward<false>},
    {layer_norm_forward, gpu, "row_in_registers", &layer_forward<true>, is_default},
    {layer_norm_backward, gpu, "row_in_registers", &layer_backward<true>, is_default},
    {rms_norm_forward, gpu, "row_in_registers", &rms_forward<true>, is_default},
    {rms_norm_backward, gpu, "row_in_registers", &rms_backward<true>, is_default},
};

}  // namespace
}  // namespace heed::kernels::cuda
