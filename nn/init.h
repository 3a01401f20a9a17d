// First values of parameters. Each function overwrites a tensor, with random numbers from a Generator (the default one
// where none is given), and has the name and the formula of its twin in torch.nn.init.
#pragma once

#include "engine/random.h"
#include "engine/tensor.h"

namespace heed::nn::init {

void constant(const Tensor& x, double value);
void uniform(const Tensor& x, double low = 0, double high = 1, Generator* generator = nullptr);
void normal(const Tensor& x, double mean = 0, double std = 1, Generator* generator = nullptr);
// Normal numbers, drawn again where they fall outside [low, high]. The interval must hold a good part of them.
void trunc_normal(const Tensor& x, double mean = 0, double std = 1, double low = -2, double high = 2,
                  Generator* generator = nullptr);

// For weights [fan_out, fan_in, ...], whose further axes multiply both fans.
// Glorot and Bengio 2010: variance 2 gain^2 / (fan_in + fan_out).
void xavier_uniform(const Tensor& x, double gain = 1, Generator* generator = nullptr);
void xavier_normal(const Tensor& x, double gain = 1, Generator* generator = nullptr);
// He et al. 2015: variance 2 / ((1 + slope^2) fan_in), for a leaky relu of that slope.
void kaiming_uniform(const Tensor& x, double slope = 0, Generator* generator = nullptr);

}  // namespace heed::nn::init
