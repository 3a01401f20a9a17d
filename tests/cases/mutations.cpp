// Backward functions that are wrong in ways that have been seen in the wild. The examination must notice every one: a
// test that would let them pass is worth nothing.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/operation.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

using WrongBackward = std::function<Gradients(const Tensors& x, const Tensor& y, const Tensor& dy)>;

struct Mutant {
  const char* name;
  std::vector<Input> inputs;
  std::function<Tensor(const Tensors&)> forward;
  WrongBackward backward;
};

// `forward` under a gradient of its own.
Case case_of(const Mutant& mutant) {
  const auto operation = [mutant](const Tensors& x) {
    Operation op("mutant");
    Tensors constants;
    for (const Tensor& input : x) constants.push_back(input.detach());
    const Tensor y = mutant.forward(constants);
    return op.record_all({y}, x, [=](const Upstream& up) { return mutant.backward(constants, y, up.dy()); })[0];
  };
  return {.name = mutant.name,
          .inputs = mutant.inputs,
          .operation = operation,
          .reference =
              [mutant](const std::vector<Array>& x) {
                Tensors tensors;
                for (const Array& array : x) tensors.push_back(from_vector(array.values, array.shape));
                return Array(mutant.forward(tensors));
              },
          .second_order = false};
}

const Input matrix{{4, 5}};

std::vector<Mutant> mutants() {
  const auto softmax_forward = [](const Tensors& x) { return softmax(x[0], 1); };
  const auto norm_forward = [](const Tensors& x) { return layer_norm(x[0]); };
  const auto product = [](const Tensors& x) { return matmul(x[0], x[1]); };
  const auto entropy = [](const Tensors& x) {
    return cross_entropy(x[0], from_vector<std::int64_t>({0, 3, 3, 1}, {4}));
  };
  const auto one_hot_target = [](const Tensor& like) {
    return one_hot(from_vector<std::int64_t>({0, 3, 3, 1}, {4}), 5, like.dtype());
  };
  const Tensor rows = from_vector<std::int64_t>({2, 0, 2}, {3});
  return {
      // A sum of softmax rows is 1, so a check of the gradient of the sum sees none of the first four.
      {"softmax: gradient zero",
       {matrix},
       softmax_forward,
       [](const Tensors& x, const Tensor&, const Tensor&) -> Gradients { return {zeros_like(x[0])}; }},
      {"softmax: a thousand times too large",
       {matrix},
       softmax_forward,
       [](const Tensors&, const Tensor& y, const Tensor& dy) -> Gradients {
         return {1000 * y * (dy - sum(y * dy, {1}, true))};
       }},
      {"softmax: without the sum",
       {matrix},
       softmax_forward,
       [](const Tensors&, const Tensor& y, const Tensor& dy) -> Gradients { return {y * dy}; }},
      {"softmax: the sum over the other axis",
       {matrix},
       softmax_forward,
       [](const Tensors&, const Tensor& y, const Tensor& dy) -> Gradients {
         return {y * (dy - sum(y * dy, {0}, true))};
       }},
      {"log_softmax: weighted by y, not by its exponential",
       {matrix},
       [](const Tensors& x) { return log_softmax(x[0], 1); },
       [](const Tensors&, const Tensor& y, const Tensor& dy) -> Gradients { return {dy - y * sum(dy, {1}, true)}; }},
      {"mul: gradients swapped",
       {matrix, matrix},
       [](const Tensors& x) { return x[0] * x[1]; },
       [](const Tensors& x, const Tensor&, const Tensor& dy) -> Gradients {
         return {dy * x[0], dy * x[1]};
       }},
      {"div: the minus forgotten",
       {matrix, {{4, 5}, 1, 2}},
       [](const Tensors& x) { return x[0] / x[1]; },
       [](const Tensors& x, const Tensor&, const Tensor& dy) -> Gradients {
         return {dy / x[1], dy * x[0] / (x[1] * x[1])};
       }},
      {"add: broadcast gradient averaged",
       {matrix, {{5}}},
       [](const Tensors& x) { return x[0] + x[1]; },
       [](const Tensors&, const Tensor&, const Tensor& dy) -> Gradients {
         return {dy, mean(dy, {0})};
       }},
      {"tanh: 1 - y",
       {matrix},
       [](const Tensors& x) { return tanh(x[0]); },
       [](const Tensors&, const Tensor& y, const Tensor& dy) -> Gradients { return {dy * (1 - y)}; }},
      {"sigmoid: y",
       {matrix},
       [](const Tensors& x) { return sigmoid(x[0]); },
       [](const Tensors&, const Tensor& y, const Tensor& dy) -> Gradients { return {dy * y}; }},
      {"gelu: the distribution alone, without the density",
       {matrix},
       [](const Tensors& x) { return gelu(x[0]); },
       [](const Tensors& x, const Tensor&, const Tensor& dy) -> Gradients {
         return {dy * 0.5 * (1 + erf(x[0] / std::sqrt(2.0)))};
       }},
      {"exp: multiplied by the input",
       {matrix},
       [](const Tensors& x) { return exp(x[0]); },
       [](const Tensors& x, const Tensor&, const Tensor& dy) -> Gradients { return {dy * x[0]}; }},
      {"layer_norm: the mean taken for a constant",
       {matrix},
       norm_forward,
       [](const Tensors& x, const Tensor& y, const Tensor& dy) -> Gradients {
         const Tensor rstd = rsqrt(var(x[0], {1}, 0, true) + 1e-5);
         return {rstd * (dy - y * mean(dy * y, {1}, true))};
       }},
      {"layer_norm: the variance taken for a constant",
       {matrix},
       norm_forward,
       [](const Tensors& x, const Tensor&, const Tensor& dy) -> Gradients {
         const Tensor rstd = rsqrt(var(x[0], {1}, 0, true) + 1e-5);
         return {rstd * (dy - mean(dy, {1}, true))};
       }},
      {"matmul: the other operand not transposed",
       {{{4, 4}}, {{4, 4}}},
       product,
       [](const Tensors& x, const Tensor&, const Tensor& dy) -> Gradients {
         return {matmul(dy, x[1]), matmul(x[0], dy)};
       }},
      {"matmul: no gradient for the second operand",
       {{{4, 4}}, {{4, 4}}},
       product,
       [](const Tensors& x, const Tensor&, const Tensor& dy) -> Gradients {
         return {matmul(dy, x[1].transpose(0, 1)), Tensor()};
       }},
      {"cross_entropy: the target forgotten",
       {matrix},
       entropy,
       [](const Tensors& x, const Tensor&, const Tensor& dy) -> Gradients { return {dy * softmax(x[0], 1) / 4}; }},
      {"cross_entropy: not divided by the rows",
       {matrix},
       entropy,
       [=](const Tensors& x, const Tensor&, const Tensor& dy) -> Gradients {
         return {dy * (softmax(x[0], 1) - one_hot_target(x[0]))};
       }},
      {"embedding: repeated rows counted once",
       {matrix},
       [=](const Tensors& x) { return embedding(x[0], rows.to(x[0].device())); },
       [=](const Tensors& x, const Tensor&, const Tensor& dy) -> Gradients {
         const Tensor once = zeros_like(x[0]);
         assign(once.select(0, 2), dy.select(0, 2));
         assign(once.select(0, 0), dy.select(0, 1));
         return {once};
       }},
      {"max: all elements get the gradient",
       {{.shape = {4, 5}, .keep_away = 0.01}},
       [](const Tensors& x) { return max(x[0], {1}); },
       [](const Tensors& x, const Tensor&, const Tensor& dy) -> Gradients {
         return {dy.unsqueeze(1).expand(x[0].shape())};
       }},
      {"transpose: the gradient not transposed back",
       {{{4, 4}}},
       [](const Tensors& x) { return x[0].transpose(0, 1).contiguous(); },
       [](const Tensors&, const Tensor&, const Tensor& dy) -> Gradients { return {dy}; }},
      {"attention: the softmax taken for a constant",
       {{{1, 1, 3, 4}}, {{1, 1, 3, 4}}, {{1, 1, 3, 4}}},
       [](const Tensors& x) { return scaled_dot_product_attention(x[0], x[1], x[2]).output; },
       [](const Tensors& x, const Tensor&, const Tensor& dy) -> Gradients {
         const Tensor weights = softmax(matmul(x[0], x[1].transpose(2, 3)) / 2, 3);
         return {zeros_like(x[0]), zeros_like(x[1]), matmul(weights.transpose(2, 3), dy)};
       }},
  };
}

}  // namespace

TEST_CASE("every deliberately wrong backward is noticed") {
  const DefaultDevice cpu({});  // only there are gradients held against differences
  const std::vector<Mutant> all = mutants();
  CHECK_GE(all.size(), 15);
  for (const Mutant& mutant : all) {
    const std::string name = mutant.name;
    CAPTURE(name);
    const std::vector<std::string> findings = examine(case_of(mutant));
    REQUIRE_FALSE(findings.empty());
    // For its gradient and nothing else: the forward agrees with itself.
    CHECK_EQ(findings[0].rfind("gradient: ", 0), 0);
  }
}

// Elsewhere gradients are held against the CPU's, so what is damaged is the graph of the device alone.
TEST_CASE("a damaged backward is noticed on the device of the tests") {
  const Case c{.name = "product of softmax and tanh",
               .inputs = {matrix, matrix},
               .operation = [](const Tensors& x) { return softmax(x[0], 1) * tanh(x[1]); },
               .second_order = false};
  for (const NamedMutation& mutation : mutations()) {
    const std::string name = mutation.name;
    CAPTURE(name);
    CHECK_FALSE(examine(c, mutation.mutation).empty());
  }
}

}  // namespace heed::test
