#include "engine/operation.h"

#include <cmath>
#include <utility>

#include "kernels/elementwise/elementwise.h"

namespace heed {
namespace {

constinit thread_local int anomaly_depth = 0;

// Row-major position of the first element that is NaN, or (infinite_too) infinite; -1 when there is none.
std::int64_t find_anomaly(const Tensor& x, bool infinite_too) {
  if (!x.defined() || !is_floating(x.dtype())) return -1;
  const std::vector<double> values = x.to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i]) || (infinite_too && std::isinf(values[i]))) return static_cast<std::int64_t>(i);
  }
  return -1;
}

Shape position_in(const Shape& shape, std::int64_t index) {
  Shape position = shape;
  for (int i = shape.size() - 1; i >= 0; --i) {
    position[i] = index % shape[i];
    index /= shape[i];
  }
  return position;
}

std::string shapes_of(const std::vector<Tensor>& tensors) {
  std::string text;
  for (const Tensor& x : tensors)
    text += fmt::format("{}{}", text.empty() ? "" : ", ", x.defined() ? x.shape() : Shape());
  return text;
}

// Blames `what` for the first NaN or infinity in `results` unless an input had one already.
void search_anomaly(const std::string& what, const std::vector<Tensor>& results, const std::vector<Tensor>& inputs,
                    bool infinite_too) {
  const GradMode no_grad(false);
  // Reading the values runs operations of its own, which are not to be searched in turn.
  const struct Suspended {
    int depth = std::exchange(anomaly_depth, 0);
    ~Suspended() { anomaly_depth = depth; }
  } suspended;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const std::int64_t index = find_anomaly(results[i], infinite_too);
    if (index < 0) continue;
    for (const Tensor& input : inputs) {
      if (find_anomaly(input, true) >= 0) return;
    }
    const double value = results[i].to_vector<double>()[static_cast<std::size_t>(index)];
    // Without the sign that a NaN happens to have.
    fail("anomaly: {} made {} at {} of result {} of shape {}; shapes of its inputs: {}", what,
         std::isnan(value) ? std::abs(value) : value, position_in(results[i].shape(), index), i, results[i].shape(),
         shapes_of(inputs));
  }
}

}  // namespace

AnomalyMode::AnomalyMode() {
  ++anomaly_depth;
}
AnomalyMode::~AnomalyMode() {
  --anomaly_depth;
}

Operation::Operation(const char* name) : name_(name) {
  if (operation_observer != nullptr) operation_observer->begin_operation(name, false);
}

Operation::~Operation() {
  if (operation_observer != nullptr) operation_observer->end_operation();
}

void Operation::throw_error(fmt::string_view format, fmt::format_args args) const {
  throw Error(fmt::format("{}: {}", name_, fmt::vformat(format, args)));
}

int Operation::axis(std::int64_t axis, const Shape& shape) const {
  const int rank = shape.size();
  check(-rank <= axis && axis < rank, "axis {} out of range for shape {}", axis, shape);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

void Operation::same_device(std::initializer_list<std::reference_wrapper<const Tensor>> tensors) const {
  const Tensor& first = *tensors.begin();
  for (const Tensor& x : tensors) {
    check(x.defined(), "undefined tensor");
    check(x.device() == first.device(), "tensors on {} and {}", first.device(), x.device());
  }
}

void Operation::same_dtype(std::initializer_list<std::reference_wrapper<const Tensor>> tensors) const {
  same_device(tensors);
  const Tensor& first = *tensors.begin();
  for (const Tensor& x : tensors) {
    check(x.dtype() == first.dtype(), "dtypes {} and {} differ; convert one with .to(dtype)", first.dtype(), x.dtype());
  }
}

void Operation::floating(const Tensor& x) const {
  check(x.defined(), "undefined tensor");
  check(is_floating(x.dtype()), "needs a floating dtype, not {}", x.dtype());
}

bool Operation::wants_gradient(const std::vector<Tensor>& inputs) {
  if (!grad_enabled()) return false;
  for (const Tensor& x : inputs) {
    if (x.defined() && x.requires_grad()) return true;
  }
  return false;
}

void Operation::join_graph(std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs, BackwardFunction backward,
                           bool saves_outputs) const {
  const std::shared_ptr<Node> node = Node::create(name_);
  node->backward = std::move(backward);
  for (const Tensor& x : inputs) {
    node->inputs.push_back(x.defined() ? Edge{x.impl()->node, x.impl()->output_index} : Edge{});
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Tensor& y = outputs[i];
    node->outputs.push_back({y.shape(), y.options(), saves_outputs ? y : Tensor()});
    // A node of its own for every handle: `y` may be an input handed through, whose own place in the graph must stay.
    if (!is_floating(y.dtype())) continue;
    auto impl = std::make_shared<TensorImpl>(*y.impl());
    impl->node = node;
    impl->output_index = static_cast<int>(i);
    impl->grad = {};
    impl->grad_rows = {};
    y = Tensor::from_impl(std::move(impl));
  }
}

void Operation::finish(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs) const {
  if (operation_observer != nullptr) operation_observer->operation_tensors(inputs, outputs);
  if (anomaly_depth > 0) search_anomaly(name_, outputs, inputs, !may_be_infinite_);
}

Tensor Operation::non_differentiable(Tensor output, std::initializer_list<Tensor> inputs) {
  const std::string name = name_;
  return record(std::move(output), inputs,
                [name](const Upstream&) -> Gradients { heed::fail("{}: has no gradient", name); });
}

Gradients run_backward(const std::shared_ptr<Node>& node, std::vector<Tensor>& dys, const std::vector<bool>& needs,
                       bool create_graph) {
  struct Observed {
    explicit Observed(const char* name) {
      if (operation_observer != nullptr) operation_observer->begin_operation(name, true);
    }
    ~Observed() {
      if (operation_observer != nullptr) operation_observer->end_operation();
    }
  } observed(node->name);
  Gradients gradients = node->backward(Upstream(node, dys, needs, create_graph));
  check(gradients.size() == node->inputs.size(), "{}: backward returned {} gradients for {} inputs", node->name,
        gradients.size(), node->inputs.size());
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (!needs[i] || !gradients[i].defined()) continue;
    const Edge& edge = node->inputs[i];
    const Node::Output& input = edge.node->outputs[static_cast<std::size_t>(edge.output)];
    check(gradients[i].shape() == input.shape && gradients[i].values().dtype() == input.options.dtype,
          "{}: backward returned a gradient of shape {} ({}) for input {} of shape {} ({})", node->name,
          gradients[i].shape(), gradients[i].values().dtype(), i, input.shape, input.options.dtype);
  }
  if (operation_observer != nullptr || anomaly_depth > 0) {
    std::vector<Tensor> values;
    for (const Gradient& gradient : gradients) values.push_back(gradient.values());
    if (operation_observer != nullptr) operation_observer->operation_tensors(dys, values);
    if (anomaly_depth > 0) search_anomaly(fmt::format("the backward of {}", node->name), values, dys, true);
  }
  return gradients;
}

bool solely_owned(const Tensor& x) {
  return x.impl().use_count() == 1 && x.impl()->storage.use_count() == 1 && x.is_contiguous();
}

Tensor accumulate(Tensor sum, const Tensor& x) {
  const Tensor result = solely_owned(sum) ? sum : empty_like(sum);
  kernels::add(sum.view(), x.view(), result.view(), Stream{sum.device(), nullptr});
  return result;
}

}  // namespace heed
