// Optimisers. A step reads the gradients that backward() left and updates all parameters of a group in one kernel.
//
//   nn::AdamW optimizer(model, {.lr = 1e-3});
//   const nn::Schedule schedule = nn::warmup(100, nn::cosine(1000));
//   for (std::int64_t step = 0; step < 1100; ++step) {
//     optimizer.zero_grad();
//     backward(loss(model));
//     optimizer.clip_grad_norm(1.0);
//     optimizer.step(schedule(step));
//   }
//
// Names, defaults and arithmetic are those of torch.optim. A gradient that is row-sparse (Tensor::row_grad) updates its
// rows and their state alone, as torch.optim.SparseAdam does: the moments and the weight decay of other rows stand still.
#pragma once

#include <optional>
#include <span>

#include "nn/module.h"

namespace heed::nn {

// Parameters that share their settings. What is not given is the optimiser's own.
struct ParameterGroup {
  NamedTensors parameters;
  std::optional<double> lr = {};
  std::optional<double> weight_decay = {};
};

std::vector<ParameterGroup> all_parameters(const Module& model);
// Two groups: matrices decay, vectors (biases, norms) do not.
std::vector<ParameterGroup> decay_matrices_only(const Module& model);

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // Updates the parameters that have a gradient, with every learning rate multiplied by lr_factor.
  void step(double lr_factor = 1);
  void zero_grad();

  // The Euclidean norm of all gradients together. NaN or infinite when one of them is.
  double grad_norm() const;
  // That, and the next step scales the gradients down so that it is at most max_norm. Gradients themselves stay as they
  // are: the scale is applied as they are read. With error_if_nonfinite a norm that is not finite throws, naming the
  // parameters at fault; without, skip the step if the norm returned says so.
  double clip_grad_norm(double max_norm, bool error_if_nonfinite = false);

  // "linear1.weight.exp_avg": handles, not copies; and "linear1.weight.step", i64 []. Parameters that were never
  // updated have no entries.
  NamedTensors state_dict() const;
  // Throws one error that lists all that does not fit, and then changes nothing.
  void load_state_dict(const NamedTensors& state);

 protected:
  struct Slot {
    std::string name;
    Tensor parameter;
    std::vector<Tensor> state = {};  // one per state name, like the parameter; empty before the first update
    std::int64_t step = 0;           // updates so far
  };
  struct Update {
    std::span<Slot* const> slots;  // with a gradient; their step already counts this update
    double lr, weight_decay, gradient_scale;
  };

  // `name` starts error messages; state_names name the tensors that the rule keeps per parameter.
  Optimizer(const char* name, std::vector<std::string> state_names, const std::vector<ParameterGroup>& groups,
            double lr, double weight_decay);
  virtual void update(const Update& update) = 0;

 private:
  struct Group {
    std::vector<Slot> slots;
    double lr, weight_decay;
  };
  template <class Body>
  void for_each_slot(Body&& body) const {
    for (const Group& group : groups_)
      for (const Slot& slot : group.slots) body(slot);
  }

  const char* name_;
  std::vector<std::string> state_names_;
  std::vector<Group> groups_;
  double gradient_scale_ = 1;  // of the next step
};

struct SgdOptions {
  double lr = 1e-3;
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;
};

class SGD : public Optimizer {
 public:
  explicit SGD(const Module& model, const SgdOptions& options = {}) : SGD(all_parameters(model), options) {}
  explicit SGD(const std::vector<ParameterGroup>& groups, const SgdOptions& options = {});

 private:
  void update(const Update& update) override;
  SgdOptions options_;
};

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  std::optional<double> weight_decay = {};  // not given: 0, for AdamW 0.01
};

// Kingma and Ba 2015. Weight decay joins the gradient (L2).
class Adam : public Optimizer {
 public:
  explicit Adam(const Module& model, const AdamOptions& options = {}) : Adam(all_parameters(model), options) {}
  explicit Adam(const std::vector<ParameterGroup>& groups, const AdamOptions& options = {})
      : Adam("Adam", groups, options, false) {}

 protected:
  Adam(const char* name, const std::vector<ParameterGroup>& groups, const AdamOptions& options, bool decoupled);

 private:
  void update(const Update& update) override;
  AdamOptions options_;
  bool decoupled_;
};

// Loshchilov and Hutter 2019. Weight decay shrinks the parameters by themselves.
class AdamW : public Adam {
 public:
  explicit AdamW(const Module& model, const AdamOptions& options = {}) : AdamW(all_parameters(model), options) {}
  explicit AdamW(const std::vector<ParameterGroup>& groups, const AdamOptions& options = {})
      : Adam("AdamW", groups, options, true) {}
};

}  // namespace heed::nn
