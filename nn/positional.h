// Where in a sequence a vector stands: attention itself cannot tell.
#pragma once

#include "engine/ops.h"
#include "nn/module.h"

namespace heed::nn {

// Vaswani et al. 2017: p[i, 2k] = sin(i w), p[i, 2k + 1] = cos(i w), w = 10000^(-2k / dim). f32 [length, dim], dim even.
Tensor sinusoidal_positions(std::int64_t length, std::int64_t dim);

// Adds those to x [..., length, dim]. Nothing to learn, nothing in the state dict.
class SinusoidalPositions : public Module {
 public:
  SinusoidalPositions(std::int64_t max_length, std::int64_t dim);
  // `start` is the position of the first vector.
  Tensor operator()(const Tensor& x, std::int64_t start = 0) const;

  Tensor table;  // [max_length, dim]
};

// Adds a learned vector per position, initialised like an Embedding.
class LearnedPositions : public Module {
 public:
  LearnedPositions(std::int64_t max_length, std::int64_t dim);
  Tensor operator()(const Tensor& x, std::int64_t start = 0) const;

  Tensor weight;  // [max_length, dim]
};

// Of packed sequences, the place of each token in its own: i64 [tokens]. starts i64 [sequences + 1], from 0 to tokens,
// never falling; is read, which waits for the device that it lies on.
Tensor packed_positions(const Tensor& starts, std::int64_t tokens);

// Su et al. 2021 (RoPE): turns queries and keys by an angle proportional to their position, so that their products
// depend on the distance alone. Dimension k is paired with k + head_dim / 2 (the layout of Hugging Face's Llama) and
// turned by position * base^(-2k / head_dim).
class RotaryPositions : public Module {
 public:
  RotaryPositions(std::int64_t max_length, std::int64_t head_dim, double base = 10000);
  // x [..., length, head_dim], at positions start, start + 1 and so on
  Tensor operator()(const Tensor& x, std::int64_t start = 0) const;
  // x [..., length, head_dim], each row at its own of `positions` i64 [length]
  Tensor operator()(const Tensor& x, const Tensor& positions) const;

  Tensor cos_table, sin_table;  // [max_length, head_dim / 2]
};

}  // namespace heed::nn
