// Rows of strided views on the GPU: where a row lies, how the threads of a team read and write it in 16-byte vectors, and
// how they merge what each of them found.
//
// A team is the threads that treat one row together: `width` of them, which is a power of two within one warp, or the
// whole block (then a multiple of 32). Every thread of a block takes part in every call that merges; teams that got no row
// treat one of length 0.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/loop_nest.h"

namespace heed::kernels::cuda {

template <class S>
inline constexpr S infinity = std::numeric_limits<S>::infinity();

// ---- rows of any strides

// A row whose elements are `step` apart, read and written in the type that is computed with.
template <class T>
struct StridedRow {
  T* data;
  std::int64_t step;
  __device__ Compute<T> operator[](std::int64_t i) const { return widened(data[i * step]); }
  __device__ void set(std::int64_t i, Compute<T> value) const { data[i * step] = narrowed<T>(value); }
};

// The positions of N views that share a shape along the axes for which `contains(axis)` holds, numbered so that neighbours
// lie side by side in the memory of the first view as far as its strides allow. A view without data is an operand too:
// its offsets are of use by themselves.
template <int N>
struct Positions {
  std::int64_t count = 1;
  LoopNest<N> nest;
  void* data[N] = {};

  template <class Contains>
  Positions(const std::array<View, N>& views, Contains&& contains)
      : nest(loop_nest(views, LoopOrder::any, 0, contains)) {
    for (int i = 0; i < nest.rank; ++i) count *= nest.shape[i];
    for (int v = 0; v < N; ++v) data[v] = views[v].data;
  }

  // Where position `number` lies in each view: elements from its data.
  __device__ std::array<std::int64_t, N> offsets(std::int64_t number) const {
    std::array<std::int64_t, N> at = {};
    for (int axis = nest.rank - 1; axis > 0; --axis) {
      const std::int64_t index = number % nest.shape[axis];
      number /= nest.shape[axis];
      for (int v = 0; v < N; ++v) at[v] += index * nest.strides[v][axis];
    }
    for (int v = 0; v < N; ++v) at[v] += number * nest.strides[v][0];
    return at;
  }
};

// The rows along one axis: their positions are those of their first elements.
template <int N>
struct Rows : Positions<N> {
  std::int64_t length = 0;
  std::int64_t steps[N] = {};

  Rows(const std::array<View, N>& views, int axis)
      : Positions<N>(views, [axis](int other) { return other != axis; }), length(views[0].shape[axis]) {
    for (int v = 0; v < N; ++v) steps[v] = views[v].strides[axis];
  }

  // Whether the elements of every row lie side by side in the first `operands` views.
  bool contiguous(int operands = N) const {
    for (int v = 0; v < operands && length > 1; ++v) {
      if (steps[v] != 1) return false;
    }
    return true;
  }

  // How many vectors the longest row touches: one more where rows may begin inside a vector.
  template <class T>
  std::int64_t vectors() const {
    constexpr std::int64_t width = vector_bytes / sizeof(T);
    std::int64_t odd = reinterpret_cast<std::uintptr_t>(this->data[0]) / sizeof(T);
    for (int i = 0; i < this->nest.rank; ++i) odd |= this->nest.shape[i] == 1 ? 0 : this->nest.strides[0][i];
    return (length + (odd % width == 0 ? 0 : width - 1) + width - 1) / width;
  }

  template <class T>
  __device__ StridedRow<T> row(int view, std::int64_t offset) const {
    return {static_cast<T*>(this->data[view]) + offset, steps[view]};
  }
};

// ---- rows in vectors

template <class T>
inline constexpr int vector_width = vector_bytes / static_cast<int>(sizeof(T));

// The elements of a vector as floats, and back.
template <class T>
__device__ void unpack_vector(uint4 bits, float (&x)[vector_width<T>]) {
  const unsigned words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (std::is_same_v<T, float>)
      x[i] = __uint_as_float(words[i]);
    else
      unpack<T>(words[i], x[2 * i], x[2 * i + 1]);
  }
}
template <class T>
__device__ uint4 pack_vector(const float (&x)[vector_width<T>]) {
  unsigned words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (std::is_same_v<T, float>)
      words[i] = __float_as_uint(x[i]);
    else
      words[i] = pack<T>(x[2 * i], x[2 * i + 1]);
  }
  return {words[0], words[1], words[2], words[3]};
}

// Written by hand: the compiler takes an assignment apart into four stores, where it stands beside others.
__device__ inline void store_16_bytes(void* to, uint4 bits) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(bits.x), "r"(bits.y), "r"(bits.z), "r"(bits.w)
               : "memory");
}

// A row of contiguous elements of 4 or 2 bytes as the 16-byte vectors of memory that it lies in. Rows begin where they like,
// vectors do not: the first and the last may reach beyond the row, and there single elements are read and written. Of
// several rows that are walked side by side, the first decides where vectors begin; in a row that does not share its
// alignment every element is accessed by itself.
template <class T>
struct VectorRow {
  static constexpr int width = vector_width<T>;
  T* data;  // const T is a row to be read only
  std::int64_t length;
  int head;      // elements of the first vector that stand before the row
  bool aligned;  // vectors begin at multiples of 16 bytes

  __device__ VectorRow(T* data, std::int64_t length)
      : VectorRow(data, length, static_cast<int>(reinterpret_cast<std::uintptr_t>(data) / sizeof(T) % width)) {}
  __device__ VectorRow(T* data, std::int64_t length, int head)
      : data(data),
        length(length),
        head(head),
        aligned(reinterpret_cast<std::uintptr_t>(data - head) % vector_bytes == 0) {}

  __device__ std::int64_t count() const { return (head + length + width - 1) / width; }
  // The number in the row of the first element of a vector: below 0 for elements that stand before the row.
  __device__ std::int64_t first(std::int64_t vector) const { return vector * width - head; }

  __device__ bool has(std::int64_t vector, int j) const { return first(vector) + j >= 0 && first(vector) + j < length; }

  // Elements outside the row become `absent`.
  __device__ void load(std::int64_t vector, float (&x)[width], float absent = 0) const {
    const std::int64_t at = first(vector);
    if (aligned && at >= 0 && at + width <= length) {
      unpack_vector<std::remove_const_t<T>>(*reinterpret_cast<const uint4*>(data + at), x);
    } else {
#pragma unroll
      for (int j = 0; j < width; ++j) x[j] = at + j >= 0 && at + j < length ? widened(data[at + j]) : absent;
    }
  }
  __device__ void store(std::int64_t vector, const float (&x)[width]) const {
    const std::int64_t at = first(vector);
    if (aligned && at >= 0 && at + width <= length) {
      store_16_bytes(data + at, pack_vector<T>(x));
    } else {
#pragma unroll
      for (int j = 0; j < width; ++j) {
        if (at + j >= 0 && at + j < length) data[at + j] = narrowed<T>(x[j]);
      }
    }
  }
};

// ---- teams that hold their row in registers

inline constexpr int max_team = 512;

// Calls launch(vectors, team) with the smallest team whose threads hold a row of `count` vectors between them, two each or
// 32 elements each (`vectors` is a compile-time constant); false, and nothing called, where no team does.
// Vector v of the row belongs to thread v % team, so that neighbouring threads always access neighbouring vectors.
template <class T, class Launch>
bool with_team(std::int64_t count, Launch&& launch) {
  constexpr int few = 2, many = 32 / vector_width<T>;
  const bool is_short = count <= few * warp_size;
  const std::int64_t wanted = divide_up(count, is_short ? few : many);
  if (wanted > max_team) return false;
  int team = 2;  // two threads make whole sectors of 32 bytes
  while (team < wanted && team < warp_size) team *= 2;
  if (wanted > warp_size) team = static_cast<int>(divide_up(wanted, warp_size) * warp_size);
  is_short ? launch(std::integral_constant<int, few>(), team) : launch(std::integral_constant<int, many>(), team);
  return true;
}

// Teams of a warp or less share blocks of 128 threads.
inline unsigned threads_of(int team) {
  return team > warp_size ? static_cast<unsigned>(team) : 128;
}
inline unsigned blocks_of_teams(std::int64_t rows, int team) {
  return blocks_for(rows, threads_of(team) / static_cast<unsigned>(team));
}
// The row of the calling thread's team; at or beyond their number for teams that got none.
__device__ inline std::int64_t row_of_team(int team) {
  return static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / team) + threadIdx.x / team;
}

// ---- what the threads of a team know together

// Merges the values of a team; every thread of it gets the same bits. `merge` is commutative, `neutral` leaves a value as it
// is.
template <class T, class Merge>
__device__ inline T team_reduce(T value, int width, Merge merge, T neutral) {
  for (int distance = (width < 32 ? width : 32) / 2; distance > 0; distance /= 2) {
    value = merge(value, shuffle_xor(value, distance));
  }
  if (width <= 32) return value;
  __shared__ T of_warps[32];
  const int lane = threadIdx.x % 32;
  __syncthreads();  // an earlier call may still be reading
  if (lane == 0) of_warps[threadIdx.x / 32] = value;
  __syncthreads();
  value = lane < width / 32 ? of_warps[lane] : neutral;
  for (int distance = 16; distance > 0; distance /= 2) value = merge(value, shuffle_xor(value, distance));
  return value;
}

__device__ inline float team_sum(float value, int width) {
  return team_reduce(value, width, Sum(), 0.0f);
}
__device__ inline float team_max(float value, int width) {
  return team_reduce(value, width, Max(), -infinity<float>);
}

}  // namespace heed::kernels::cuda
