// A module: its variables in memory, its functions decoded when they are asked for.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "tools/gpusim/machine/decode.h"

namespace gpusim {

std::unique_ptr<Module> Module::parse(std::string ptx, Memory& memory) {
  return std::make_unique<ModuleCode>(std::move(ptx), memory);
}

ModuleCode::ModuleCode(std::string ptx, Memory& memory)
    : text_(std::move(ptx)), memory_(memory), syntax_(ptx::parse_module(text_)) {
  for (const ptx::Function& function : syntax_.functions) {
    auto& known = functions_[function.name];
    if (known == nullptr || function.has_body) known = &function;
  }
  place_variables();
}

ModuleCode::~ModuleCode() {
  for (const auto& [name, variable] : variables_) memory_.free(variable.address);
}

namespace {

// The functions that are called, not launched, and may have shared variables of their own.
std::vector<const ptx::Function*> callees_with_shared(const ptx::Module& module) {
  std::vector<const ptx::Function*> result;
  for (const ptx::Function& function : module.functions) {
    std::size_t end = module.text.size();
    for (const ptx::Function& other : module.functions) {
      if (other.has_body && other.body_start > function.body_start) end = std::min(end, other.body_start);
    }
    const std::string_view body = module.text.substr(function.body_start, end - function.body_start);
    const bool has = function.has_body && !function.is_kernel && body.find(".shared .align") != std::string_view::npos;
    if (has) result.push_back(&function);
  }
  return result;
}

}  // namespace

void ModuleCode::place_variables() {
  // Whichever kernel calls it, a function finds its shared variables in the same place: they are placed with the module's.
  for (const ptx::Function* function : callees_with_shared(syntax_)) {
    for (const ptx::Variable& variable : ptx::parse_body(syntax_.text, *function, syntax_.files).variables) {
      if (variable.space != Space::shared || variable.bytes == 0) continue;
      const std::size_t alignment = std::max<std::size_t>(variable.alignment, 1);
      const std::size_t offset = (shared_bytes_ + alignment - 1) / alignment * alignment;
      shared_offsets_[variable.name] = offset;
      shared_bytes_ = offset + variable.bytes;
    }
  }
  for (const ptx::Variable& variable : syntax_.variables) {
    if (variable.space == Space::shared) {
      if (variable.bytes == 0) {
        dynamic_shared_[variable.name] = variable.alignment;
        continue;
      }
      const std::size_t offset = (shared_bytes_ + variable.alignment - 1) / variable.alignment * variable.alignment;
      shared_offsets_[variable.name] = offset;
      shared_bytes_ = offset + variable.bytes;
      continue;
    }
    if (variable.is_external || variables_.contains(variable.name)) continue;
    const bool is_constant = variable.space == Space::constant;
    void* address = memory_.allocate(
        variable.bytes, fmt::format("{}variable {}", is_constant ? "__constant__ " : "", variable.name), is_constant);
    if (address == nullptr) throw Error(fmt::format("no device memory for the variable {}", variable.name));
    std::memset(address, 0, variable.bytes);
    std::copy(variable.initial.begin(), variable.initial.end(), static_cast<std::byte*>(address));
    memory_.note_initialised(address, variable.bytes);
    variables_[variable.name] = {address, variable.bytes, is_constant};
  }
  for (const ptx::Variable& variable : syntax_.variables) {
    for (const auto& relocation : variable.relocations) {
      const auto target = variables_.find(relocation.symbol);
      std::uint64_t value = 0;
      if (target != variables_.end()) {
        value = reinterpret_cast<std::uint64_t>(target->second.address);
      } else if (functions_.contains(relocation.symbol)) {
        value = reinterpret_cast<std::uint64_t>(code(relocation.symbol));
      } else {
        throw Error(
            fmt::format("the initialiser of {} names {}, which is not there", variable.name, relocation.symbol));
      }
      value += static_cast<std::uint64_t>(relocation.addend);
      std::memcpy(static_cast<std::byte*>(variables_[variable.name].address) + relocation.offset, &value,
                  relocation.bytes);
    }
  }
}

const Function& ModuleCode::function(std::string_view name) {
  const Code* found = code(name);
  if (found == nullptr) throw Error(fmt::format("there is no function {} in the module", name));
  return *found;
}

bool ModuleCode::has_function(std::string_view name) const {
  const auto found = functions_.find(name);
  return found != functions_.end() && found->second->has_body;
}

std::vector<std::string> ModuleCode::kernel_names() const {
  std::vector<std::string> names;
  for (const ptx::Function& function : syntax_.functions) {
    if (function.is_kernel && function.has_body) names.emplace_back(function.name);
  }
  return names;
}

const Variable* ModuleCode::variable(std::string_view name) const {
  const auto found = variables_.find(name);
  return found == variables_.end() ? nullptr : &found->second;
}

std::string_view ModuleCode::file(int number) const {
  const auto found = syntax_.files.find(number);
  return found == syntax_.files.end() ? std::string_view{} : std::string_view{found->second};
}

bool ModuleCode::owns(const Code* code) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(codes_.begin(), codes_.end(), [&](const auto& entry) { return entry.second.get() == code; });
}

const Code* ModuleCode::code(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (const auto found = codes_.find(name); found != codes_.end()) return found->second.get();
  const auto found = functions_.find(name);
  if (found == functions_.end() || !found->second->has_body) return nullptr;
  const ptx::Function& function = *found->second;
  auto& code = codes_[function.name] = std::make_unique<Code>();
  code->module = this;
  FunctionInfo& info = code->info;
  info.name = function.name;
  info.is_kernel = function.is_kernel;
  info.max_threads = {function.max_threads[0], function.max_threads[1], function.max_threads[2]};
  info.required_threads = {function.required_threads[0], function.required_threads[1], function.required_threads[2]};
  info.min_blocks_per_sm = function.min_blocks_per_sm;
  info.max_registers = function.max_registers;
  try {
    Decoder(*this, function, *code).decode();
  } catch (const Error& error) {
    codes_.erase(function.name);
    throw Error(fmt::format("{}: {}", function.name, error.what()), error.line);
  }
  return code.get();
}

}  // namespace gpusim
