// Kernels on a GPU against the CPU's references in f64. Without a GPU the tests that use this skip, and say so.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/cuda/device.h"
#include "kernels/dtypes.h"
#include "kernels/registry.h"

namespace heed::test {

using Values = std::vector<double>;
using Extents = std::vector<std::int64_t>;

inline bool no_gpu() {
  if (kernels::cuda::device_count() > 0) return false;
  MESSAGE("skipped: " << kernels::cuda::why_unavailable(0));
  return true;
}

// Arrays on a device. On the GPU their numbers are of the dtype that is asked for; on the CPU, where results to compare
// with are made, floating ones are rounded to it and kept in f64.
class Arrays {
 public:
  explicit Arrays(DeviceType type) : device_{type, 0} {}
  Arrays(const Arrays&) = delete;
  Arrays& operator=(const Arrays&) = delete;
  ~Arrays() {
    for (const auto& array : arrays_) {
      if (on_gpu() && array->memory != nullptr) kernels::cuda::release(0, array->memory);
    }
  }

  bool on_gpu() const { return device_.type == DeviceType::cuda; }
  Stream stream() const { return {device_, nullptr}; }
  Dtype stored(Dtype dtype) const { return !on_gpu() && is_floating(dtype) ? Dtype::f64 : dtype; }

  // A view of `values` from element `offset` on. Without strides: row-major.
  View put(Dtype dtype, const Values& values, const Extents& shape, const Extents& strides = {},
           std::int64_t offset = 0) {
    arrays_.push_back(std::make_unique<Array>());
    Array& array = *arrays_.back();
    array.dtype = stored(dtype);
    array.count = values.size();
    const std::vector<std::byte> bytes = encode(values, dtype, array.dtype);
    if (on_gpu()) {
      array.memory = kernels::cuda::allocate(0, std::max<std::size_t>(bytes.size(), 1));
      kernels::cuda::copy_to_device(array.memory, bytes.data(), bytes.size(), stream());
    } else {
      array.host = bytes;
      array.memory = array.host.data();
    }
    View view;
    view.data = static_cast<std::byte*>(array.memory) + offset * static_cast<std::int64_t>(size_of(array.dtype));
    view.dtype = array.dtype;
    view.device = device_;
    view.rank = static_cast<int>(shape.size());
    std::int64_t dense = 1;
    for (int axis = view.rank - 1; axis >= 0; --axis) {
      view.shape[axis] = shape[axis];
      view.strides[axis] = strides.empty() ? dense : strides[axis];
      dense *= shape[axis];
    }
    return view;
  }

  // All numbers of the array that a view lies in, those between its elements included.
  Values read(const View& view) const {
    for (const auto& array : arrays_) {
      const auto* const begin = static_cast<const std::byte*>(array->memory);
      const std::size_t size = array->count * size_of(array->dtype);
      if (view.data < begin || view.data >= begin + std::max<std::size_t>(size, 1)) continue;
      std::vector<std::byte> bytes(size);
      if (on_gpu()) {
        kernels::cuda::copy_from_device(bytes.data(), begin, size, stream());
        kernels::cuda::synchronize(stream());
      } else {
        std::copy(begin, begin + size, bytes.begin());
      }
      return decode(bytes, array->dtype);
    }
    FAIL("a view of no array");
    return {};
  }

 private:
  struct Array {
    Dtype dtype = Dtype::f64;
    std::size_t count = 0;
    void* memory = nullptr;
    std::vector<std::byte> host;
  };

  static std::vector<std::byte> encode(const Values& values, Dtype rounded, Dtype stored) {
    std::vector<std::byte> bytes(values.size() * size_of(stored));
    kernels::with_type(rounded, [&]<class R>(R) {
      kernels::with_type(stored, [&]<class T>(T) {
        for (std::size_t i = 0; i < values.size(); ++i) {
          const R value(static_cast<kernels::Compute<R>>(values[i]));
          const T element(static_cast<kernels::Compute<T>>(static_cast<kernels::Compute<R>>(value)));
          std::memcpy(bytes.data() + i * sizeof(T), &element, sizeof(T));
        }
      });
    });
    return bytes;
  }
  static Values decode(const std::vector<std::byte>& bytes, Dtype dtype) {
    Values values(bytes.size() / size_of(dtype));
    kernels::with_type(dtype, [&]<class T>(T) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        T element;
        std::memcpy(&element, bytes.data() + i * sizeof(T), sizeof(T));
        values[i] = static_cast<double>(static_cast<kernels::Compute<T>>(element));
      }
    });
    return values;
  }

  Device device_;
  std::vector<std::unique_ptr<Array>> arrays_;
};

// Launches a kernel on arrays and returns all that it may have written.
using Run = std::function<Values(Arrays&, Dtype)>;

struct Precision {
  Dtype dtype;
  double tolerance;  // relative to 1 + |expected|
};

// Empty, or where got and expected differ. NaN agrees with NaN alone, an infinity with itself.
inline std::string difference(const Values& got, const Values& expected, double tolerance) {
  if (got.size() != expected.size()) return "different lengths";
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(got[i]) && std::isnan(expected[i])) continue;
    if (got[i] == expected[i]) continue;
    if (!(std::abs(got[i] - expected[i]) <= tolerance * (1 + std::abs(expected[i])))) {
      return "element " + std::to_string(i) + ": " + std::to_string(got[i]) + ", expected " +
             std::to_string(expected[i]);
    }
  }
  return "";
}

inline bool same_bits(const Values& a, const Values& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0);
}

// Every variant on the GPU, in every dtype, against the CPU's reference in f64; and that the bits repeat.
inline void compare_on_gpu(const kernels::KernelSlot& slot, const std::vector<Precision>& precisions, const Run& run) {
  INFO(std::string(slot.name()));
  int variants = 0;
  for (const auto& [dtype, tolerance] : precisions) {
    INFO(std::string(name_of(dtype)));
    Values expected;
    {
      const kernels::ScopedVariant scope(slot, DeviceType::cpu, "reference");
      Arrays arrays(DeviceType::cpu);
      expected = run(arrays, dtype);
    }
    for (const kernels::Variant& variant : slot.variants()) {
      if (variant.device != DeviceType::cuda) continue;
      ++variants;
      INFO(std::string(variant.name));
      const kernels::ScopedVariant scope(slot, DeviceType::cuda, variant.name);
      Arrays first(DeviceType::cuda), second(DeviceType::cuda);
      const Values got = run(first, dtype);
      if (dtype == Dtype::f16) {
        for (std::size_t i = 0; i < expected.size(); ++i)  // what f16 makes of large numbers
          if (std::abs(expected[i]) >= 65520 && got[i] == std::copysign(INFINITY, expected[i])) expected[i] = got[i];
      }
      CHECK_EQ(difference(got, expected, tolerance), "");
      CHECK(same_bits(run(second, dtype), got));
    }
  }
  CHECK(variants > 0);
}

// Numbers in [-1, 1] times scale, the same on every run.
inline Values random_values(std::int64_t count, unsigned seed, double scale = 1, double offset = 0) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> distribution(-1, 1);
  Values numbers(static_cast<std::size_t>(count));
  for (double& number : numbers) number = static_cast<float>(distribution(generator) * scale + offset);
  return numbers;
}

// Whole numbers in [0, below).
inline Values random_indices(std::int64_t count, std::int64_t below, unsigned seed) {
  std::mt19937 generator(seed);
  Values numbers(static_cast<std::size_t>(count));
  for (double& number : numbers) number = static_cast<double>(generator() % static_cast<unsigned>(below));
  return numbers;
}

}  // namespace heed::test
