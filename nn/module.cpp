#include "nn/module.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/autograd.h"
#include "engine/joined.h"

namespace heed::nn {
namespace {

NamedTensors once_each(NamedTensors tensors) {
  std::set<const TensorImpl*> seen;
  std::erase_if(tensors, [&](const auto& entry) { return !seen.insert(entry.second.impl().get()).second; });
  return tensors;
}

}  // namespace

void LoadReport::require_exact(std::string_view context) const {
  if (exact()) return;
  std::string text = fmt::format("{}: the state does not fit", context);
  const auto add = [&](const char* title, const std::vector<std::string>& names) {
    if (!names.empty()) text += fmt::format("\n  {}: {}", title, joined(names, ", "));
  };
  add("missing", missing);
  add("unexpected", unexpected);
  add("mismatched", mismatched);
  throw Error(text);
}

LoadReport compare(const NamedTensors& wanted, const NamedTensors& given) {
  LoadReport report;
  std::map<std::string_view, Tensor> left(given.begin(), given.end());
  for (const auto& [name, tensor] : wanted) {
    const auto found = left.find(name);
    if (found == left.end()) {
      report.missing.push_back(name);
    } else {
      const Shape& shape = found->second.shape();
      if (shape != tensor.shape())
        report.mismatched.push_back(fmt::format("{}: shape {}, given {}", name, tensor.shape(), shape));
      left.erase(found);
    }
  }
  for (const auto& [name, tensor] : given) {
    if (left.erase(name) > 0) report.unexpected.push_back(name);
  }
  return report;
}

void Module::collect(const std::string& prefix, bool (*wanted)(Kind), NamedTensors& found) const {
  for (const Entry& entry : tensors_) {
    if (entry.tensor->defined() && wanted(entry.kind)) found.emplace_back(prefix + entry.name, *entry.tensor);
  }
  for (const auto& [name, child] : children_) child->collect(prefix + name + ".", wanted, found);
}

NamedTensors Module::named_parameters() const {
  NamedTensors found;
  collect(
      "", [](Kind kind) { return kind == Kind::parameter; }, found);
  return once_each(std::move(found));
}

NamedTensors Module::named_buffers() const {
  NamedTensors found;
  collect(
      "", [](Kind kind) { return kind != Kind::parameter; }, found);
  return once_each(std::move(found));
}

NamedTensors Module::state_dict() const {
  NamedTensors found;
  collect(
      "", [](Kind kind) { return kind != Kind::transient_buffer; }, found);
  return found;
}

std::vector<Tensor> Module::parameters() const {
  std::vector<Tensor> tensors;
  for (auto& [name, tensor] : named_parameters()) tensors.push_back(tensor);
  return tensors;
}

std::int64_t Module::parameter_count() const {
  std::int64_t count = 0;
  for (const Tensor& parameter : parameters()) count += parameter.count();
  return count;
}

LoadReport Module::load_state_dict(const NamedTensors& state, bool strict) {
  const NamedTensors own = state_dict();
  const LoadReport report = compare(own, state);
  if (strict) report.require_exact("load_state_dict");
  const NoGrad no_grad;
  const std::map<std::string_view, Tensor> given(state.begin(), state.end());
  for (const auto& [name, tensor] : own) {
    const auto found = given.find(name);
    if (found != given.end() && found->second.shape() == tensor.shape())
      assign(tensor, found->second.to(tensor.device()));
  }
  return report;
}

void Module::train(bool training) {
  training_ = training;
  for (auto& [name, child] : children_) child->train(training);
}

void Module::set_requires_grad(bool value) {
  for (const Tensor& parameter : parameters()) parameter.set_requires_grad(value);
}

void Module::zero_grad() {
  for (const Tensor& parameter : parameters()) parameter.set_grad({});
}

// The new memory goes into the tensor that is there, which every handle shares: tied weights stay tied.
void Module::replace(Tensor (*convert)(const Tensor&, TensorOptions), TensorOptions options) {
  NamedTensors all;
  collect(
      "", [](Kind) { return true; }, all);
  const NoGrad no_grad;
  for (const auto& [name, tensor] : once_each(std::move(all))) {
    const Tensor converted = convert(tensor, options);
    if (converted.impl() == tensor.impl()) continue;
    const bool trains = tensor.requires_grad();
    *tensor.impl() = {converted.impl()->storage, converted.layout(), converted.dtype(), nullptr, 0, {}};
    tensor.set_requires_grad(trains);
  }
}

void Module::to(Dtype dtype) {
  check(is_floating(dtype), "Module::to: needs a floating dtype, not {}", dtype);
  const auto convert = [](const Tensor& x, TensorOptions to) { return is_floating(x.dtype()) ? x.to(to.dtype) : x; };
  replace(convert, {dtype, {}});
}

void Module::to(Device device) {
  replace([](const Tensor& x, TensorOptions to) { return x.to(to.device); }, {Dtype::f32, device});
}

std::string Module::summary() const {
  const NamedTensors rows = named_parameters();
  std::size_t width = 5;  // "total"
  for (const auto& [name, tensor] : rows) width = std::max(width, name.size());
  std::string text;
  for (const auto& [name, tensor] : rows) {
    text += fmt::format("{:<{}}  {:<20}  {:>12}{}\n", name, width, fmt::format("{}", tensor.shape()), tensor.count(),
                        tensor.requires_grad() ? "" : "  frozen");
  }
  return text + fmt::format("{:<{}}  {:<20}  {:>12}\n", "total", width, "", parameter_count());
}

void Module::check_name(const std::string& name) const {
  check(!name.empty() && name.find('.') == std::string::npos, "register: '{}' is no name for part of a module", name);
  const bool taken = std::any_of(tensors_.begin(), tensors_.end(), [&](const Entry& e) { return e.name == name; }) ||
                     std::any_of(children_.begin(), children_.end(), [&](const auto& c) { return c.first == name; });
  check(!taken, "register: the module has a '{}' already", name);
}

void Module::register_parameter(std::string name, Tensor& parameter) {
  check_name(name);
  if (parameter.defined()) parameter.set_requires_grad();
  tensors_.push_back({std::move(name), &parameter, Kind::parameter});
}

void Module::register_buffer(std::string name, Tensor& buffer, bool persistent) {
  check_name(name);
  tensors_.push_back({std::move(name), &buffer, persistent ? Kind::buffer : Kind::transient_buffer});
}

void Module::register_module(std::string name, Module& child) {
  check_name(name);
  children_.emplace_back(std::move(name), &child);
}

}  // namespace heed::nn
