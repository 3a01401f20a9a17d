// The launch under every elementwise kernel: one result per element, views of any strides.
//
//   struct Add {
//     template <class T> __device__ T operator()(T a, T b) const { return a + b; }
//   };
//   cuda::map<float, float, float>("add", y, {a, b}, Add{}, stream);
//
// The function gets its operands in their compute type (halves as f32) and never sees a stride. Two kernels serve all
// layouts: where every operand is one stretch of memory in a common order of axes, or a single value, threads move
// vectors of up to 16 bytes; otherwise a thread finds its element by division (index.cuh).
#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/cuda/index.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.cuh"
#include "kernels/loop_nest.h"

namespace heed::kernels::cuda {

inline constexpr int map_threads = 256;

// An input of the dense kernel.
template <class T>
struct Operand {
  const T* data;
  bool is_single;  // one value for all elements
};

template <int width, class T>
__device__ Vector<T, width> load_operand(const Operand<T>& operand, std::int64_t first) {
  if (!operand.is_single) return load_vector<width>(operand.data + first);
  Vector<T, width> vector;
  const T value = *operand.data;
#pragma unroll
  for (int i = 0; i < width; ++i) vector[i] = value;
  return vector;
}

template <class Y, class Function, class... X>
__device__ Y result_of(const Function& function, X... x) {
  return static_cast<Y>(static_cast<Compute<Y>>(function(widened(x)...)));
}

template <int width, class Y, class Function, class... X>
__device__ Vector<Y, width> results_of(const Function& function, const Vector<X, width>&... x) {
  Vector<Y, width> y;
#pragma unroll
  for (int i = 0; i < width; ++i) y[i] = result_of<Y>(function, x[i]...);
  return y;
}

template <int width, class Function, class Y, class... X>
__global__ void map_dense(Function function, std::int64_t n, Y* y, Operand<X>... x) {
  const std::int64_t first = (std::int64_t{blockIdx.x} * map_threads + threadIdx.x) * width;
  if (first + width <= n) {
    store_vector<width>(y + first, results_of<width, Y>(function, load_operand<width>(x, first)...));
  } else {
    for (std::int64_t i = first; i < n; ++i) y[i] = result_of<Y>(function, x.data[x.is_single ? 0 : i]...);
  }
}

// Input number v is view v + 1.
template <std::size_t... v, class Y, class Function, class Offsets, class... X>
__device__ void map_one(std::index_sequence<v...>, const Function& function, const Offsets& offsets, Y* y,
                        const X*... x) {
  y[offsets.of[0]] = result_of<Y>(function, x[offsets.of[v + 1]]...);
}

template <class Function, class Y, class... X>
__global__ void map_strided(Function function, std::uint32_t n, Indexer<sizeof...(X) + 1> at, Y* y, const X*... x) {
  const std::uint32_t i = blockIdx.x * map_threads + threadIdx.x;
  if (i < n) map_one(std::index_sequence_for<X...>{}, function, at(i), y, x...);
}

template <std::size_t n>
std::int64_t size_of(const LoopNest<n>& nest) {
  std::int64_t size = 1;
  for (int axis = 0; axis < nest.rank; ++axis) size *= nest.shape[axis];
  return size;
}

// Calls body(part, offsets) for parts of the loop that have fewer than 2^31 elements each, in order; offsets[v] says
// where the part begins in view v.
template <std::size_t n, class Body>
void for_each_part(const LoopNest<n>& nest, const Body& body, std::array<std::int64_t, n> offsets = {}) {
  if (size_of(nest) <= max_indexed) return body(nest, offsets);
  const std::int64_t inner = size_of(nest) / nest.shape[0];
  if (inner > max_indexed && nest.rank > 1) {  // one position of the outermost axis after another
    LoopNest<n> rest = nest;
    --rest.rank;
    for (int axis = 0; axis < rest.rank; ++axis) {
      rest.shape[axis] = nest.shape[axis + 1];
      for (std::size_t v = 0; v < n; ++v) rest.strides[v][axis] = nest.strides[v][axis + 1];
    }
    for (std::int64_t i = 0; i < nest.shape[0]; ++i) {
      for_each_part(rest, body, offsets);
      for (std::size_t v = 0; v < n; ++v) offsets[v] += nest.strides[v][0];
    }
    return;
  }
  LoopNest<n> part = nest;
  const std::int64_t step = max_indexed / inner;
  for (std::int64_t i = 0; i < nest.shape[0]; i += step) {
    part.shape[0] = std::min(step, nest.shape[0] - i);
    body(part, offsets);
    for (std::size_t v = 0; v < n; ++v) offsets[v] += step * nest.strides[v][0];
  }
}

// A formula's two kernels, as the host sees them.
struct MapKernels {
  const void *dense, *strided;
  int width;  // elements that a thread of `dense` has
};

template <class Function, class Y, class... X>
MapKernels map_kernels() {
  constexpr int width = vector_bytes / static_cast<int>(std::max({sizeof(Y), sizeof(X)...}));
  return {address_of(&map_dense<width, Function, Y, X...>), address_of(&map_strided<Function, Y, X...>), width};
}

// What map() does on the host, for y and its inputs. It knows no types: as a template of the formula and the element
// types it took three quarters of the time in which elementwise.cu is compiled.
template <std::size_t count>
class Mapping {
 public:
  using Nest = LoopNest<count>;
  using Offsets = std::array<std::int64_t, count>;

  Mapping(const char* name, const MapKernels& kernels, const std::array<View, count>& views, const void* function,
          Stream stream)
      : name_(name),
        kernels_(kernels),
        views_(views),
        function_(function),
        stream_(stream),
        nest_(loop_nest(views, LoopOrder::any, 0)) {}

  void run() const {
    if (is_dense()) return run_dense();
    for_each_part(nest_, [&](const Nest& part, const Offsets& offsets) { run_strided(part, offsets); });
  }

 private:
  bool is_single(std::size_t view) const { return nest_.strides[view][0] == 0 || nest_.shape[0] == 1; }

  bool is_dense() const {
    for (std::size_t view = 0; view < count; ++view) {
      if (view > 0 && is_single(view)) continue;
      if (nest_.strides[view][0] != 1 && nest_.shape[0] != 1) return false;
      if (!is_aligned(views_[view].data, kernels_.width * heed::size_of(views_[view].dtype))) return false;
    }
    return nest_.rank == 1;
  }

  void run_dense() const {
    const std::int64_t n = nest_.shape[0];
    Operand<void> operands[count];  // the first is not used
    const void* arguments[2 + count] = {function_, &n, &views_[0].data};
    for (std::size_t v = 1; v < count; ++v) {
      operands[v] = {views_[v].data, is_single(v)};
      arguments[2 + v] = &operands[v];
    }
    const Launch how{name_, blocks_for(n, map_threads * kernels_.width), map_threads, 0, stream_};
    launch_address(how, kernels_.dense, arguments);
  }

  void run_strided(const Nest& part, const Offsets& offsets) const {
    const std::int64_t size = size_of(part);
    const auto n = static_cast<std::uint32_t>(size);
    const Indexer<count> at(part);
    const void* from[count];
    const void* arguments[3 + count] = {function_, &n, &at};
    for (std::size_t v = 0; v < count; ++v) {
      from[v] = static_cast<const char*>(views_[v].data) +
                offsets[v] * static_cast<std::int64_t>(heed::size_of(views_[v].dtype));
      arguments[3 + v] = &from[v];
    }
    launch_address({name_, blocks_for(size, map_threads), map_threads, 0, stream_}, kernels_.strided, arguments);
  }

  const char* name_;
  const MapKernels& kernels_;
  const std::array<View, count>& views_;
  const void* function_;
  Stream stream_;
  Nest nest_;
};

template <std::size_t count>
[[gnu::noinline]] void map_views(const char* name, const MapKernels& kernels, const View& y,
                                 const std::array<View, count - 1>& inputs, const void* function, Stream stream) {
  std::array<View, count> views{y};
  std::copy(inputs.begin(), inputs.end(), views.begin() + 1);
  if (y.size() > 0) Mapping<count>(name, kernels, views, function, stream).run();
}

// y = function(inputs...), element by element. Y and X name the views' element types; y never has stride 0.
template <class Y, class... X, class Function>
void map(const char* name, const View& y, const std::array<View, sizeof...(X)>& inputs, const Function& function,
         Stream stream) {
  map_views<1 + sizeof...(X)>(name, map_kernels<Function, Y, X...>(), y, inputs, &function, stream);
}

}  // namespace heed::kernels::cuda
