#include "nn/optim.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "engine/joined.h"
#include "engine/ops.h"
#include "kernels/optimizer/optimizer.h"

namespace heed::nn {
namespace {

double norm_of(std::span<const View> gradients, Device device) {
  const Tensor workspace = empty({kernels::sum_of_squares_workspace}, {Dtype::f64, device});
  const Tensor result = empty({1}, {Dtype::f64, device});
  kernels::sum_of_squares(gradients, workspace.view(), result.view(), Stream{device, nullptr});
  return std::sqrt(result.item<double>());
}

// A gradient as kernels take it: with `rows` only those rows of it are there.
struct GradientView {
  View values, rows;
};

bool trains(const Tensor& parameter) {
  return parameter.requires_grad() && (parameter.row_grad() || parameter.grad().defined());
}

GradientView gradient_of(const Tensor& parameter) {
  if (const auto sparse = parameter.row_grad()) return {sparse->values.view(), sparse->rows.view()};
  return {parameter.grad().view(), {}};
}

}  // namespace

std::vector<ParameterGroup> all_parameters(const Module& model) {
  return {{.parameters = model.named_parameters()}};
}

std::vector<ParameterGroup> decay_matrices_only(const Module& model) {
  ParameterGroup matrices, vectors{.weight_decay = 0};
  for (const auto& [name, tensor] : model.named_parameters())
    (tensor.rank() >= 2 ? matrices : vectors).parameters.emplace_back(name, tensor);
  return {matrices, vectors};
}

Optimizer::Optimizer(const char* name, std::vector<std::string> state_names, const std::vector<ParameterGroup>& groups,
                     double lr, double weight_decay)
    : name_(name), state_names_(std::move(state_names)) {
  std::set<std::string> names;
  std::set<const TensorImpl*> seen;
  for (const ParameterGroup& group : groups) {
    Group& added = groups_.emplace_back(Group{{}, group.lr.value_or(lr), group.weight_decay.value_or(weight_decay)});
    check(added.lr >= 0 && added.weight_decay >= 0, "{}: lr {} and weight_decay {} must not be negative", name,
          added.lr, added.weight_decay);
    for (const auto& [parameter_name, parameter] : group.parameters) {
      check(parameter.dtype() == Dtype::f32 || parameter.dtype() == Dtype::f64,
            "{}: {} is {}; optimisers work on f32 and f64", name, parameter_name, parameter.dtype());
      check(parameter.is_contiguous(), "{}: {} is not contiguous", name, parameter_name);
      check(names.insert(parameter_name).second && seen.insert(parameter.impl().get()).second,
            "{}: parameter {} is there twice", name, parameter_name);
      added.slots.push_back({parameter_name, parameter});
    }
  }
  check(!names.empty(), "{}: no parameters", name);
}

void Optimizer::step(double lr_factor) {
  for (Group& group : groups_) {
    std::vector<Slot*> due;
    for (Slot& slot : group.slots) {
      if (!trains(slot.parameter)) continue;
      if (slot.state.empty())
        for (std::size_t i = 0; i < state_names_.size(); ++i) slot.state.push_back(zeros_like(slot.parameter));
      ++slot.step;
      due.push_back(&slot);
    }
    if (!due.empty()) update({due, group.lr * lr_factor, group.weight_decay, gradient_scale_});
  }
  gradient_scale_ = 1;
}

void Optimizer::zero_grad() {
  for_each_slot([](const Slot& slot) { slot.parameter.set_grad({}); });
  gradient_scale_ = 1;  // it was meant for the gradients that are gone
}

double Optimizer::grad_norm() const {
  std::vector<View> gradients;
  for_each_slot([&](const Slot& slot) {
    if (trains(slot.parameter)) gradients.push_back(gradient_of(slot.parameter).values);
  });
  return gradients.empty() ? 0 : norm_of(gradients, gradients[0].device);
}

double Optimizer::clip_grad_norm(double max_norm, bool error_if_nonfinite) {
  check(max_norm > 0, "clip_grad_norm: max_norm {} must be positive", max_norm);
  const double norm = grad_norm();
  if (error_if_nonfinite && !std::isfinite(norm)) {
    std::vector<std::string> at_fault;
    for_each_slot([&](const Slot& slot) {
      if (!trains(slot.parameter)) return;
      const View gradient = gradient_of(slot.parameter).values;
      if (!std::isfinite(norm_of({&gradient, 1}, gradient.device))) at_fault.push_back(slot.name);
    });
    fail("clip_grad_norm: the gradients' norm is {}; not finite: {}", norm, joined(at_fault, ", "));
  }
  gradient_scale_ = std::min(1.0, max_norm / (norm + 1e-6));
  return norm;
}

NamedTensors Optimizer::state_dict() const {
  NamedTensors state;
  for_each_slot([&](const Slot& slot) {
    if (slot.step == 0) return;
    for (std::size_t i = 0; i < state_names_.size(); ++i)
      state.emplace_back(slot.name + "." + state_names_[i], slot.state[i]);
    state.emplace_back(slot.name + ".step", from_vector<std::int64_t>({slot.step}, {}, Device{}));
  });
  return state;
}

void Optimizer::load_state_dict(const NamedTensors& state) {
  std::map<std::string_view, Tensor> given(state.begin(), state.end());
  NamedTensors wanted;
  for_each_slot([&](const Slot& slot) {
    if (!given.contains(slot.name + ".step")) return;
    for (const std::string& name : state_names_) wanted.emplace_back(slot.name + "." + name, slot.parameter.detach());
    wanted.emplace_back(slot.name + ".step", empty({}, {Dtype::i64, {}}));
  });
  compare(wanted, state).require_exact(fmt::format("{}::load_state_dict", name_));
  for (Group& group : groups_) {
    for (Slot& slot : group.slots) {
      slot.step = 0;
      slot.state.clear();
      const auto step = given.find(slot.name + ".step");
      if (step == given.end()) continue;
      slot.step = step->second.item<std::int64_t>();
      for (const std::string& name : state_names_) {
        const Tensor& saved = given.at(slot.name + "." + name);
        slot.state.push_back(empty_like(slot.parameter));
        assign(slot.state.back(), saved.to(slot.parameter.device()));
      }
    }
  }
}

SGD::SGD(const std::vector<ParameterGroup>& groups, const SgdOptions& options)
    : Optimizer("SGD", options.momentum == 0 ? std::vector<std::string>{} : std::vector<std::string>{"momentum_buffer"},
                groups, options.lr, options.weight_decay),
      options_(options) {
  check(options.momentum >= 0, "SGD: momentum {} must not be negative", options.momentum);
  check(!options.nesterov || options.momentum > 0, "SGD: nesterov needs momentum");
}

void SGD::update(const Update& update) {
  std::vector<kernels::SgdSlice> slices;
  for (const Slot* slot : update.slots) {
    const GradientView gradient = gradient_of(slot->parameter);
    slices.push_back({.parameter = slot->parameter.view(),
                      .gradient = gradient.values,
                      .momentum = slot->state.empty() ? View{} : slot->state[0].view(),
                      .rows = gradient.rows});
  }
  kernels::sgd(slices,
               {.lr = update.lr,
                .momentum = options_.momentum,
                .weight_decay = update.weight_decay,
                .nesterov = options_.nesterov,
                .gradient_scale = update.gradient_scale},
               Stream{update.slots[0]->parameter.device(), nullptr});
}

Adam::Adam(const char* name, const std::vector<ParameterGroup>& groups, const AdamOptions& options, bool decoupled)
    : Optimizer(name, {"exp_avg", "exp_avg_sq"}, groups, options.lr,
                options.weight_decay.value_or(decoupled ? 0.01 : 0)),
      options_(options),
      decoupled_(decoupled) {
  for (const double beta : {options.beta1, options.beta2})
    check(0 <= beta && beta < 1, "{}: beta {} outside [0, 1)", name, beta);
  check(options.eps >= 0, "{}: eps {} must not be negative", name, options.eps);
}

void Adam::update(const Update& update) {
  std::vector<kernels::AdamSlice> slices;
  for (const Slot* slot : update.slots) {
    const GradientView gradient = gradient_of(slot->parameter);
    slices.push_back({.parameter = slot->parameter.view(),
                      .gradient = gradient.values,
                      .exp_avg = slot->state[0].view(),
                      .exp_avg_sq = slot->state[1].view(),
                      .rows = gradient.rows,
                      .step = slot->step});
  }
  kernels::adam(slices,
                {.lr = update.lr,
                 .beta1 = options_.beta1,
                 .beta2 = options_.beta2,
                 .eps = options_.eps,
                 .weight_decay = update.weight_decay,
                 .decoupled = decoupled_,
                 .gradient_scale = update.gradient_scale},
                Stream{update.slots[0]->parameter.device(), nullptr});
}

}  // namespace heed::nn
