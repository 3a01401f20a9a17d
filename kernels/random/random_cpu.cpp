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

// Who draws the words.
struct Source {
  void (*words)(std::uint32_t* words, std::uint64_t first, std::int64_t blocks, std::uint64_t seed);
  void (*box_muller)(const float* u, const float* v, float* cosine, float* sine, std::int64_t n);
};
constexpr Source reference_source{&philox_words_reference, &box_muller_reference};
constexpr Source simd_source{&philox_words_simd, &box_muller_simd};

// A stretch of the words that (seed, offset) stand for.
struct Draw {
  const Source& source;
  std::uint64_t seed, offset;
};

// The words of elements [position, position + n), n at most block_elements, on the stack.
template <int words_each>
class Words {
 public:
  Words(const Draw& draw, std::int64_t position, std::int64_t n)
      : skip_(position * words_each % 4), count_((skip_ + n * words_each + 3) / 4 * 4) {
    draw.source.words(words_, position * words_each / 4 + draw.offset, count_ / 4, draw.seed);
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

// y[i] = number(word), of one word an element.
template <class C, class Number>
void map_words(const View& y, const Draw& draw, const Number& number) {
  map_blocks<C>(LoopOrder::logical, y, {}, [=](std::int64_t position, std::int64_t n, C* y) {
    const Words<1> words(draw, position, n);
    const std::uint32_t* w = words.begin();
    const Number number_of = number;  // a copy, which no store to y can change
    for (std::int64_t i = 0; i < n; ++i) y[i] = number_of(w[i]);
  });
}

void draw_uniform(const View& y, const Draw& draw) {
  if (y.dtype == Dtype::f32) return map_words<float>(y, draw, [](std::uint32_t word) { return unit_float(word); });
  if (is_half(y.dtype)) {
    return with_type(Halves{}, y.dtype, [&]<class T>(T) {
      map_words<float>(y, draw, [](std::uint32_t word) { return unit_half<T>(word); });
    });
  }
  map_blocks<double>(LoopOrder::logical, y, {}, [=](std::int64_t position, std::int64_t n, double* y) {
    const Words<2> words(draw, position, n);
    const std::uint32_t* w = words.begin();
    for (std::int64_t i = 0; i < n; ++i) y[i] = unit_double(w[2 * i], w[2 * i + 1]);
  });
}

// Normal numbers for whole pairs of words, f32.
void normal_pairs(const Source& source, const std::uint32_t* words, float* y, std::int64_t n) {
  float u[block_elements / 2 + 4] = {}, v[block_elements / 2 + 4] = {};
  const std::int64_t pairs = n / 2;
  for (std::int64_t i = 0; i < pairs; ++i) {
    u[i] = static_cast<float>((static_cast<double>(words[2 * i]) + 1) * 0x1p-32);
    v[i] = unit_float(words[2 * i + 1]);
  }
  source.box_muller(u, v, u, v, pairs);
  for (std::int64_t i = 0; i < pairs; ++i) {
    y[2 * i] = u[i];
    y[2 * i + 1] = v[i];
  }
}

// f64: a whole block of four words for each pair.
void normal_pairs(const Source&, const std::uint32_t* words, double* y, std::int64_t n) {
  for (std::int64_t i = 0; i + 1 < n; i += 2) {
    const double radius = std::sqrt(-2 * std::log(1 - unit_double(words[2 * i], words[2 * i + 1])));
    const double angle = 2 * std::numbers::pi * unit_double(words[2 * i + 2], words[2 * i + 3]);
    y[i] = radius * std::cos(angle);
    y[i + 1] = radius * std::sin(angle);
  }
}

void draw_normal(const View& y, const Draw& draw) {
  with_compute_type(FloatingComputeTypes{}, y.dtype, [&]<class C>(C) {
    constexpr int words_each = words_per_element(dtype_of<C>());
    map_blocks<C>(LoopOrder::logical, y, {}, [=](std::int64_t position, std::int64_t n, C* y) {
      const Words<words_each> words(draw, position, n);
      C pairs[block_elements + 8];
      normal_pairs(draw.source, words.blocks(), pairs, words.count() / words_each);
      const C* first = pairs + words.skip() / words_each;
      std::copy(first, first + n, y);
    });
  });
}

void draw_bernoulli(const View& y, double p, const Draw& draw) {
  const std::uint32_t threshold = bernoulli_threshold(p);
  with_compute_type(AllComputeTypes{}, y.dtype, [&]<class C>(C) {
    map_words<C>(y, draw, [=](std::uint32_t word) { return static_cast<C>((word >> 8) < threshold); });
  });
}

void drop_out(const View& x, const View& y, double p, const Draw& draw) {
  const auto threshold = static_cast<std::int32_t>(bernoulli_threshold(p));  // signed: vectors compare signed numbers
  with_compute_type(FloatingComputeTypes{}, y.dtype, [&]<class C>(C) {
    using Bits = std::conditional_t<sizeof(C) == 8, std::uint64_t, std::uint32_t>;
    const C scale = static_cast<C>(1 / (1 - p));
    map_blocks<C, C>(LoopOrder::logical, y, {x}, [=](std::int64_t position, std::int64_t n, C* y, const C* x) {
      const Words<1> words(draw, position, n);
      const std::uint32_t* w = words.begin();
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) {
        const Bits keep = static_cast<std::int32_t>(w[i] >> 8) < threshold ? 0 : ~Bits{0};
        y[i] = std::bit_cast<C>(std::bit_cast<Bits>(x[i] * scale) & keep);  // a choice without a jump
      }
    });
  });
}

// The variants: the same draw from one source or the other.
template <const Source& source>
void uniform_from(View y, std::uint64_t seed, std::uint64_t offset, Stream) {
  draw_uniform(y, {source, seed, offset});
}
template <const Source& source>
void normal_from(View y, std::uint64_t seed, std::uint64_t offset, Stream) {
  draw_normal(y, {source, seed, offset});
}
template <const Source& source>
void bernoulli_from(View y, double p, std::uint64_t seed, std::uint64_t offset, Stream) {
  draw_bernoulli(y, p, {source, seed, offset});
}
template <const Source& source>
void dropout_from(View x, View y, double p, std::uint64_t seed, std::uint64_t offset, Stream) {
  drop_out(x, y, p, {source, seed, offset});
}

const Register uniform_reference{uniform, cpu, "reference", &uniform_from<reference_source>};
const Register uniform_simd{uniform, cpu, "simd", &uniform_from<simd_source>, is_default};
const Register normal_reference{normal, cpu, "reference", &normal_from<reference_source>};
const Register normal_simd{normal, cpu, "simd", &normal_from<simd_source>, is_default};
const Register bernoulli_reference{bernoulli, cpu, "reference", &bernoulli_from<reference_source>};
const Register bernoulli_simd{bernoulli, cpu, "simd", &bernoulli_from<simd_source>, is_default};
const Register dropout_reference{dropout, cpu, "reference", &dropout_from<reference_source>};
const Register dropout_simd{dropout, cpu, "simd", &dropout_from<simd_source>, is_default};

}  // namespace
}  // namespace heed::kernels
