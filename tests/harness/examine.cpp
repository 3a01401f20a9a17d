#include "tests/harness/examine.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/harness/after_each.h"

namespace heed::test {
namespace {

const CheckAfterEach no_nodes_left{[]() -> std::string {
  return live_nodes() == 0 ? "" : fmt::format("{} graph nodes are still alive", live_nodes());
}};

// ---- Drawing inputs ------------------------------------------------------------------------------------------------

Array draw(const Input& input, std::uint64_t seed) {
  Array array(input.shape);
  if (!input.values.empty()) {
    array.values = input.values;
    return array;
  }
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> distribution(input.low, input.high);
  for (std::size_t i = 0; i < array.values.size(); ++i) {
    array.values[i] = distribution(random);
    if (input.keep_away == 0) continue;
    // A grid with gaps: elements differ from each other and from 0 by more than a difference step.
    array.values[i] = (std::floor(array.values[i] / input.keep_away) + 0.5) * input.keep_away;
  }
  if (input.keep_away > 0) {
    for (std::size_t i = 0; i < array.values.size(); ++i) {
      array.values[i] +=
          input.keep_away * 0.3 * (static_cast<double>(i) / static_cast<double>(array.values.size()) - 0.5);
    }
  }
  return array;
}

Tensor to_tensor(const Array& array, Dtype dtype, Device device = default_device()) {
  return from_vector(array.values, array.shape, Device{}).to(dtype).to(device);
}

Dtype working_dtype(const Input& input, Dtype floating) {
  return is_floating(input.dtype) ? floating : input.dtype;
}

// ---- Layouts: the same elements, lying differently in memory -------------------------------------------------------

enum class Arrangement { dense, permuted, sliced, expanded };

// A leaf whose elements are x's, arranged in memory in some way; expanded: the first along axis 0, again and again.
Tensor arranged(const Tensor& x, Arrangement arrangement) {
  const NoGrad no_grad;
  if (arrangement == Arrangement::dense || x.rank() == 0) return x.clone();
  if (arrangement == Arrangement::permuted) {
    Axes reversed;
    for (int i = x.rank() - 1; i >= 0; --i) reversed.push_back(i);
    return x.permute(reversed).clone().permute(reversed);
  }
  if (arrangement == Arrangement::expanded) {
    const Tensor first = x.shape()[0] == 0 ? x : x.slice(0, 0, 1).clone();
    return alias(first, first.layout().expanded(x.shape()));
  }
  // Every other element of a larger tensor, starting at an odd place; the rest is NaN where the dtype has it.
  Shape larger = x.shape();
  for (std::int64_t& length : larger) length = 2 * length + 1;
  const Tensor surroundings = full(larger, is_floating(x.dtype()) ? std::nan("") : 0, x.options());
  Tensor window = surroundings;
  for (int i = 0; i < x.rank(); ++i) window = window.slice(i, 1, larger[i], 2);
  assign(window, x);
  return window;
}

// ---- Examining one setting -----------------------------------------------------------------------------------------

struct Setting {
  Dtype dtype;
  Arrangement arrangement;
};

Tensors make_inputs(const Case& c, const std::vector<Array>& arrays, Setting setting) {
  Tensors inputs;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const Tensor x = arranged(to_tensor(arrays[i], working_dtype(c.inputs[i], setting.dtype)), setting.arrangement);
    if (c.differentiable && c.inputs[i].differentiable) x.set_requires_grad();
    inputs.push_back(x);
  }
  return inputs;
}

Tensors differentiable_ones(const Case& c, const Tensors& inputs) {
  Tensors result;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (c.inputs[i].differentiable) result.push_back(inputs[i]);
  }
  return result;
}

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

// f at `arrays` moved by `step` in one element, or (element < 0) along a direction through all elements.
struct Probe {
  std::size_t input;
  std::int64_t element;
  std::uint64_t seed;
};

std::vector<double> direction_of(const Probe& probe, std::size_t count) {
  std::vector<double> direction(count, 0.0);
  if (probe.element >= 0) {
    direction[static_cast<std::size_t>(probe.element)] = 1;
  } else {
    std::mt19937_64 random(probe.seed);
    for (double& d : direction) d = std::uniform_real_distribution<double>(-1, 1)(random);
  }
  return direction;
}

// Every element of a small input; of a large one, some elements and a few random directions.
std::vector<Probe> probes(std::size_t input, std::int64_t count) {
  std::vector<Probe> result;
  const std::int64_t step = std::max<std::int64_t>(1, count / 12);
  for (std::int64_t i = 0; i < count; i += step) result.push_back({input, i, 0});
  if (step > 1) {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) result.push_back({input, -1, seed});
  }
  return result;
}

// Central differences of a scalar function of the f64 inputs against the gradients claimed for it.
void compare_with_differences(const Case& c, const std::vector<Array>& arrays, const Tensors& claimed,
                              const std::function<double(const Tensors&)>& function, const std::string& what,
                              std::vector<std::string>& findings) {
  constexpr double h = 1e-5, tolerance = 2e-7;
  std::size_t next = 0;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (!c.inputs[i].differentiable) continue;
    const Tensor& gradient = claimed[next++];
    const std::size_t count = arrays[i].values.size();
    const std::vector<double> g = gradient.defined() ? gradient.to_vector<double>() : std::vector<double>(count, 0.0);
    for (const Probe& probe : probes(i, static_cast<std::int64_t>(count))) {
      const std::vector<double> direction = direction_of(probe, count);
      std::vector<Array> moved = arrays;
      double scale = 1, analytic = 0;
      for (std::size_t k = 0; k < count; ++k) {
        analytic += g[k] * direction[k];
        scale += std::abs(g[k] * direction[k]);
      }
      const auto value_at = [&](double step) {
        for (std::size_t k = 0; k < count; ++k) moved[i].values[k] = arrays[i].values[k] + step * direction[k];
        return function(make_inputs(c, moved, {Dtype::f64, Arrangement::dense}));
      };
      // Fourth order, so that the step can be large enough for rounding not to matter.
      const double numeric = (8 * (value_at(h) - value_at(-h)) - (value_at(2 * h) - value_at(-2 * h))) / (12 * h);
      if (!(std::abs(numeric - analytic) <= tolerance * (scale + std::abs(numeric)) * 10)) {
        findings.push_back(fmt::format("{}: input {} {} {}: claimed {}, differences give {}", what, i,
                                       probe.element >= 0 ? "element" : "direction",
                                       probe.element >= 0 ? probe.element : static_cast<std::int64_t>(probe.seed),
                                       analytic, numeric));
        return;
      }
    }
  }
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

std::vector<std::int64_t> lengths() {
  return {0, 1, 2, 31, 32, 33, 1023, 1025};
}

std::vector<Shape> row_shapes() {
  std::vector<Shape> shapes = {{3, 1, 5}, {2, 3, 4, 5}, {0, 4}, {4, 0, 2}};
  for (std::int64_t length : lengths()) {
    shapes.push_back({length});
    shapes.push_back({3, length});
  }
  return shapes;
}

std::vector<Shape> small_shapes() {
  return {{}, {0}, {1}, {7}, {2, 3}, {3, 1, 5}, {2, 0, 3}, {33, 17}};
}

Tensor uniform(const Shape& shape, double low, double high, TensorOptions options, std::uint64_t seed) {
  Array array(shape);
  std::mt19937_64 random(seed);
  for (double& value : array.values) value = std::uniform_real_distribution<double>(low, high)(random);
  return to_tensor(array, options.dtype, options.device);
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
