#include "tests/harness/examine.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/harness/after_each.h"
#include "tests/harness/finite_differences.h"
#include "tests/harness/inputs.h"

namespace heed::test {
namespace {

const CheckAfterEach no_nodes_left{[]() -> std::string {
  return live_nodes() == 0 ? "" : fmt::format("{} graph nodes are still alive", live_nodes());
}};

// The gradients of <cotangent, operation(inputs)>.
Tensors gradients(const Case& c, const Tensors& inputs, const Mutation& mutate, bool create_graph) {
  const Tensor y = c.operation(inputs);
  if (mutate && y.impl()->node != nullptr) mutate(*y.impl()->node);
  const Tensor cotangent = uniform(y.shape(), -1, 1, y.options(), 77);
  return grad({y}, differentiable_ones(c, inputs), {cotangent}, {.create_graph = create_graph}, true);
}

double inner_product(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  const Tensor x = a.detach().to(Device{}).contiguous(), y = b.detach().to(Device{}).contiguous();
  return x.shape() == y.shape() && x.dtype() == y.dtype() &&
         std::memcmp(x.view().data, y.view().data, static_cast<std::size_t>(x.count()) * size_of(x.dtype())) == 0;
}

class Examination {
 public:
  Examination(const Case& c, const Mutation& mutate) : case_(c), mutate_(mutate) {
    for (std::size_t i = 0; i < c.inputs.size(); ++i) arrays_.push_back(draw(c.inputs[i], 1000 + i));
  }

  // On the CPU everything. On another device what can be different there: values, layouts, gradients, bits; that the
  // formulas are right, in f64 and to second order, is the CPU's to show.
  std::vector<std::string> run() {
    if (mutate_ == nullptr) forward();
    if (mutate_ == nullptr) forward_in_halves();
    if (!case_.differentiable) return findings_;
    const bool on_cpu = default_device().type == DeviceType::cpu;
    if (on_cpu) first_order();
    if ((mutate_ == nullptr || !on_cpu) && findings_.empty()) low_precision_gradients();
    if (mutate_ == nullptr && on_cpu && case_.second_order) second_order();
    return findings_;
  }

 private:
  void report(const std::string& what, const std::string& problem) {
    if (!problem.empty()) findings_.push_back(what + ": " + problem);
  }

  std::vector<Arrangement> arrangements() const {
    if (!case_.layouts) return {Arrangement::dense};
    return {Arrangement::dense, Arrangement::permuted, Arrangement::sliced, Arrangement::expanded};
  }

  // What the engine was really given: rounded to the dtype, arranged.
  static std::vector<Array> arrays_of(const Tensors& inputs) {
    std::vector<Array> result;
    for (const Tensor& x : inputs) result.emplace_back(x);
    return result;
  }

  // Threads matter to the CPU alone.
  static bool differs_with_threads(const std::function<bool()>& same) {
    if (default_device().type != DeviceType::cpu) return false;
    const int threads = omp_get_max_threads();
    omp_set_num_threads(threads == 1 ? 2 : 1);
    const bool differs = !same();
    omp_set_num_threads(threads);
    return differs;
  }

  void forward() {
    for (Dtype dtype : {Dtype::f32, Dtype::f64}) {
      for (Arrangement arrangement : arrangements()) {
        // The kernels of other devices are templates over the dtype: one arrangement of f64 shows that it is there.
        const bool is_ground_truth = default_device().type == DeviceType::cpu;
        if (!is_ground_truth && dtype == Dtype::f64 && arrangement != Arrangement::dense) continue;
        const NoGrad no_grad;
        const std::string what = fmt::format("forward {} arrangement {}", dtype, static_cast<int>(arrangement));
        const Tensors inputs = make_inputs(case_, arrays_, {dtype, arrangement});
        const Tensor y = case_.operation(inputs);
        report(what, difference(y, case_.reference(arrays_of(inputs)), dtype == Dtype::f32 ? case_.tolerance : 1e-10));
        if (!same_bits(y, case_.operation(inputs))) report(what, "two runs differ");
        if (differs_with_threads([&] { return same_bits(y, case_.operation(inputs)); }))
          report(what, "differs with the number of threads");
      }
    }
  }

  // Of the inputs as they were rounded to a half: computed in f32, and rounded at the end of each operation that this one
  // is made of.
  void forward_in_halves() {
    if (case_.halves == 0) return;
    for (const Dtype dtype : {Dtype::bf16, Dtype::f16}) {
      const NoGrad no_grad;
      const Tensors inputs = make_inputs(case_, arrays_, {dtype, Arrangement::dense});
      const double unit = dtype == Dtype::bf16 ? 0x1p-8 : 0x1p-11;
      report(fmt::format("forward {}", dtype),
             difference(case_.operation(inputs), case_.reference(arrays_of(inputs)), case_.halves * unit));
    }
  }

  void first_order() {
    const Setting setting{Dtype::f64, Arrangement::dense};
    const Tensors claimed = gradients(case_, make_inputs(case_, arrays_, setting), mutate_, false);
    const auto function = [&](const Tensors& inputs) {
      const NoGrad no_grad;
      const Tensor y = case_.operation(inputs);
      return inner_product(y, uniform(y.shape(), -1, 1, y.options(), 77));
    };
    compare_with_differences(case_, arrays_, claimed, function, "gradient", findings_);
  }

  // The gradients in f64 on the CPU.
  Tensors exact_gradients(const std::vector<Array>& arrays) const {
    const DefaultDevice cpu({});
    return gradients(case_, make_inputs(case_, arrays, {Dtype::f64, Arrangement::dense}), nullptr, false);
  }

  // f32 gradients, in every arrangement, against f64's at the rounded inputs.
  void low_precision_gradients() {
    for (Arrangement arrangement : arrangements()) {
      const Tensors leaves = make_inputs(case_, arrays_, {Dtype::f32, arrangement});
      const Tensors expected = exact_gradients(arrays_of(leaves));
      const Tensors actual = gradients(case_, leaves, mutate_, false);
      const Tensors again = gradients(case_, leaves, mutate_, false);
      const Tensors composed = case_.second_order ? gradients(case_, leaves, nullptr, true) : actual;
      for (std::size_t i = 0; i < actual.size(); ++i) {
        const std::string what = fmt::format("f32 gradient {} arrangement {}", i, static_cast<int>(arrangement));
        if (!actual[i].defined() || !expected[i].defined()) {
          if (actual[i].defined() != expected[i].defined()) report(what, "there in one dtype only");
          continue;
        }
        report(what, difference(actual[i], Array(expected[i]), 4 * case_.tolerance));
        if (!same_bits(actual[i], again[i])) report(what, "two runs differ");
        if (differs_with_threads([&] { return same_bits(actual[i], gradients(case_, leaves, mutate_, false)[i]); }))
          report(what, "differs with the number of threads");
        report(what + " composed", difference(composed[i].detach(), Array(expected[i]), 4 * case_.tolerance));
      }
    }
  }

  // f(x) = sum_i <d_i, gradient_i(x)> for fixed random d: a scalar, whose gradient is taken both ways.
  void second_order() {
    const auto scalar_of = [&](const Tensors& gradients) {
      Tensor total;
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        if (!gradients[i].defined() || !gradients[i].requires_grad()) continue;
        const Tensor d = uniform(gradients[i].shape(), -1, 1, gradients[i].options(), 200 + i);
        const Tensor term = sum(gradients[i] * d);
        total = total.defined() ? total + term : term;
      }
      return total;
    };
    const Tensors inputs = make_inputs(case_, arrays_, {Dtype::f64, Arrangement::dense});
    const Tensor total = scalar_of(gradients(case_, inputs, nullptr, true));
    if (!total.defined()) return;  // linear: the gradient does not depend on the inputs
    const Tensors claimed = grad({total}, differentiable_ones(case_, inputs), {}, {}, true);
    const auto function = [&](const Tensors& moved) {
      const Tensors g = gradients(case_, moved, nullptr, false);
      double sum = 0;
      for (std::size_t i = 0; i < g.size(); ++i) {
        if (g[i].defined()) sum += inner_product(g[i], uniform(g[i].shape(), -1, 1, g[i].options(), 200 + i));
      }
      return sum;
    };
    // Gradients that don't depend on the inputs drop out of `total` but not out of `function`, as constants.
    compare_with_differences(case_, arrays_, claimed, function, "second order", findings_);
  }

  const Case& case_;
  const Mutation& mutate_;
  std::vector<Array> arrays_;
  std::vector<std::string> findings_;
};

// Wraps the backward of a node.
Mutation changing(const std::function<Gradients(const Gradients&)>& change) {
  return [change](Node& node) {
    node.backward = [change, original = node.backward](const Upstream& up) {
      const NoGrad no_grad;
      return change(original(up));
    };
  };
}

Mutation changing_each(const std::function<Tensor(const Tensor&)>& change) {
  return changing([change](const Gradients& gradients) {
    Gradients changed;
    for (Gradient g : gradients) {
      Tensor& values = g.is_sparse() ? g.sparse.values : g.dense;
      if (g.defined()) values = change(values);
      changed.push_back(values.defined() ? g : Gradient());
    }
    return changed;
  });
}

}  // namespace

const std::vector<NamedMutation>& mutations() {
  static const std::vector<NamedMutation> list = {
      {"zero", changing_each([](const Tensor& g) { return zeros_like(g); })},
      {"dropped", changing_each([](const Tensor&) { return Tensor(); })},
      {"doubled", changing_each([](const Tensor& g) { return g + g; })},
      {"negated", changing_each([](const Tensor& g) { return -g; })},
      {"one per mille too large", changing_each([](const Tensor& g) { return g * 1.001; })},
      {"NaN", changing_each([](const Tensor& g) { return g * std::nan(""); })},
      {"offset by a constant", changing_each([](const Tensor& g) { return g + 0.01; })},
      {"last element lost", changing_each([](const Tensor& g) {
         if (g.count() == 0) return g;
         std::vector<double> values = g.to_vector<double>();
         values.back() = 0;
         return from_vector(values, g.shape(), g.device()).to(g.dtype());
       })},
  };
  return list;
}

std::vector<std::string> examine(const Case& c, const Mutation& mutate) {
  std::vector<std::string> findings = Examination(c, mutate).run();
  if (mutate) return findings;
  for (const kernels::KernelSlot* slot : c.kernels) {
    const DeviceType device = default_device().type;
    for (const std::string name : variants_of(*slot)) {
      if (name == slot->chosen(device).name) continue;
      const kernels::ScopedVariant scope(*slot, device, name);
      for (const std::string& finding : Examination(c, nullptr).run()) {
        findings.push_back(fmt::format("{} variant {}: {}", slot->name(), name, finding));
      }
    }
  }
  return findings;
}

void verify(const Case& c) {
  std::string shapes;
  for (const Input& input : c.inputs) shapes += to_string(input.shape);
  CAPTURE(c.name);
  CAPTURE(shapes);
  for (const std::string& finding : examine(c)) FAIL_CHECK(finding);
  // Other devices: mutations.cpp tries them once.
  if (!c.differentiable || default_device().type != DeviceType::cpu) return;
  // A mutation counts only where it changes the gradients: losing an element that was 0 loses nothing.
  const auto gradients_under = [&](const Mutation& mutation) {
    std::vector<Array> arrays;
    for (std::size_t i = 0; i < c.inputs.size(); ++i) arrays.push_back(draw(c.inputs[i], 1000 + i));
    return gradients(c, make_inputs(c, arrays, {Dtype::f64, Arrangement::dense}), mutation, false);
  };
  const Tensors truth = gradients_under(nullptr);
  for (const NamedMutation& mutation : mutations()) {
    const Tensors mutated = gradients_under(mutation.mutation);
    bool changes = false;
    for (std::size_t i = 0; i < truth.size(); ++i) {
      const auto values = [&](const Tensor& g) { return g.defined() ? Array(g) : Array(truth[i].shape()); };
      changes = changes || (truth[i].defined() && !difference(truth[i], values(mutated[i]), 1e-4).empty());
    }
    if (!changes) continue;
    const std::string mutation_name = mutation.name;
    CAPTURE(mutation_name);
    CHECK_FALSE(examine(c, mutation.mutation).empty());
  }
}

std::vector<const char*> variants_of(const kernels::KernelSlot& slot) {
  std::vector<const char*> names;
  for (const kernels::Variant& variant : slot.variants()) {
    if (variant.device == default_device().type) names.push_back(variant.name);
  }
  return names;
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "(nothing thrown)";
}

std::string difference(const Tensor& actual, const Array& expected, double tolerance) {
  if (actual.shape() != expected.shape) return fmt::format("shape {} instead of {}", actual.shape(), expected.shape);
  const std::vector<double> values = actual.to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double a = values[i], e = expected.values[i];
    const bool agrees = std::isfinite(e) ? std::abs(a - e) <= tolerance * (1 + std::abs(e))
                                         : a == e || (std::isnan(a) && std::isnan(e));
    if (!agrees) return fmt::format("element {} is {} instead of {}", i, a, e);
  }
  return "";
}

}  // namespace heed::test
