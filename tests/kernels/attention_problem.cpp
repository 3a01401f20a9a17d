#include "tests/kernels/attention_problem.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/autograd.h"
#include "kernels/attention/attention.h"
#include "kernels/matmul/matmul.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::uint64_t seeds_per_sample = 100;

std::int64_t total(const std::vector<std::int64_t>& lengths) {
  std::int64_t sum = 0;
  for (const std::int64_t length : lengths) sum += length;
  return sum;
}

Tensor starts_of(const std::vector<std::int64_t>& lengths) {
  std::vector<std::int64_t> starts{0};
  for (const std::int64_t length : lengths) starts.push_back(starts.back() + length);
  return from_vector(starts, {static_cast<std::int64_t>(starts.size())});
}

Tensor input(const AttentionProblem& p, std::int64_t heads, std::int64_t length, std::int64_t dim, double magnitude,
             std::uint64_t seed) {
  const Shape shape = p.is_packed()  ? Shape{length, heads, dim}
                      : p.transposed ? Shape{p.batch, length, heads, dim}
                                     : Shape{p.batch, heads, length, dim};
  const Tensor x = uniform(shape, -magnitude, magnitude, {}, seed).to(p.dtype);
  return p.transposed && !p.is_packed() ? x.transpose(1, 2) : x;
}

double largest(const Tensor& x) {
  double result = 0;
  for (const double value : x.to_vector<double>())
    if (std::isfinite(value)) result = std::max(result, std::abs(value));
  return result;
}

}  // namespace

std::vector<Tensor> attention_inputs(const AttentionProblem& p) {
  const std::int64_t queries = p.is_packed() ? total(p.query_lengths) : p.queries;
  const std::int64_t keys = p.is_packed() ? total(p.key_lengths) : p.keys;
  const std::uint64_t seed = seeds_per_sample * p.sample;
  return {input(p, p.heads, queries, p.head_dim, p.query_magnitude, seed + 1),
          input(p, p.key_heads, keys, p.head_dim, p.magnitude, seed + 2),
          input(p, p.key_heads, keys, p.value_dim, p.magnitude, seed + 3)};
}

Tensor attention_doutput(const Shape& shape, std::uint64_t sample) {
  return uniform(shape, -1, 1, {}, seeds_per_sample * sample + 4);
}

Tensor attention_dlog_sum_exp(const Shape& shape, std::uint64_t sample) {
  return uniform(shape, -1, 1, {}, seeds_per_sample * sample + 5);
}

namespace {

struct Cotangents {
  Tensor doutput, dlog_sum_exp;
};

// Random ones, in the dtypes of `y`.
Cotangents random_cotangents(const AttentionProblem& p, const Attention& y) {
  const Tensor masked = equal(y.log_sum_exp.detach(), scalar(-infinity, y.log_sum_exp.options()));
  const Tensor dlse = attention_dlog_sum_exp(y.log_sum_exp.shape(), p.sample).to(y.log_sum_exp.dtype());
  return {attention_doutput(y.output.shape(), p.sample).to(p.dtype).to(y.output.dtype()),
          masked_fill(dlse, masked, 0)};  // where a query looks at nothing the log-sum-exp is -inf: no gradient
}

// What those become where a backward starts from the forward's results as rounded to `rounded`, not as they are in
// `truth`. With l and l + e the log-sum-exp there and here, and delta and delta + f their doutput . output, such a
// backward makes, of p (dweights - delta + dlog_sum_exp),
//   p exp(-e) (dweights - delta - f + dlog_sum_exp),
// and so computes the gradients of other cotangents: exp(-e) doutput, exp(-e) (dlog_sum_exp - f). delta is in f32.
Cotangents rounded_cotangents(const AttentionProblem& p, const Cotangents& exact, const AttentionResults& truth,
                              const AttentionResults& rounded) {
  const auto like_statistic = [&](const Tensor& x) { return p.is_packed() ? x.transpose(0, 1) : x; };
  const auto delta = [&](const Tensor& doutput, const Tensor& output) {  // a product too: added up as the others are
    return like_statistic(matmul(doutput.unsqueeze(-2), output.unsqueeze(-1)).squeeze(-1).squeeze(-1));
  };
  const Tensor dy = exact.doutput.to(Dtype::f64);
  const Tensor e = rounded[1].second.to(Dtype::f64) - truth[1].second;
  const Tensor f =
      delta(exact.doutput.to(Dtype::f32), rounded[0].second.to(Dtype::f32)).to(Dtype::f64) - delta(dy, truth[0].second);
  const Tensor masked = equal(truth[1].second, scalar(-infinity, truth[1].second.options()));
  const Tensor factor = exp(masked_fill(-e, masked, 0));
  return {(dy * like_statistic(factor).unsqueeze(-1)).to(exact.doutput.dtype()),
          (factor * (exact.dlog_sum_exp.to(Dtype::f64) - f)).to(exact.dlog_sum_exp.dtype())};
}

// The log-sum-exp in f32. The library's adds up in double and rounds once; this one adds up what softmax gives as products
// do, and is kept in units of log 2, which exp2 takes.
Tensor plain_log_sum_exp(const std::vector<Tensor>& inputs, AttentionOptions options) {
  constexpr double log2_e = 1.4426950408889634;
  options.dropout = 0;
  options.return_weights = true;
  const NoGrad no_grad;
  const Attention y = scaled_dot_product_attention(inputs[0], inputs[1], inputs[2], options);
  const Tensor total = matmul(y.weights, ones({y.weights.size(-1), 1}, y.weights.options())).squeeze(-1);
  return (y.log_sum_exp * log2_e + log(total) * log2_e) * (1 / log2_e);
}

// With `truth`: the low precision reference.
AttentionResults run(const AttentionProblem& p, Dtype dtype, AttentionPath path, const AttentionResults* truth) {
  const auto leaf = [&](const Tensor& x, Dtype wanted) {
    const Tensor y = x.dtype() == wanted ? x.detach() : x.to(wanted).detach();
    y.set_requires_grad();
    return y;
  };
  std::vector<Tensor> inputs;
  for (const Tensor& x : attention_inputs(p)) inputs.push_back(leaf(x, dtype));
  Generator generator{11, 5};
  AttentionOptions options = p.options;
  options.generator = &generator;
  options.path = path;
  options.return_log_sum_exp = true;
  if (p.is_packed()) {
    options.query_starts = starts_of(p.query_lengths);
    options.key_starts = starts_of(p.key_lengths);
  }
  if (p.mask_gradient) {
    options.mask = leaf(options.mask, dtype == Dtype::f64 ? Dtype::f64 : Dtype::f32);
    inputs.push_back(options.mask);
  }
  const Attention y = scaled_dot_product_attention(inputs[0], inputs[1], inputs[2], options);
  Cotangents dy = random_cotangents(p, y);
  AttentionResults results{{"output", y.output.detach()}, {"log_sum_exp", y.log_sum_exp.detach()}};
  if (truth != nullptr) {
    results[1].second = plain_log_sum_exp(inputs, options);
    dy = rounded_cotangents(p, dy, *truth, results);
  }
  const char* const names[] = {"dquery", "dkey", "dvalue", "dmask"};
  const std::vector<Tensor> gradients = grad({y.output, y.log_sum_exp}, inputs, {dy.doutput, dy.dlog_sum_exp});
  for (std::size_t i = 0; i < gradients.size(); ++i) results.emplace_back(names[i], gradients[i]);
  return results;
}

}  // namespace

AttentionResults run_attention(const AttentionProblem& p, Dtype dtype, AttentionPath path) {
  return run(p, dtype, path, nullptr);
}

double distance(const Tensor& x, const Tensor& truth) {
  const std::vector<double> a = x.to_vector<double>(), b = truth.to_vector<double>();
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    const double difference = std::abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = std::isnan(difference) ? infinity : difference;
  }
  return largest;
}

AttentionOracle::AttentionOracle(const AttentionProblem& p)
    : problem(p), truth(run_attention(p, Dtype::f64, AttentionPath::composed)) {
  for (const auto& [name, right] : truth) errors_.push_back(0x1p-24 * largest(right));
  take_sample();
}

void AttentionOracle::take_sample() const {
  AttentionProblem p = problem;
  p.sample = samples_;
  const AttentionResults right = samples_ == 0 ? truth : run_attention(p, Dtype::f64, AttentionPath::composed);
  for (const char* const product : {"openblas", "rows"}) {
    const kernels::ScopedVariant chosen(kernels::matmul, DeviceType::cpu, product);
    const AttentionResults found = run(p, p.dtype, AttentionPath::composed, &right);
    for (std::size_t i = 0; i < right.size(); ++i)
      errors_[i] = std::max(errors_[i], distance(found[i].second, right[i].second));
  }
  ++samples_;
}

std::string AttentionOracle::findings(const AttentionResults& found) const {
  constexpr std::uint64_t most_samples = 8;
  std::string result;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const auto& [name, right] = truth[i];
    const double actual = distance(found[i].second, right), factor = i < 2 ? 2 : 3;
    while (!(actual <= factor * errors_[i]) && samples_ < most_samples) take_sample();
    if (!(actual <= factor * errors_[i]) || !(errors_[i] < infinity))
      result += fmt::format("{} is off by {}, allowed {}\n", name, actual, factor * errors_[i]);
  }
  return result;
}

void verify_attention(const std::string& name, const AttentionProblem& p, Variants variants) {
  CAPTURE(name);
  const std::string sizes = fmt::format("batch {} heads {}/{} queries {} keys {} dims {}/{} causal {} window {} {}",
                                        p.batch, p.heads, p.key_heads, p.queries, p.keys, p.head_dim, p.value_dim,
                                        static_cast<int>(p.options.causal), p.options.window, p.dtype);
  CAPTURE(sizes);
  const AttentionOracle oracle(p);
  for (const kernels::Variant& variant : kernels::attention_forward.variants()) {
    if (variant.device != DeviceType::cpu) continue;
    const std::string variant_name = variant.name;
    const bool is_slow = variant_name == "reference" || variant_name == "materialised" || variant_name == "online";
    if (variants == Variants::fast && is_slow) continue;
    CAPTURE(variant_name);
    const auto has_variant = [&](const kernels::KernelSlot& slot) {
      for (const kernels::Variant& other : slot.variants())
        if (other.device == DeviceType::cpu && other.name == std::string_view(variant.name)) return true;
      return false;
    };
    const auto name_in = [&](const kernels::KernelSlot& slot) { return has_variant(slot) ? variant.name : ""; };
    const kernels::ScopedVariant forward(kernels::attention_forward, variant.device, variant.name);
    const kernels::ScopedVariant backward(kernels::attention_backward, variant.device,
                                          name_in(kernels::attention_backward));
    const kernels::ScopedVariant mask(kernels::attention_mask_gradient, variant.device,
                                      name_in(kernels::attention_mask_gradient));
    CHECK_EQ(oracle.findings(run_attention(p, p.dtype, AttentionPath::fused)), "");
  }
}

}  // namespace heed::test
