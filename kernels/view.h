// The plain types that cross into a kernel: element types, devices, strided views and streams.
// Nothing here owns memory. Everything above kernels/ speaks of tensors; down here there are views.
#pragma once

#include <cstddef>
#include <cstdint>

namespace heed {

// The halves, bf16 and f16, are for storage and matrix units only: arithmetic happens in f32. boolean: one byte, 0 or 1.
enum class Dtype : std::uint8_t { f32, f64, bf16, f16, i32, i64, u8, boolean };

constexpr std::size_t size_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::f64:
    case Dtype::i64:
      return 8;
    case Dtype::f32:
    case Dtype::i32:
      return 4;
    case Dtype::bf16:
    case Dtype::f16:
      return 2;
    case Dtype::u8:
    case Dtype::boolean:
      return 1;
  }
  return 0;
}

constexpr const char* name_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::f32:
      return "f32";
    case Dtype::f64:
      return "f64";
    case Dtype::bf16:
      return "bf16";
    case Dtype::f16:
      return "f16";
    case Dtype::i32:
      return "i32";
    case Dtype::i64:
      return "i64";
    case Dtype::u8:
      return "u8";
    case Dtype::boolean:
      return "bool";
  }
  return "?";
}

constexpr bool is_half(Dtype dtype) {
  return dtype == Dtype::bf16 || dtype == Dtype::f16;
}

constexpr bool is_floating(Dtype dtype) {
  return dtype == Dtype::f32 || dtype == Dtype::f64 || is_half(dtype);
}

enum class DeviceType : std::uint8_t { cpu, cuda };

constexpr const char* name_of(DeviceType type) {
  return type == DeviceType::cpu ? "cpu" : "cuda";
}

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  friend constexpr bool operator==(Device, Device) = default;
};

inline constexpr int max_rank = 8;

// A strided window onto memory that somebody else owns. Strides count elements and may be 0 (an expanded axis);
// they are never negative. Axes at or beyond `rank` are unused.
struct View {
  void* data = nullptr;
  std::int64_t shape[max_rank] = {};
  std::int64_t strides[max_rank] = {};
  int rank = 0;
  Dtype dtype = Dtype::f32;
  Device device;

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }

  std::int64_t size() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }

  // Row-major without gaps. Axes of length 1 may have any stride, and all of them where there are no elements.
  bool is_contiguous() const {
    if (size() == 0) return true;
    std::int64_t expected = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (shape[i] != 1 && strides[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  }
};

// Where a kernel is queued. On the CPU a kernel has finished when the call returns.
struct Stream {
  Device device;
  void* handle = nullptr;
};

}  // namespace heed
