// Memory in pieces of up to 128 bits, the most that one thread moves with one instruction, and what arithmetic on it
// happens in.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/dtypes.h"

namespace heed::kernels::cuda {

inline constexpr int vector_bytes = 16;

// `n` elements that are loaded and stored at once; n * sizeof(T) is a power of two up to 16, and addresses are multiples
// of it.
template <class T, int n = vector_bytes / static_cast<int>(sizeof(T))>
struct alignas(sizeof(T) * n) Vector {
  T values[n];
  __device__ T& operator[](int i) { return values[i]; }
  __device__ const T& operator[](int i) const { return values[i]; }
};

template <int n, class T>
__device__ Vector<T, n> load_vector(const T* from) {
  return *reinterpret_cast<const Vector<T, n>*>(from);
}
template <int n, class T>
__device__ void store_vector(T* to, const Vector<T, n>& vector) {
  *reinterpret_cast<Vector<T, n>*>(to) = vector;
}

inline bool is_aligned(const void* address, std::size_t bytes = vector_bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
}

// Whether rows of `columns` elements that lie `stride` apart can be moved in vectors of n elements.
template <class T>
bool rows_align(const T* data, std::int64_t columns, std::int64_t stride, int n) {
  return is_aligned(data, n * sizeof(T)) && columns % n == 0 && stride % n == 0;
}

// An element as the number that is computed with (a half as f32), and back.
template <class T>
__device__ Compute<T> widened(T value) {
  return static_cast<Compute<T>>(value);
}
template <class T>
__device__ T narrowed(Compute<T> value) {
  return static_cast<T>(value);
}

}  // namespace heed::kernels::cuda
