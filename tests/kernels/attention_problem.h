// One attention problem, computed in any way, and how far the results may be from the truth. The rule is
// FlashAttention's: no further from the composed formula in f64 than twice (gradients: three times) what a low precision
// reference is. NaN and infinities must match.
//
// The low precision reference is the composed formula in the precision at hand. What it errs by is a random number, in
// small problems a widely scattered one, so the rule takes the largest of several samples: products added up by the
// library and in order, and where that does not suffice, other inputs drawn from the same distribution, up to eight in
// all. It counts as wrong by half a unit in the last place of the largest result in f32 at least: with a single key it
// may hit the truth by chance or by design. Its backward starts, as any fused one does, from the rounded output and
// log-sum-exp.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/ops.h"

namespace heed::test {

struct AttentionProblem {
  std::int64_t batch = 1, heads = 2, key_heads = 2, queries = 5, keys = 7, head_dim = 8, value_dim = 8;
  AttentionOptions options = {};
  bool transposed = false;  // heads and lengths exchanged in memory, as nn::MultiheadAttention hands them over
  double query_magnitude = 1, magnitude = 1;
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> query_lengths = {}, key_lengths = {};  // of a packed batch, in place of batch and lengths
  bool mask_gradient = false;
  std::uint64_t sample = 0;  // which of the inputs and gradients that the sizes allow

  bool is_packed() const { return !query_lengths.empty(); }
};

// "output", "log_sum_exp", and under random cotangents "dquery", "dkey", "dvalue", "dmask".
using AttentionResults = std::vector<std::pair<std::string, Tensor>>;

// At `dtype`; f64 starts from the same numbers as the problem's own.
AttentionResults run_attention(const AttentionProblem& p, Dtype dtype, AttentionPath path);

// What that starts from: query, key, value; and, as functions of the results' shapes, the gradients of output and
// log_sum_exp.
std::vector<Tensor> attention_inputs(const AttentionProblem& p);
Tensor attention_doutput(const Shape& shape, std::uint64_t sample = 0);
Tensor attention_dlog_sum_exp(const Shape& shape, std::uint64_t sample = 0);

// The largest distance from `truth`; NaN or an infinity at another place counts as infinite.
double distance(const Tensor& x, const Tensor& truth);

class AttentionOracle {
 public:
  explicit AttentionOracle(const AttentionProblem& p);
  // What is further from the truth than the rule allows, one line each; "" when nothing is.
  std::string findings(const AttentionResults& found) const;

  AttentionProblem problem;
  AttentionResults truth;

 private:
  void take_sample() const;

  mutable std::vector<double> errors_;  // of the low precision reference, the largest of all samples
  mutable std::uint64_t samples_ = 0;
};

// Holds the CPU variants of the kernels against the oracle; `fast` leaves out those whose products are plain
// loops: they take seconds where the others take milliseconds.
enum class Variants { all, fast };
void verify_attention(const std::string& name, const AttentionProblem& p, Variants variants = Variants::all);

}  // namespace heed::test
