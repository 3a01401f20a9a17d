// Operation: the frame in which every operation of the engine runs. It names errors, joins the graph, and is what the
// profiler and anomaly mode see. engine/ops/softmax.cpp shows the pattern on one screen:
//
//   Operation op("softmax");
//   axis = op.axis(axis, x.shape());                       // throws `softmax: axis 3 out of range for shape [2, 4]`
//   Tensor y = empty_like(x);
//   kernels::softmax_forward(x.view(), y.view(), axis, op.stream(x));
//   return op.record(y, {x}, [=](const Upstream& up) -> Gradients { ... }, save_output);
#pragma once

#include <initializer_list>
#include <utility>
#include <vector>

#include "engine/autograd.h"
#include "engine/tensor.h"

namespace heed {

// Tells record() that the backward function asks for outputs (Upstream::y). Capturing an output in the function instead
// would make a cycle of references.
struct SaveOutput {};
inline constexpr SaveOutput save_output;

class Operation {
 public:
  explicit Operation(const char* name);
  ~Operation();
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  const char* name() const { return name_; }

  // Throws `name: message` unless `condition` holds.
  template <class... Args>
  void check(bool condition, fmt::format_string<Args...> format, Args&&... args) const {
    if (!condition) [[unlikely]]
      throw_error(format, fmt::make_format_args(args...));
  }
  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw_error(format, fmt::make_format_args(args...));
  }
  // `axis` counted from 0, after checking that it is one of `shape`'s.
  int axis(std::int64_t axis, const Shape& shape) const;
  // Throws unless the tensors are defined, on one device and (same_dtype) of one dtype.
  void same_device(std::initializer_list<std::reference_wrapper<const Tensor>> tensors) const;
  void same_dtype(std::initializer_list<std::reference_wrapper<const Tensor>> tensors) const;
  void floating(const Tensor& x) const;

  // Where to queue kernels that work on x.
  Stream stream(const Tensor& x) const { return {x.device(), nullptr}; }

  // The result of an operation: every path out of one passes through here. `backward` is called with the Upstream and
  // returns one gradient per input; it is not kept when no input requires a gradient or gradients are disabled.
  template <class Backward>
  Tensor record(Tensor output, std::initializer_list<Tensor> inputs, Backward&& backward) {
    return record_all({std::move(output)}, inputs, std::forward<Backward>(backward), false)[0];
  }
  template <class Backward>
  Tensor record(Tensor output, std::initializer_list<Tensor> inputs, Backward&& backward, SaveOutput) {
    return record_all({std::move(output)}, inputs, std::forward<Backward>(backward), true)[0];
  }
  // Several outputs, or inputs whose number is not known beforehand.
  template <class Backward>
  std::vector<Tensor> record_all(std::vector<Tensor> outputs, const std::vector<Tensor>& inputs, Backward&& backward,
                                 bool saves_outputs = false) {
    if (wants_gradient(inputs)) join_graph(outputs, inputs, std::forward<Backward>(backward), saves_outputs);
    finish(outputs, inputs);
    return outputs;
  }
  // The result of an operation that has no gradient. Asking for one through it throws `name: has no gradient`.
  Tensor non_differentiable(Tensor output, std::initializer_list<Tensor> inputs);

  // Declares that infinities in the result are meant (masks), so that anomaly mode accepts them.
  void may_be_infinite() { may_be_infinite_ = true; }

 private:
  [[noreturn, gnu::cold]] void throw_error(fmt::string_view format, fmt::format_args args) const;
  static bool wants_gradient(const std::vector<Tensor>& inputs);
  void join_graph(std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs, BackwardFunction backward,
                  bool saves_outputs) const;
  void finish(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs) const;

  const char* name_;
  bool may_be_infinite_ = false;
};

// What a profiler sees.
class OperationObserver {
 public:
  virtual ~OperationObserver() = default;
  virtual void begin_operation(const char* name, bool is_backward) = 0;
  virtual void operation_tensors(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) = 0;
  virtual void end_operation() = 0;
};
// Of the operations that this thread runs. Each thread has its own: a profiler comes and goes while others work.
inline constinit thread_local OperationObserver* operation_observer = nullptr;

// Calls a node's backward function and holds what it returns against the shapes of the node's inputs.
Gradients run_backward(const std::shared_ptr<Node>& node, std::vector<Tensor>& dys, const std::vector<bool>& needs,
                       bool create_graph);

// Whether x is contiguous and no other handle or view shares its memory: then it may be written in place.
bool solely_owned(const Tensor& x);

// Adds x to `sum`, both of one shape; in place when nobody else holds sum's memory. No graph.
Tensor accumulate(Tensor sum, const Tensor& x);

}  // namespace heed
