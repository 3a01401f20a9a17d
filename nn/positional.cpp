#include "nn/positional.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "nn/init.h"

namespace heed::nn {
namespace {

// f(i base^(-2k / dim)) at [i, k]: the angles all these tables are made of. Computed in f64.
Tensor table_of(double (*f)(double), std::int64_t length, std::int64_t dim, double base) {
  check(length >= 0 && dim > 0 && dim % 2 == 0, "positions: length {} and dimension {}; the dimension must be even",
        length, dim);
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(length * dim / 2));
  for (std::int64_t i = 0; i < length; ++i) {
    for (std::int64_t k = 0; k < dim; k += 2)
      values.push_back(static_cast<float>(f(static_cast<double>(i) * std::pow(base, -static_cast<double>(k) / dim))));
  }
  return from_vector(values, {length, dim / 2});
}

double sine(double x) {
  return std::sin(x);
}
double cosine(double x) {
  return std::cos(x);
}

// The rows of a table for x [..., length, dim].
Tensor rows_for(const Tensor& x, const Tensor& table, std::int64_t start, const char* name) {
  check(x.rank() >= 2, "{}: needs [..., length, dim], not shape {}", name, x.shape());
  const std::int64_t length = x.size(-2);
  check(start >= 0 && start + length <= table.size(0), "{}: positions {} to {} of a table of {}", name, start,
        start + length, table.size(0));
  return table.slice(0, start, start + length);
}

}  // namespace

Tensor sinusoidal_positions(std::int64_t length, std::int64_t dim) {
  const Tensor waves = stack({table_of(sine, length, dim, 10000), table_of(cosine, length, dim, 10000)}, -1);
  return waves.reshape({length, dim});  // from [length, dim / 2, 2]
}

SinusoidalPositions::SinusoidalPositions(std::int64_t max_length, std::int64_t dim)
    : table(sinusoidal_positions(max_length, dim)) {
  register_buffer("table", table, false);
}

Tensor SinusoidalPositions::operator()(const Tensor& x, std::int64_t start) const {
  return x + rows_for(x, table, start, "SinusoidalPositions");
}

LearnedPositions::LearnedPositions(std::int64_t max_length, std::int64_t dim) : weight(empty({max_length, dim})) {
  register_parameter("weight", weight);
  init::normal(weight);
}

Tensor LearnedPositions::operator()(const Tensor& x, std::int64_t start) const {
  return x + rows_for(x, weight, start, "LearnedPositions");
}

RotaryPositions::RotaryPositions(std::int64_t max_length, std::int64_t head_dim, double base)
    : cos_table(table_of(cosine, max_length, head_dim, base)), sin_table(table_of(sine, max_length, head_dim, base)) {
  register_buffer("cos_table", cos_table, false);
  register_buffer("sin_table", sin_table, false);
}

Tensor packed_positions(const Tensor& starts, std::int64_t tokens) {
  check(starts.dtype() == Dtype::i64 && starts.rank() == 1 && starts.size(0) >= 1,
        "packed_positions: starts of shape {} ({}), expected [sequences + 1] (i64)", starts.shape(), starts.dtype());
  const std::vector<std::int64_t> at = starts.to_vector<std::int64_t>();
  check(at.front() == 0 && at.back() == tokens && std::is_sorted(at.begin(), at.end()),
        "packed_positions: starts do not rise from 0 to {} tokens", tokens);
  std::vector<std::int64_t> positions(static_cast<std::size_t>(tokens));
  for (std::size_t s = 0; s + 1 < at.size(); ++s)
    std::iota(positions.begin() + at[s], positions.begin() + at[s + 1], std::int64_t{0});
  return from_vector(positions, {tokens}, starts.device());
}

namespace {

// cos, sin: [length, head_dim / 2]
Tensor rotated(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  check(x.size(-1) == 2 * cos.size(1), "RotaryPositions: head_dim {} where the tables have {}", x.size(-1),
        2 * cos.size(1));
  const std::vector<Tensor> half = chunk(x, 2, -1);  // [..., length, head_dim / 2] each
  return cat({half[0] * cos - half[1] * sin, half[1] * cos + half[0] * sin}, -1);
}

}  // namespace

Tensor RotaryPositions::operator()(const Tensor& x, std::int64_t start) const {
  return rotated(x, rows_for(x, cos_table, start, "RotaryPositions"), rows_for(x, sin_table, start, "RotaryPositions"));
}

Tensor RotaryPositions::operator()(const Tensor& x, const Tensor& positions) const {
  check(x.rank() >= 2 && positions.shape() == Shape{x.size(-2)},
        "RotaryPositions: x of shape {} and positions of shape {}, expected [..., length, dim] and [length]", x.shape(),
        positions.shape());
  return rotated(x, index_select(cos_table, 0, positions), index_select(sin_table, 0, positions));
}

}  // namespace heed::nn
