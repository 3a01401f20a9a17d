// Fused attention that is wrong in the ways that kernels really are: each must be found by the rule that the real ones
// are held to. A small kernel of its own, a block of keys at a time, with the mistakes built in.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/harness/array.h"
#include "tests/harness/examine.h"
#include "tests/kernels/attention_problem.h"

namespace heed::test {
namespace {

enum class Bug {
  none,
  dropped_rescale,         // of what earlier blocks gave, when a later one has a larger score
  unmasked_tail_column,    // the keys that fill the last block up take part
  causal_off_by_one,       // a query sees the key after it
  shift_forgotten,         // bottom-right alignment taken for top-left
  delta_without_dlse,      // the gradient of the log-sum-exp does not reach the scores
  delta_of_doutput_alone,  // delta is the sum of doutput, not its product with the output
  scale_missing_in_dquery,
  weights_from_max,  // the backward divides by the largest exponential, not by their sum
  last_key_without_gradient,
};

constexpr std::int64_t block = 16;

// One head: query [queries, dim] and so on, batch and heads being 1.
struct Kernel {
  const AttentionProblem& p;
  Bug bug;
  Array query, key, value;
  double scale = 1 / std::sqrt(static_cast<double>(p.head_dim));

  std::int64_t shift() const {
    return p.options.causal == Causal::bottom_right && bug != Bug::shift_forgotten ? p.keys - p.queries : 0;
  }
  bool sees(std::int64_t i, std::int64_t j) const {
    if (j >= p.keys) return bug == Bug::unmasked_tail_column;
    if (p.options.causal == Causal::none) return true;
    return j <= i + shift() + (bug == Bug::causal_off_by_one ? 1 : 0);
  }
  double score(std::int64_t i, std::int64_t j) const {
    if (!sees(i, j)) return -std::numeric_limits<double>::infinity();
    double sum = 0;
    for (std::int64_t d = 0; d < p.head_dim && j < p.keys; ++d) sum += query[{0, 0, i, d}] * key[{0, 0, j, d}];
    return sum * scale;
  }

  void forward(Array& output, Array& log_sum_exp) const {
    for (std::int64_t i = 0; i < p.queries; ++i) {
      double max = -std::numeric_limits<double>::infinity(), sum = 0;
      std::vector<double> row(static_cast<std::size_t>(p.value_dim));
      for (std::int64_t first = 0; first < p.keys; first += block) {
        double largest = max;
        for (std::int64_t j = first; j < first + block; ++j) largest = std::max(largest, score(i, j));
        if (largest == -std::numeric_limits<double>::infinity()) continue;
        const double shrink = bug == Bug::dropped_rescale ? 1 : std::exp(max - largest);
        max = largest;
        sum *= shrink;
        for (double& x : row) x *= shrink;
        for (std::int64_t j = first; j < first + block; ++j) {
          const double weight = std::exp(score(i, j) - max);
          sum += weight;
          for (std::int64_t d = 0; d < p.value_dim && j < p.keys; ++d)
            row[static_cast<std::size_t>(d)] += weight * value[{0, 0, j, d}];
        }
      }
      for (std::int64_t d = 0; d < p.value_dim; ++d)
        output[{0, 0, i, d}] = sum == 0 ? 0 : row[static_cast<std::size_t>(d)] / sum;
      log_sum_exp[{0, 0, i}] = max + std::log(sum);
    }
  }

  void backward(const Array& output, const Array& log_sum_exp, const Array& doutput, const Array& dlse, Array& dquery,
                Array& dkey, Array& dvalue) const {
    for (std::int64_t i = 0; i < p.queries; ++i) {
      double delta = bug == Bug::delta_without_dlse ? 0 : -dlse[{0, 0, i}], max = 0;
      for (std::int64_t d = 0; d < p.value_dim; ++d)
        delta += doutput[{0, 0, i, d}] * (bug == Bug::delta_of_doutput_alone ? 1 : output[{0, 0, i, d}]);
      for (std::int64_t j = 0; j < p.keys; ++j) max = std::max(max, score(i, j));
      const double from = bug == Bug::weights_from_max ? max : log_sum_exp[{0, 0, i}];
      for (std::int64_t j = 0; j < p.keys - (bug == Bug::last_key_without_gradient ? 1 : 0); ++j) {
        if (!sees(i, j)) continue;
        const double weight = std::exp(score(i, j) - from);
        double dweight = 0;
        for (std::int64_t d = 0; d < p.value_dim; ++d) {
          dweight += doutput[{0, 0, i, d}] * value[{0, 0, j, d}];
          dvalue[{0, 0, j, d}] += weight * doutput[{0, 0, i, d}];
        }
        const double dscore = weight * (dweight - delta);
        for (std::int64_t d = 0; d < p.head_dim; ++d) {
          dquery[{0, 0, i, d}] += dscore * key[{0, 0, j, d}] * (bug == Bug::scale_missing_in_dquery ? 1 : scale);
          dkey[{0, 0, j, d}] += dscore * query[{0, 0, i, d}] * scale;
        }
      }
    }
  }
};

AttentionResults run_mutant(const AttentionProblem& p, Bug bug) {
  const std::vector<Tensor> inputs = attention_inputs(p);
  const Kernel kernel{p, bug, Array(inputs[0]), Array(inputs[1]), Array(inputs[2])};
  Array output({1, 1, p.queries, p.value_dim}), log_sum_exp({1, 1, p.queries});
  kernel.forward(output, log_sum_exp);
  Array dquery(kernel.query.shape), dkey(kernel.key.shape), dvalue(kernel.value.shape);
  kernel.backward(output, log_sum_exp, Array(attention_doutput(output.shape)),
                  Array(attention_dlog_sum_exp(log_sum_exp.shape)), dquery, dkey, dvalue);
  const auto tensor = [](const Array& x) {
    return from_vector(std::vector<float>(x.values.begin(), x.values.end()), x.shape);
  };
  return {{"output", tensor(output)},
          {"log_sum_exp", tensor(log_sum_exp)},
          {"dquery", tensor(dquery)},
          {"dkey", tensor(dkey)},
          {"dvalue", tensor(dvalue)}};
}

}  // namespace

TEST_CASE("attention: a wrong kernel is found") {
  const AttentionProblem p{.heads = 1,
                           .key_heads = 1,
                           .queries = 25,
                           .keys = 37,
                           .head_dim = 8,
                           .value_dim = 5,
                           .options = {.causal = Causal::bottom_right}};
  const AttentionOracle oracle(p);
  CHECK_EQ(oracle.findings(run_mutant(p, Bug::none)), "");
  const std::vector<std::pair<Bug, std::string>> bugs = {
      {Bug::dropped_rescale, "output"},          {Bug::unmasked_tail_column, "output"},
      {Bug::causal_off_by_one, "output"},        {Bug::shift_forgotten, "output"},
      {Bug::delta_without_dlse, "dquery"},       {Bug::delta_of_doutput_alone, "dquery"},
      {Bug::scale_missing_in_dquery, "dquery"},  {Bug::weights_from_max, "dquery"},
      {Bug::last_key_without_gradient, "dquery"}};
  for (const auto& [bug, first_wrong] : bugs) {
    const std::string found = oracle.findings(run_mutant(p, bug));
    CAPTURE(static_cast<int>(bug));
    CHECK_EQ(found.substr(0, found.find(' ')), first_wrong);
  }
}

}  // namespace heed::test
