// Module: what has parameters. A layer is a class derived from it that holds its tensors and its children as plain
// members, tells their names in its constructor, and computes in an operator() of whatever signature suits it:
//
//   class Perceptron : public nn::Module {
//    public:
//     Perceptron() {
//       register_module("hidden", hidden);
//       register_module("out", out);
//     }
//     Tensor operator()(const Tensor& x) const { return out(relu(hidden(x))); }
//     nn::Linear hidden{784, 64}, out{64, 10};
//   };
//
// Names of classes, options and entries of state_dict() are PyTorch's, so weights exchange through safetensors.
// A module neither copies nor moves: it knows its members by their address. That is also why assigning a member ties
// weights: after `decoder.weight = encoder.weight` both train as one.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace heed::nn {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

// How a state dict differs from what it is loaded into.
struct LoadReport {
  std::vector<std::string> missing;     // wanted, not given
  std::vector<std::string> unexpected;  // given, not wanted
  std::vector<std::string> mismatched;  // "out.weight: shape [10, 64], given [64, 10]"

  bool exact() const { return missing.empty() && unexpected.empty() && mismatched.empty(); }
  // Throws `context: ` and all differences, unless there are none.
  void require_exact(std::string_view context) const;
};
LoadReport compare(const NamedTensors& wanted, const NamedTensors& given);

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // In order of registration, a module's own before its children's, each tensor once. Names are paths:
  // "layers.0.linear1.weight".
  NamedTensors named_parameters() const;
  NamedTensors named_buffers() const;
  std::vector<Tensor> parameters() const;
  std::int64_t parameter_count() const;  // numbers, not tensors

  // Parameters and persistent buffers: handles, not copies. A tied tensor stands under each of its names.
  NamedTensors state_dict() const;
  // Copies values in, converting dtype and device. Everything is looked at before anything is written: strict, what
  // differs throws one error that lists all of it; otherwise what fits is copied and the rest is reported.
  LoadReport load_state_dict(const NamedTensors& state, bool strict = true);

  // Training or evaluation, here and in all children: what dropout looks at.
  void train(bool training = true);
  void eval() { train(false); }
  bool training() const { return training_; }

  // Whether the parameters get gradients. Optimisers leave those alone that get none.
  void set_requires_grad(bool value);
  void freeze() { set_requires_grad(false); }
  void zero_grad();

  // Converts parameters and buffers (a dtype: the floating ones). Handles to them stay valid, gradients are dropped.
  void to(Dtype dtype);
  void to(Device device);

  // A table of the parameters, their shapes and sizes.
  std::string summary() const;

 protected:
  // Each takes a member of the derived class. An undefined tensor (no bias, say) is not part of the module while it is
  // undefined. Names are unique within a module, not empty and without dots.
  void register_parameter(std::string name, Tensor& parameter);
  void register_buffer(std::string name, Tensor& buffer, bool persistent = true);
  void register_module(std::string name, Module& child);

 private:
  enum class Kind { parameter, buffer, transient_buffer };
  struct Entry {
    std::string name;
    Tensor* tensor;
    Kind kind;
  };
  void check_name(const std::string& name) const;
  void collect(const std::string& prefix, bool (*wanted)(Kind), NamedTensors& found) const;
  void replace(Tensor (*convert)(const Tensor&, TensorOptions), TensorOptions options);

  std::vector<Entry> tensors_;
  std::vector<std::pair<std::string, Module*>> children_;
  bool training_ = true;
};

// Modules of one type by number: "0", "1"...
template <class M>
class ModuleList : public Module {
 public:
  template <class... Args>
  M& append(Args&&... args) {
    M& added = modules_.emplace_back(std::forward<Args>(args)...);
    register_module(std::to_string(modules_.size() - 1), added);
    return added;
  }
  std::size_t size() const { return modules_.size(); }
  const M& operator[](std::size_t i) const { return modules_[i]; }
  M& operator[](std::size_t i) { return modules_[i]; }
  auto begin() const { return modules_.begin(); }
  auto end() const { return modules_.end(); }

 private:
  std::deque<M> modules_;  // grows without moving what is in it
};

}  // namespace heed::nn
