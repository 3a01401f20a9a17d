#include "tools/gpusim/runtime/program.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>

#include "tools/gpusim/runtime/simulator.h"
#include "tools/gpusim/runtime/status.h"

namespace gpusim {
namespace {

std::string dotted(int capability) {
  return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

}  // namespace

void Program::refuse_images() const {
  const Gpu& gpu = *settings().gpu;
  std::string holds;
  bool any_ptx = false;
  for (const Image& image : images_) {
    any_ptx = any_ptx || image.kind == Image::Kind::ptx;
    holds += (holds.empty() ? "" : ", ") + std::string(image.kind == Image::Kind::ptx ? "compute_" : "sm_") +
             std::to_string(image.capability);
  }
  std::string message = "no PTX here for the simulated " + std::string(gpu.name) + " (compute capability " +
                        dotted(gpu.capability()) + "): the program holds " + (holds.empty() ? "no code" : holds) + ". ";
  if (any_ptx) {
    message += "Compile for an older capability, or choose a newer GPU with --gpu";
  } else {
    message += "gpusim runs PTX: compile with -gencode arch=compute_80,code=[sm_80,compute_80] and without -rdc=true";
  }
  throw Failure{cudaErrorNoKernelImageForDevice, message};
}

void Program::load() {
  const std::lock_guard lock(mutex_);
  if (module_) return;
  if (images_.empty()) images_ = read_fatbin(fatbin_);
  const int capability = settings().gpu->capability();
  for (const Image& image : images_) {
    if (image.kind != Image::Kind::ptx || image.capability > capability) continue;
    if (!ptx_ || image.capability > ptx_->capability) ptx_ = &image;
  }
  if (!ptx_) refuse_images();
  try {
    module_ = Module::parse(ptx_->data, simulator().memory);
  } catch (const Error& error) {
    throw Failure{cudaErrorInvalidPtx, "PTX line " + std::to_string(error.line) + ": " + error.what()};
  }
}

Module& Program::module() {
  load();
  return *module_;
}

int Program::ptx_capability() {
  load();
  return ptx_->capability;
}

std::optional<KernelResources> Program::resources(const std::string& kernel, bool run_ptxas) {
  load();
  const std::lock_guard lock(mutex_);
  const int capability = settings().gpu->capability();
  if (!cubin_) {
    // Machine code runs on the capability it was made for and on later ones of the same major number.
    const Image* best = nullptr;
    for (const Image& image : images_) {
      const bool fits =
          image.kind == Image::Kind::elf && image.capability / 10 == capability / 10 && image.capability <= capability;
      if (fits && (!best || image.capability > best->capability)) best = &image;
    }
    cubin_ = best ? resources_of_cubin(best->data) : ResourceTable{};
  }
  if (const auto at = cubin_->find(kernel); at != cubin_->end()) return at->second;
  if (!run_ptxas) return {};
  if (!ptxas_) ptxas_ = resources_by_ptxas(ptx_->data, capability);
  if (const auto at = ptxas_->find(kernel); at != ptxas_->end()) return at->second;
  return {};
}

void Program::place_managed() {
  if (managed.empty()) return;
  for (const ManagedVariable& variable : managed) {
    if (const Variable* found = module().variable(variable.name)) *variable.host_pointer = found->address;
  }
}

void Program::unload() {
  const std::lock_guard lock(mutex_);
  module_.reset();
}

const Function& Kernel::function() {
  if (loaded) return *loaded;
  Module& module = program.module();
  if (!module.has_function(name)) throw Failure{cudaErrorInvalidDeviceFunction};
  try {
    loaded = &module.function(name);
  } catch (const Error& error) {
    throw Failure{cudaErrorNotSupported, demangled(name) + " cannot be simulated: " + without_name(error.what(), name)};
  }
  return *loaded;
}

std::size_t Kernel::dynamic_shared_limit() {
  const std::size_t used = function().info.static_shared_bytes;
  if (max_dynamic_shared) return static_cast<std::size_t>(*max_dynamic_shared);
  const std::size_t limit = settings().gpu->shared_per_block;
  return used < limit ? limit - used : 0;
}

int Kernel::max_threads() {
  const FunctionInfo& info = function().info;
  int result = 1024;
  for (const Dim3& bound : {info.max_threads, info.required_threads}) {
    if (bound.count() > 0) result = std::min(result, static_cast<int>(bound.count()));
  }
  if (const auto known = program.resources(name, false); known && known->registers > 0) {
    const Gpu& gpu = *settings().gpu;
    const int unit = gpu.register_allocation_unit;
    const int per_warp = (known->registers * 32 + unit - 1) / unit * unit;
    result = std::min(result, gpu.registers_per_multiprocessor / per_warp / 4 * 4 * 32);
  }
  return result;
}

std::string without_name(std::string message, const std::string& name) {
  if (message.starts_with(name + ": ")) message.erase(0, name.size() + 2);
  return message;
}

std::string demangled(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string result = status == 0 && text ? text : name;
  std::free(text);
  return result;
}

}  // namespace gpusim
