#include "tests/kernels/attention_problem.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/autograd.h"
#include "kernels/attention/attention.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

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
  return {input(p, p.heads, queries, p.head_dim, p.query_magnitude, 1),
          input(p, p.key_heads, keys, p.head_dim, p.magnitude, 2),
          input(p, p.key_heads, keys, p.value_dim, p.magnitude, 3)};
}

Tensor attention_doutput(const Shape& shape) {
  return uniform(shape, -1, 1, {}, 4);
}

Tensor attention_dlog_sum_exp(const Shape& shape) {
  return uniform(shape, -1, 1, {}, 5);
}

AttentionResults run_attention(const AttentionProblem& p, Dtype dtype, AttentionPath path) {
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
  const Tensor dy = attention_doutput(y.output.shape()).to(p.dtype).to(dtype);
  // Where a query looks at nothing the log-sum-exp is -inf and has no gradient.
  const Tensor masked = equal(y.log_sum_exp.detach(), scalar(-infinity, y.log_sum_exp.options()));
  const Tensor dlse = masked_fill(attention_dlog_sum_exp(y.log_sum_exp.shape()).to(y.log_sum_exp.dtype()), masked, 0);
  AttentionResults results{{"output", y.output.detach()}, {"log_sum_exp", y.log_sum_exp.detach()}};
  const char* const names[] = {"dquery", "dkey", "dvalue", "dmask"};
  const std::vector<Tensor> gradients = grad({y.output, y.log_sum_exp}, inputs, {dy, dlse});
  for (std::size_t i = 0; i < gradients.size(); ++i) results.emplace_back(names[i], gradients[i]);
  return results;
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
    : problem(p),
      truth(run_attention(p, Dtype::f64, AttentionPath::composed)),
      composed(run_attention(p, p.dtype, AttentionPath::composed)) {}

std::string AttentionOracle::findings(const AttentionResults& found) const {
  std::string result;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const auto& [name, right] = truth[i];
    // The backward starts from a log-sum-exp rounded to f32, which makes all weights wrong by that factor, and from an
    // output rounded to the dtype; the gradient of a mask is not rounded itself.
    double rounding = i < 2 ? 0 : 0x1p-24 * largest(truth[1].second) * largest(right);
    // An element of it adds up many scores' gradients, whose roundings add up as a random walk does.
    if (name == "dmask") {
      const double scores = static_cast<double>(truth[0].second.count()) / static_cast<double>(problem.value_dim) *
                            static_cast<double>(problem.is_packed() ? total(problem.key_lengths) : problem.keys);
      rounding += 1e-7 * std::sqrt(scores / static_cast<double>(right.count()));
    }
    if (name == "dmask" && problem.dtype == Dtype::bf16) rounding += 0x1p-8 * largest(right);
    const double allowed = (i < 2 ? 2 : 3) * distance(composed[i].second, right) + rounding + 1e-6 * problem.magnitude;
    const double actual = distance(found[i].second, right);
    if (!(actual <= allowed)) result += fmt::format("{} is off by {}, allowed {}\n", name, actual, allowed);
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
