// Reverse-mode automatic differentiation.
//
// An operation that runs while gradients are enabled, on an input that requires one, leaves a Node: how to turn the
// gradient of its outputs ("upstream") into those of its inputs. The nodes hold on to the nodes of their inputs, so a
// result keeps its whole history alive, and dropping the last handle to it frees the history.
//
//   Tensor loss = cross_entropy(model(x), target);
//   backward(loss);                                   // accumulates into .grad() of every leaf
//   Tensor g = grad({loss}, {x}, {}, {.create_graph = true})[0];  // or: as values, differentiable once more
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/row_gradient.h"
#include "engine/tensor.h"

namespace heed {

// The gradient of one input: a tensor of its shape, or the rows of it that are not zero.
struct Gradient {
  Gradient() = default;  // none
  Gradient(Tensor dense) : dense(std::move(dense)) {}
  // stays_sparse: a leaf keeps it as it is (Tensor::row_grad); otherwise the leaf's grad() is a tensor as ever, and
  // what is saved is a table of zeros where gradients are added up.
  Gradient(RowGradient sparse, Shape shape, bool stays_sparse)
      : sparse(std::move(sparse)), whole(std::move(shape)), stays_sparse(stays_sparse) {}

  bool is_sparse() const { return sparse.rows.defined(); }
  bool defined() const { return dense.defined() || is_sparse(); }
  const Shape& shape() const { return is_sparse() ? whole : dense.shape(); }
  const Tensor& values() const { return is_sparse() ? sparse.values : dense; }

  Tensor dense;
  RowGradient sparse;  // instead of `dense`
  Shape whole = {};    // of which `sparse` holds rows
  bool stays_sparse = false;
};

// One gradient per input of an operation, in order. Undefined: this input gets none.
using Gradients = std::vector<Gradient>;

// What a backward function is given.
class Upstream {
 public:
  Upstream(const std::shared_ptr<Node>& node, std::vector<Tensor>& dys, const std::vector<bool>& needs,
           bool create_graph)
      : node_(node), dys_(dys), needs_(needs), create_graph_(create_graph) {}

  // The gradient of an output, of its shape: zeros where nothing flowed back into it.
  const Tensor& dy(int output = 0) const;
  bool has_dy(int output) const { return dys_[output].defined(); }
  // An output itself; only for nodes recorded with SaveOutput.
  Tensor y(int output = 0) const;
  // Whether the gradient of an input is wanted. What is not needed should not be computed.
  bool needs(int input) const { return needs_[input]; }
  // Whether the gradient must itself be differentiable. A fused backward kernel may run only when it need not be.
  bool create_graph() const { return create_graph_; }

 private:
  const std::shared_ptr<Node>& node_;
  std::vector<Tensor>& dys_;
  const std::vector<bool>& needs_;
  bool create_graph_;
};

using BackwardFunction = std::function<Gradients(const Upstream&)>;

struct BackwardOptions {
  bool retain_graph = false;  // keep what the nodes saved, for another backward through the same graph
  bool create_graph = false;  // record the backward itself, so that gradients have gradients; implies retain_graph
};

// Adds d(output)/d(leaf) to the grad() of every leaf behind `output`. `gradient` is d(loss)/d(output), of output's
// shape; a scalar output needs none. With create_graph a leaf's grad() refers to the leaf: clear it to free the graph.
void backward(const Tensor& output, const Tensor& gradient = {}, BackwardOptions options = {});

// The gradients of `outputs` with respect to `inputs`, touching no grad(). `output_gradients` is empty (scalar outputs)
// or one per output. An input that the outputs don't depend on is an error, or with allow_unused an undefined result.
std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                         const std::vector<Tensor>& output_gradients = {}, BackwardOptions options = {},
                         bool allow_unused = false);

// Whether operations on this thread leave nodes.
bool grad_enabled();

// Sets that for a scope.
class GradMode {
 public:
  explicit GradMode(bool enabled);
  ~GradMode();
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool previous_;
};
struct NoGrad : GradMode {
  NoGrad() : GradMode(false) {}
};

// While one lives, every result and every gradient on this thread is searched for NaN and infinities, and the first
// operation that makes one from finite numbers throws, naming itself, its inputs' shapes and the place. Slow.
class AnomalyMode {
 public:
  AnomalyMode();
  ~AnomalyMode();
  AnomalyMode(const AnomalyMode&) = delete;
  AnomalyMode& operator=(const AnomalyMode&) = delete;
};

// Nodes alive in the process. 0 once all results are dropped: what a test for leaks looks at.
std::int64_t live_nodes();

// -- For whoever draws or tests graphs ------------------------------------------------------------------------------

struct Edge {
  std::shared_ptr<Node> node;  // null: no gradient flows there
  int output = 0;              // which output of that node
};

class Node {
 public:
  // What is known of an output. With SaveOutput `saved` holds its values, outside the graph.
  struct Output {
    Shape shape;
    TensorOptions options;
    Tensor saved;
  };
  struct Hook {
    int id;
    int output;
    std::function<Tensor(const Tensor&)> function;
  };

  explicit Node(const char* name);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  // A Node is destroyed without recursion, however long the chain behind it is.
  static std::shared_ptr<Node> create(const char* name);

  const char* name;
  std::uint64_t sequence;  // grows with creation: a node's inputs always have smaller numbers
  std::vector<Edge> inputs;
  std::vector<Output> outputs;
  std::vector<Hook> hooks;
  int hooks_ever = 0;         // ids are not given out twice
  BackwardFunction backward;  // empty for a leaf, and once the graph was freed
  bool is_leaf = false;
  std::weak_ptr<TensorImpl> leaf;  // of a leaf: the tensor whose grad() it feeds
};

}  // namespace heed
