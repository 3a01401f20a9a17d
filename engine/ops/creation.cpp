#include <cmath>
#include <numeric>

#include "engine/operation.h"
#include "engine/ops.h"
#include "kernels/copy/copy.h"
#include "kernels/gather/gather.h"
#include "kernels/random/random.h"

namespace heed {

Tensor full(const Shape& shape, double value, TensorOptions options) {
  Operation op("full");
  Tensor y = empty(shape, options);
  kernels::fill(y.view(), value, op.stream(y));
  return y;
}

Tensor zeros(const Shape& shape, TensorOptions options) {
  return full(shape, 0.0, options);
}
Tensor ones(const Shape& shape, TensorOptions options) {
  return full(shape, 1.0, options);
}
Tensor full_like(const Tensor& x, double value) {
  return full(x.shape(), value, x.options());
}
Tensor zeros_like(const Tensor& x) {
  return full(x.shape(), 0.0, x.options());
}
Tensor ones_like(const Tensor& x) {
  return full(x.shape(), 1.0, x.options());
}
Tensor scalar(double value, TensorOptions options) {
  return full({}, value, options);
}

Tensor arange(double start, double stop, double step, TensorOptions options) {
  Operation op("arange");
  op.check(options.dtype != Dtype::boolean, "needs numbers, not bool");
  op.check(std::isfinite(start) && std::isfinite(stop) && std::isfinite(step), "from {} to {} in steps of {}", start,
           stop, step);
  op.check(step != 0 && (stop - start) * step >= 0, "steps of {} do not lead from {} to {}", step, start, stop);
  const double count = std::ceil((stop - start) / step);
  op.check(count < 0x1p53, "from {} to {} in steps of {} are too many", start, stop, step);
  const Tensor y = empty({static_cast<std::int64_t>(count)}, options);
  kernels::iota(y.view(), start, step, op.stream(y));
  return y;
}

Tensor linspace(double start, double stop, std::int64_t count, TensorOptions options) {
  Operation op("linspace");
  op.check(is_floating(options.dtype), "needs a floating dtype, not {}", options.dtype);
  op.check(count >= 0, "{} numbers", count);
  const Tensor y = empty({count}, options);
  const double steps = static_cast<double>(std::max<std::int64_t>(count - 1, 1));
  kernels::iota(y.view(), start, (stop - start) / steps, op.stream(y));
  if (count > 1) kernels::fill(alias(y, y.layout().selected(0, count - 1)).view(), stop, op.stream(y));  // exactly
  return y;
}

Tensor eye(std::int64_t n, TensorOptions options) {
  Operation op("eye");
  op.check(n >= 0, "a matrix of {} rows", n);
  const Tensor y = zeros({n, n}, options);
  const Tensor diagonal = alias(y, Layout{.shape = {n}, .strides = {n + 1}, .offset = y.layout().offset});
  kernels::fill(diagonal.view(), 1.0, op.stream(y));
  return y;
}

Tensor one_hot(const Tensor& index, std::int64_t classes, Dtype dtype) {
  Operation op("one_hot");
  op.same_device({index});
  op.check(index.dtype() == Dtype::i64 || index.dtype() == Dtype::i32, "index is {}, expected i64 or i32",
           index.dtype());
  op.check(classes >= 0, "{} classes", classes);
  const Tensor range = empty({2}, {Dtype::i64, index.device()});  // smallest, largest
  kernels::index_range(index.view(), range.view(), op.stream(index));
  const std::vector<std::int64_t> ends = range.to_vector<std::int64_t>();
  op.check(index.count() == 0 || ends[0] >= 0, "index {} is negative", ends[0]);
  op.check(index.count() == 0 || ends[1] < classes, "index {} out of range for {} classes", ends[1], classes);
  return equal(index.unsqueeze(-1), arange(0, static_cast<double>(classes), 1, index.options())).to(dtype);
}

// ---- Random leaves

namespace {

struct Draw {
  std::uint64_t seed;
  std::uint64_t offset;
};

// Reserves the numbers for `count` elements.
Draw draw(Generator* generator, std::int64_t count, std::uint64_t words_per_element = 1) {
  Generator& source = generator != nullptr ? *generator : default_generator();
  const std::uint64_t blocks = kernels::philox_blocks(static_cast<std::uint64_t>(count), words_per_element);
  return {source.seed, source.advance(blocks)};
}

// The index-th number in [0, range) of a draw of two words per element: the upper half of a 64-bit product. Some
// numbers come up more often than others, by one part in 2^64 / range (Lemire 2019).
std::uint64_t below(std::uint64_t range, const Draw& draw, std::uint64_t index) {
  const kernels::PhiloxBlock block = kernels::philox(draw.offset + index / 2, draw.seed);
  const std::uint64_t low = block[index % 2 * 2], high = block[index % 2 * 2 + 1];
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((Wide{high << 32 | low} * range) >> 64);
}

}  // namespace

Tensor rand(const Shape& shape, TensorOptions options, Generator* generator) {
  Operation op("rand");
  op.check(is_floating(options.dtype), "needs a floating dtype, not {}", options.dtype);
  const Tensor y = empty(shape, options);
  const auto [seed, offset] = draw(generator, y.count(), kernels::words_per_element(options.dtype));
  kernels::uniform(y.view(), seed, offset, op.stream(y));
  return y;
}

Tensor randn(const Shape& shape, TensorOptions options, Generator* generator) {
  Operation op("randn");
  op.check(is_floating(options.dtype), "needs a floating dtype, not {}", options.dtype);
  const Tensor y = empty(shape, options);
  const auto [seed, offset] = draw(generator, y.count(), kernels::words_per_element(options.dtype));
  kernels::normal(y.view(), seed, offset, op.stream(y));
  return y;
}

Tensor bernoulli(const Shape& shape, double p, TensorOptions options, Generator* generator) {
  Operation op("bernoulli");
  op.check(p >= 0 && p <= 1, "probability {} is not within [0, 1]", p);
  const Tensor y = empty(shape, options);
  const auto [seed, offset] = draw(generator, y.count());
  kernels::bernoulli(y.view(), p, seed, offset, op.stream(y));
  return y;
}

Tensor randint(std::int64_t low, std::int64_t high, const Shape& shape, Generator* generator) {
  const Operation op("randint");
  op.check(low < high, "no integers in [{}, {})", low, high);
  const Tensor y = empty(shape, {Dtype::i64, {}});
  const Draw numbers = draw(generator, y.count(), 2);
  const std::uint64_t range = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
  std::int64_t* values = y.data<std::int64_t>();
  for (std::int64_t i = 0; i < y.count(); ++i) {
    values[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + below(range, numbers, i));
  }
  return y.to(default_device());
}

// Fisher and Yates: each place in turn, from the last, swaps with one at or before it.
Tensor randperm(std::int64_t n, Generator* generator) {
  const Operation op("randperm");
  op.check(n >= 0, "a permutation of {} numbers", n);
  const Tensor y = empty({n}, {Dtype::i64, {}});
  const Draw numbers = draw(generator, n, 2);
  std::int64_t* values = y.data<std::int64_t>();
  std::iota(values, values + n, 0);
  for (std::int64_t i = n - 1; i > 0; --i) std::swap(values[i], values[below(i + 1, numbers, i)]);
  return y.to(default_device());
}

}  // namespace heed
