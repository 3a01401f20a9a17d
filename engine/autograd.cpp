#include "engine/autograd.h"

#include <algorithm>
#include <atomic>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "engine/operation.h"
#include "engine/ops.h"

namespace heed {
namespace {

constinit std::atomic<std::int64_t> node_count = 0;
constinit std::atomic<std::uint64_t> next_sequence = 0;
constinit thread_local bool grad_mode = true;

// A chain of nodes would be destroyed by recursion, one stack frame a node, and overflow the stack. So whoever lets go
// of a node last puts it on this list, and the outermost such call works the list off.
void destroy_iteratively(Node* node) {
  // The list is a local variable: one with thread storage would be gone when tensors with static storage are destroyed.
  static constinit thread_local std::vector<Node*>* pending = nullptr;
  if (pending != nullptr) {
    pending->push_back(node);
    return;
  }
  std::vector<Node*> list;
  pending = &list;
  delete node;
  while (!list.empty()) {
    Node* next = list.back();
    list.pop_back();
    delete next;
  }
  pending = nullptr;
}

// Gradients on their way to one node: one slot per output of it.
using Slots = std::vector<Gradient>;

// a + b outside the graph, in a's memory where nobody else holds it.
Gradient added(Gradient a, const Gradient& b) {
  if (!a.is_sparse() && !b.is_sparse()) return accumulate(std::move(a.dense), b.dense);
  if (a.is_sparse() && b.is_sparse()) return {merge(a.sparse, b.sparse), a.whole, a.stays_sparse && b.stays_sparse};
  return a.is_sparse() ? add_rows(b.dense, a.sparse) : add_rows(std::move(a.dense), b.sparse);
}

Tensor to_dense(Gradient gradient) {
  return gradient.is_sparse() ? to_dense(gradient.sparse, gradient.whole) : std::move(gradient.dense);
}

// What one traversal wants: gradients accumulated in leaves, or those of certain tensors handed back.
struct Target {
  std::size_t position;  // in the list of inputs asked for
  int output;
};
using Targets = std::unordered_map<const Node*, std::vector<Target>>;

struct NewestFirst {
  bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
    return a->sequence < b->sequence;
  }
};

// One pass over the graph. Nodes are handled from the newest to the oldest: whatever uses a node's outputs is newer
// than the node, so when its turn comes its gradient is complete.
class Traversal {
 public:
  Traversal(BackwardOptions options, const Targets* targets) : options_(options), targets_(targets) {}

  void seed(const Tensor& output, const Tensor& gradient);
  void run();
  std::vector<Tensor> captured;

 private:
  void deliver(const Edge& edge, const Gradient& gradient);
  void visit(const std::shared_ptr<Node>& node, Slots& gradients);
  void feed(TensorImpl& leaf, Gradient gradient) const;
  std::vector<bool> needs(const Node& node) const;
  void find_useful(const std::shared_ptr<Node>& root);
  static void run_hooks(const Node& node, std::vector<Tensor>& dys);

  BackwardOptions options_;
  const Targets* targets_;  // null: feed the leaves
  std::unordered_map<Node*, Slots> slots_;
  std::unordered_map<const Node*, bool> useful_;  // with targets: whether a path leads from the node to one
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, NewestFirst> queue_;
};

Edge edge_of(const Tensor& x) {
  return {x.impl()->node, x.impl()->output_index};
}

void Traversal::seed(const Tensor& output, const Tensor& gradient) {
  const Edge edge = edge_of(output);
  check(edge.node != nullptr, "backward: the output of shape {} does not require a gradient", output.shape());
  Tensor start = gradient;
  if (!start.defined()) {
    check(output.count() == 1, "backward: an output of shape {} needs a gradient; only a scalar has an implied one",
          output.shape());
    start = full(output.shape(), 1.0, output.options());
  }
  check(start.shape() == output.shape() && start.dtype() == output.dtype(),
        "backward: gradient of shape {} ({}) for an output of shape {} ({})", start.shape(), start.dtype(),
        output.shape(), output.dtype());
  check(start.device() == output.device(), "backward: gradient on {} for an output on {}", start.device(),
        output.device());
  if (targets_ != nullptr) find_useful(edge.node);
  deliver(edge, start);
}

// Depth first, without recursion: a node is useful when it is a target or an input of it is useful.
void Traversal::find_useful(const std::shared_ptr<Node>& root) {
  std::vector<std::pair<const Node*, std::size_t>> path;
  const auto enter = [&](const Node* node) {
    if (useful_.emplace(node, targets_->contains(node)).second) path.emplace_back(node, 0);
  };
  enter(root.get());
  while (!path.empty()) {
    auto& [node, next] = path.back();
    if (next < node->inputs.size()) {
      const Node* input = node->inputs[next++].node.get();
      if (input != nullptr) enter(input);
      continue;
    }
    bool& useful = useful_[node];
    for (const Edge& edge : node->inputs) useful = useful || (edge.node != nullptr && useful_[edge.node.get()]);
    path.pop_back();
  }
}

std::vector<bool> Traversal::needs(const Node& node) const {
  std::vector<bool> result;
  for (const Edge& edge : node.inputs) {
    result.push_back(edge.node != nullptr && (targets_ == nullptr || useful_.at(edge.node.get())));
  }
  return result;
}

void Traversal::deliver(const Edge& edge, const Gradient& gradient) {
  const auto [it, is_new] = slots_.try_emplace(edge.node.get());
  if (is_new) {
    it->second.resize(edge.node->outputs.size());
    queue_.push(edge.node);
  }
  Gradient& slot = it->second[static_cast<std::size_t>(edge.output)];
  if (!slot.defined()) {
    slot = gradient;
  } else {
    slot = options_.create_graph ? Gradient(slot.dense + gradient.dense) : added(std::move(slot), gradient);
  }
}

void Traversal::run_hooks(const Node& node, std::vector<Tensor>& dys) {
  // A hook may remove itself, so walk a copy.
  const std::vector<Node::Hook> hooks = node.hooks;
  for (const Node::Hook& hook : hooks) {
    Tensor& dy = dys[hook.output];
    if (!dy.defined()) continue;
    const Tensor replacement = hook.function(dy);
    if (!replacement.defined()) continue;
    check(replacement.shape() == dy.shape() && replacement.dtype() == dy.dtype(),
          "hook on {}: returned shape {} ({}) for a gradient of shape {} ({})", node.name, replacement.shape(),
          replacement.dtype(), dy.shape(), dy.dtype());
    dy = replacement;
  }
}

// Adds a gradient to a leaf's grad.
void Traversal::feed(TensorImpl& leaf, Gradient gradient) const {
  if (leaf.grad.defined()) {
    Gradient old = leaf.grad_rows.defined()
                       ? Gradient({std::move(leaf.grad_rows), std::move(leaf.grad)}, leaf.layout.shape, true)
                       : Gradient(std::move(leaf.grad));
    leaf.grad_rows = {};
    gradient =
        options_.create_graph ? Gradient(to_dense(std::move(old)) + gradient.dense) : added(std::move(old), gradient);
  }
  if (gradient.is_sparse() && gradient.stays_sparse) {
    leaf.grad = std::move(gradient.sparse.values);
    leaf.grad_rows = std::move(gradient.sparse.rows);
    return;
  }
  const Tensor dense = to_dense(std::move(gradient));
  // A gradient that somebody else holds as well, another leaf or the caller, is copied: `added` writes in place.
  leaf.grad = options_.create_graph || solely_owned(dense) ? dense.contiguous() : dense.clone();
}

void Traversal::visit(const std::shared_ptr<Node>& node, Slots& gradients) {
  if (node->is_leaf && targets_ == nullptr && node->hooks.empty()) {
    if (const std::shared_ptr<TensorImpl> leaf = node->leaf.lock()) feed(*leaf, std::move(gradients[0]));
    return;
  }
  std::vector<Tensor> dys;
  for (Gradient& gradient : gradients) dys.push_back(to_dense(std::move(gradient)));
  gradients.clear();
  run_hooks(*node, dys);
  if (targets_ != nullptr) {
    const auto target = targets_->find(node.get());
    if (target != targets_->end()) {
      for (const Target& t : target->second) captured[t.position] = dys[static_cast<std::size_t>(t.output)];
    }
  }
  if (node->is_leaf) {
    const std::shared_ptr<TensorImpl> leaf = node->leaf.lock();
    if (targets_ == nullptr && leaf != nullptr) feed(*leaf, std::move(dys[0]));
    return;
  }
  const std::vector<bool> needed = needs(*node);
  if (std::none_of(needed.begin(), needed.end(), [](bool b) { return b; })) return;
  check(node->backward != nullptr, "{}: this graph was freed by an earlier backward; pass retain_graph to keep it",
        node->name);
  const Gradients results = run_backward(node, dys, needed, options_.create_graph);
  if (!options_.retain_graph) {
    node->backward = nullptr;
    for (Node::Output& output : node->outputs) output.saved = {};
  }
  dys.clear();
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (needed[i] && results[i].defined()) deliver(node->inputs[i], results[i]);
  }
}

void Traversal::run() {
  const GradMode mode(options_.create_graph);
  while (!queue_.empty()) {
    const std::shared_ptr<Node> node = queue_.top();
    queue_.pop();
    Slots gradients = std::move(slots_.at(node.get()));
    slots_.erase(node.get());
    visit(node, gradients);
  }
}

BackwardOptions completed(BackwardOptions options) {
  options.retain_graph = options.retain_graph || options.create_graph;
  return options;
}

}  // namespace

const Tensor& Upstream::dy(int output) const {
  Tensor& dy = dys_[output];
  if (!dy.defined()) dy = full(node_->outputs[output].shape, 0.0, node_->outputs[output].options);
  return dy;
}

Tensor Upstream::y(int output) const {
  const Tensor& saved = node_->outputs[output].saved;
  check(saved.defined(), "{}: output {} was not saved for the backward", node_->name, output);
  auto impl = std::make_shared<TensorImpl>(*saved.impl());
  impl->node = node_;
  impl->output_index = output;
  return Tensor::from_impl(std::move(impl));
}

Node::Node(const char* name) : name(name), sequence(next_sequence++) {
  ++node_count;
}
Node::~Node() {
  --node_count;
}

std::shared_ptr<Node> Node::create(const char* name) {
  return std::shared_ptr<Node>(new Node(name), &destroy_iteratively);
}

std::int64_t live_nodes() {
  return node_count;
}

bool grad_enabled() {
  return grad_mode;
}
GradMode::GradMode(bool enabled) : previous_(grad_mode) {
  grad_mode = enabled;
}
GradMode::~GradMode() {
  grad_mode = previous_;
}

void backward(const Tensor& output, const Tensor& gradient, BackwardOptions options) {
  check(output.defined(), "backward: the output is undefined");
  Traversal traversal(completed(options), nullptr);
  traversal.seed(output, gradient);
  traversal.run();
}

std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                         const std::vector<Tensor>& output_gradients, BackwardOptions options, bool allow_unused) {
  check(output_gradients.empty() || output_gradients.size() == outputs.size(), "grad: {} gradients for {} outputs",
        output_gradients.size(), outputs.size());
  Targets targets;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    check(inputs[i].requires_grad(), "grad: input {} of shape {} does not require a gradient", i, inputs[i].shape());
    const Edge edge = edge_of(inputs[i]);
    targets[edge.node.get()].push_back({i, edge.output});
  }
  Traversal traversal(completed(options), &targets);
  traversal.captured.resize(inputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    traversal.seed(outputs[i], output_gradients.empty() ? Tensor() : output_gradients[i]);
  }
  traversal.run();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    check(allow_unused || traversal.captured[i].defined(),
          "grad: the outputs do not depend on input {} of shape {}; pass allow_unused if that is meant", i,
          inputs[i].shape());
  }
  return std::move(traversal.captured);
}

}  // namespace heed
