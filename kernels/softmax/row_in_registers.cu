// Rung 5: the row stays in registers. It is read once and written once, which is the least that softmax can do.
//
// A team of threads holds a row, each of them `vectors` vectors of it: two lanes for a row of 16 floats, a warp for 1024, a
// block of 512 threads for 16384. Vector v of the row belongs to thread v % width, so that the threads of a team always
// access neighbouring vectors. Short rows share a warp.
#include "kernels/softmax/softmax.cuh"

namespace heed::kernels::cuda {
namespace {

template <class T, class Function, int vectors>
__global__ void __launch_bounds__(max_team) forward_kernel(const __grid_constant__ Rows<2> rows, int team) {
  constexpr int width = vector_width<T>;
  const int lane = static_cast<int>(threadIdx.x) % team;
  const std::int64_t row = row_of_team(team);
  const std::int64_t length = row < rows.count ? rows.length : 0;
  const auto at = rows.offsets(row);
  const VectorRow<T> x(rows.row<T>(0, at[0]).data, length);
  const VectorRow<T> y(rows.row<T>(1, at[1]).data, length, x.head);

  float kept[vectors][width], max = -infinity<float>, sum = 0;
#pragma unroll
  for (int v = 0; v < vectors; ++v) x.load(lane + v * team, kept[v], -infinity<float>);
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    for (const float value : kept[v]) max = fmaxf(max, value);
  }
  const float base = base_of(team_max(max, team));
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    for (float& value : kept[v]) {
      const float from_max = value - base, exponential = exp(from_max);
      sum += exponential;
      value = Function::keep(from_max, exponential);
    }
  }
  const float factor = Function::factor(team_sum(sum, team));
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    for (float& value : kept[v]) value = Function::result(value, factor);
    y.store(lane + v * team, kept[v]);
  }
}

template <class T, class Function, int vectors>
__global__ void __launch_bounds__(max_team) backward_kernel(const __grid_constant__ Rows<3> rows, int team) {
  constexpr int width = vector_width<T>;
  const int lane = static_cast<int>(threadIdx.x) % team;
  const std::int64_t row = row_of_team(team);
  const std::int64_t length = row < rows.count ? rows.length : 0;
  const auto at = rows.offsets(row);
  const VectorRow<T> y(rows.row<T>(0, at[0]).data, length);
  const VectorRow<T> dy(rows.row<T>(1, at[1]).data, length, y.head);
  const VectorRow<T> dx(rows.row<T>(2, at[2]).data, length, y.head);

  float of_y[vectors][width], of_dy[vectors][width], sum = 0;
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    y.load(lane + v * team, of_y[v]);
    dy.load(lane + v * team, of_dy[v]);
  }
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    for (int j = 0; j < width; ++j) sum += Function::term(of_y[v][j], of_dy[v][j]);
  }
  sum = team_sum(sum, team);
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    for (int j = 0; j < width; ++j) of_dy[v][j] = Function::gradient(of_y[v][j], of_dy[v][j], sum);
    dx.store(lane + v * team, of_dy[v]);
  }
}

}  // namespace

template <class Function>
bool row_in_registers(const View& x, const View& y, int axis, Stream stream) {
  const Rows<2> rows({x, y}, axis);
  if (!rows.contiguous()) return false;
  return launch_for(x.dtype, [&]<class T>(T) {
    return with_team<T>(rows.vectors<T>(), [&](auto vectors, int team) {
      launch({Function::forward, blocks_of_teams(rows.count, team), threads_of(team), 0, stream},
             &forward_kernel<T, Function, vectors>, rows, team);
    });
  });
}

template <class Function>
bool row_in_registers_backward(const View& y, const View& dy, const View& dx, int axis, Stream stream) {
  const Rows<3> rows({y, dy, dx}, axis);
  if (!rows.contiguous()) return false;
  return launch_for(y.dtype, [&]<class T>(T) {
    return with_team<T>(rows.vectors<T>(), [&](auto vectors, int team) {
      launch({Function::backward, blocks_of_teams(rows.count, team), threads_of(team), 0, stream},
             &backward_kernel<T, Function, vectors>, rows, team);
    });
  });
}

template Forward row_in_registers<Softmax>;
template Forward row_in_registers<LogSoftmax>;
template Backward row_in_registers_backward<Softmax>;
template Backward row_in_registers_backward<LogSoftmax>;

}  // namespace heed::kernels::cuda
