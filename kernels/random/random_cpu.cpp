// The random kernels, each in two variants that differ in who draws the words:
//   reference  philox() of philox.h, block by block; Box-Muller by the C++ library
//   simd       the default: random_simd.cpp
// What happens to the words is the same simple loop, which the compiler vectorises.
#include "kernels/random/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "kernels/cpu/loops.h"
#include "kernels/random/random_simd.h"

namespace heed::kernels {
namespace {

constexpr auto cpu = DeviceType::cpu;

void philox_words_reference(std::uint32_t* words, std::uint64_t first, std::int64_t blocks, std::uint64_t seed) {
  for (std::int64_t b = 0; b < blocks; ++b) std::ranges::copy(philox(first + b, seed), words + 4 * b);
}

void box_muller_reference(const float* u, const float* v, float* cosine, float* sine, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const double radius = std::sqrt(-2 * std::log(double{u[i]}));
    const double angle = 2 * std::numbers::pi * v[i];
    cosine[i] = static_cast<float>(radius * std::cos(angle));
    sine[i] = static_cast<float>(radius * std::sin(angle));
  }
}

struct ReferenceSource {
  static constexpr auto words = &philox_words_reference;
  static constexpr auto box_muller = &box_muller_reference;
};
struct SimdSource {
  static constexpr auto words = &philox_words_simd;
  static constexpr auto box_muller = &box_muller_simd;
};

// The words of elements [position, position + n), n at most block_elements, on the stack.
template <class Source, int words_each>
class Words {
 public:
  Words(std::int64_t position, std::int64_t n, std::uint64_t seed, std::uint64_t offset)
      : skip_(position * words_each % 4), count_((skip_ + n * words_each + 3) / 4 * 4) {
    Source::words(words_, position * words_each / 4 + offset, count_ / 4, seed);
  }

  const std::uint32_t* begin() const { return words_ + skip_; }
  // Whole blocks: what lies before begin() and behind the last element included.
  const std::uint32_t* blocks() const { return words_; }
  std::int64_t skip() const { return skip_; }
  std::int64_t count() const { return count_; }

 private:
  std::int64_t skip_, count_;
  alignas(64) std::uint32_t words_[block_elements * words_each + 8];
};

// 24 bits. By way of int: there is a vector instruction for that conversion.
float unit_float(std::uint32_t word) {
  return static_cast<float>(static_cast<std::int32_t>(word >> 8)) * 0x1p-24f;
}
// 53 bits.
double unit_double(std::uint32_t low, std::uint32_t high) {
  return static_cast<double>((std::uint64_t{high} << 32 | low) >> 11) * 0x1p-53;
}

template <class Source>
void uniform_variant(View y, std::uint64_t seed, std::uint64_t offset, Stream) {
  with_type(FloatingTypes{}, y.dtype, [&](auto element) {
    using T = decltype(element);
    map_blocks<T>(LoopOrder::logical, y, {}, [=](std::int64_t position, std::int64_t n, Compute<T>* y) {
      const Words<Source, words_per_element(dtype_of<T>())> words(position, n, seed, offset);
      const std::uint32_t* w = words.begin();
      if constexpr (std::is_same_v<T, double>) {
        for (std::int64_t i = 0; i < n; ++i) y[i] = unit_double(w[2 * i], w[2 * i + 1]);
      } else if constexpr (is_half_type<T>) {
        for (std::int64_t i = 0; i < n; ++i) y[i] = unit_half<T>(w[i]);
      } else {
        for (std::int64_t i = 0; i < n; ++i) y[i] = unit_float(w[i]);
      }
    });
  });
}

// Normal numbers for whole pairs of words, f32.
template <class Source>
void normal_pairs(const std::uint32_t* words, float* y, std::int64_t n) {
  float u[block_elements / 2 + 4] = {}, v[block_elements / 2 + 4] = {};
  const std::int64_t pairs = n / 2;
  for (std::int64_t i = 0; i < pairs; ++i) {
    u[i] = static_cast<float>((static_cast<double>(words[2 * i]) + 1) * 0x1p-32);
    v[i] = unit_float(words[2 * i + 1]);
  }
  Source::box_muller(u, v, u, v, pairs);
  for (std::int64_t i = 0; i < pairs; ++i) {
    y[2 * i] = u[i];
    y[2 * i + 1] = v[i];
  }
}

// f64: a whole block of four words for each pair.
void normal_pairs(const std::uint32_t* words, double* y, std::int64_t n) {
  for (std::int64_t i = 0; i + 1 < n; i += 2) {
    const double radius = std::sqrt(-2 * std::log(1 - unit_double(words[2 * i], words[2 * i + 1])));
    const double angle = 2 * std::numbers::pi * unit_double(words[2 * i + 2], words[2 * i + 3]);
    y[i] = radius * std::cos(angle);
    y[i + 1] = radius * std::sin(angle);
  }
}

template <class Source>
void normal_variant(View y, std::uint64_t seed, std::uint64_t offset, Stream) {
  with_type(FloatingTypes{}, y.dtype, [&](auto element) {
    using T = decltype(element);
    using C = Compute<T>;
    constexpr int words_each = words_per_element(dtype_of<T>());
    map_blocks<T>(LoopOrder::logical, y, {}, [=](std::int64_t position, std::int64_t n, C* y) {
      const Words<Source, words_each> words(position, n, seed, offset);
      C pairs[block_elements + 8];
      if constexpr (std::is_same_v<C, float>)
        normal_pairs<Source>(words.blocks(), pairs, words.count());
      else
        normal_pairs(words.blocks(), pairs, words.count() / words_each);
      const C* first = pairs + words.skip() / words_each;
      std::copy(first, first + n, y);
    });
  });
}

template <class Source>
void bernoulli_variant(View y, double p, std::uint64_t seed, std::uint64_t offset, Stream) {
  const std::uint32_t threshold = bernoulli_threshold(p);
  with_type(y.dtype, [&](auto element) {
    using T = decltype(element);
    map_blocks<T>(LoopOrder::logical, y, {}, [=](std::int64_t position, std::int64_t n, Compute<T>* y) {
      const Words<Source, 1> words(position, n, seed, offset);
      const std::uint32_t* w = words.begin();
      for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<Compute<T>>((w[i] >> 8) < threshold);
    });
  });
}

template <class Source>
void dropout_variant(View x, View y, double p, std::uint64_t seed, std::uint64_t offset, Stream) {
  const auto threshold = static_cast<std::int32_t>(bernoulli_threshold(p));  // signed: vectors compare signed numbers
  with_type(FloatingTypes{}, y.dtype, [&](auto element) {
    using T = decltype(element);
    using C = Compute<T>;
    using Bits = std::conditional_t<sizeof(C) == 8, std::uint64_t, std::uint32_t>;
    const C scale = static_cast<C>(1 / (1 - p));
    map_blocks<T, T>(LoopOrder::logical, y, {x}, [=](std::int64_t position, std::int64_t n, C* y, const C* x) {
      const Words<Source, 1> words(position, n, seed, offset);
      const std::uint32_t* w = words.begin();
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) {
        const Bits keep = static_cast<std::int32_t>(w[i] >> 8) < threshold ? 0 : ~Bits{0};
        y[i] = std::bit_cast<C>(std::bit_cast<Bits>(x[i] * scale) & keep);  // a choice without a jump
      }
    });
  });
}

const Register uniform_reference{uniform, cpu, "reference", &uniform_variant<ReferenceSource>};
const Register uniform_simd{uniform, cpu, "simd", &uniform_variant<SimdSource>, is_default};
const Register normal_reference{normal, cpu, "reference", &normal_variant<ReferenceSource>};
const Register normal_simd{normal, cpu, "simd", &normal_variant<SimdSource>, is_default};
const Register bernoulli_reference{bernoulli, cpu, "reference", &bernoulli_variant<ReferenceSource>};
const Register bernoulli_simd{bernoulli, cpu, "simd", &bernoulli_variant<SimdSource>, is_default};
const Register dropout_reference{dropout, cpu, "reference", &dropout_variant<ReferenceSource>};
const Register dropout_simd{dropout, cpu, "simd", &dropout_variant<SimdSource>, is_default};

}  // namespace
}  // namespace heed::kernels
