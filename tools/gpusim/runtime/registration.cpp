// What a program's start-up code calls before main, and the lookups by host address.
#include <algorithm>
#include <memory>
#include <unordered_map>
#include <vector>

#include "tools/gpusim/runtime/program.h"
#include "tools/gpusim/runtime/status.h"

namespace gpusim {
namespace {

struct Symbol {
  Program* program;
  std::string name;
};

struct Registry {
  std::mutex mutex;
  std::vector<std::unique_ptr<Program>> programs;
  std::vector<std::unique_ptr<Kernel>> kernels;
  std::unordered_map<const void*, Kernel*> kernel_at;  // by host address, and by the kernel's own
  std::unordered_map<const void*, Symbol> symbols;     // by host address
};

Registry& registry() {
  static Registry& result = *new Registry;
  return result;
}

Program& program_of(void** handle) {
  return *reinterpret_cast<Program*>(handle);
}

}  // namespace

Kernel& find_kernel(const void* function) {
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  const auto at = known.kernel_at.find(function);
  if (at == known.kernel_at.end()) throw Failure{cudaErrorInvalidDeviceFunction};
  return *at->second;
}

const Variable& find_variable(const void* symbol) {
  Registry& known = registry();
  std::unique_lock lock(known.mutex);
  const auto at = known.symbols.find(symbol);
  if (at == known.symbols.end()) throw Failure{cudaErrorInvalidSymbol};
  const Symbol found = at->second;
  lock.unlock();
  const Variable* variable = found.program->module().variable(found.name);
  if (!variable) throw Failure{cudaErrorInvalidSymbol};
  return *variable;
}

void unload_programs() {
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  for (const auto& kernel : known.kernels) kernel->loaded = nullptr;
  for (const auto& program : known.programs) program->unload();
}

}  // namespace gpusim

using namespace gpusim;

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  const void* fatbin = nullptr;
  try {
    fatbin = fatbin_of_wrapper(wrapper);
  } catch (const std::exception& error) {
    complain(error.what());
  }
  known.programs.push_back(std::make_unique<Program>(fatbin));
  return reinterpret_cast<void**>(known.programs.back().get());
}

void __cudaRegisterFatBinaryEnd(void**) {}

void __cudaUnregisterFatBinary(void** handle) {
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  const Program* program = &program_of(handle);
  std::erase_if(known.kernel_at, [&](const auto& entry) { return &entry.second->program == program; });
  std::erase_if(known.kernels, [&](const auto& kernel) { return &kernel->program == program; });
  std::erase_if(known.symbols, [&](const auto& entry) { return entry.second.program == program; });
  std::erase_if(known.programs, [&](const auto& candidate) { return candidate.get() == program; });
}

void __cudaRegisterFunction(void** handle, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  known.kernels.push_back(std::make_unique<Kernel>(Kernel{.program = program_of(handle), .name = name}));
  Kernel* kernel = known.kernels.back().get();
  known.kernel_at[host] = known.kernel_at[kernel] = kernel;
}

void __cudaRegisterVar(void** handle, char* host, char*, const char* name, int, size_t, int, int) {
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  known.symbols.insert_or_assign(host, Symbol{&program_of(handle), name});
}

void __cudaRegisterManagedVar(void** handle, void** host, char*, const char* name, int, size_t, int, int) {
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  program_of(handle).managed.push_back({host, name});
  known.symbols.insert_or_assign(host, Symbol{&program_of(handle), name});
}

char __cudaInitModule(void** handle) {
  try {
    program_of(handle).place_managed();
  } catch (...) {
    remember(failed_call(std::current_exception()));
  }
  return 1;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  // Called at a launch's first time. The code is returned even after an error that sticks, as the launch reports it.
  try {
    *kernel = reinterpret_cast<cudaKernel_t>(&find_kernel(host));
    return cudaSuccess;
  } catch (...) {
    return remember(failed_call(std::current_exception()));
  }
}

cudaError_t cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  return __cudaGetKernel(kernel, host);
}

cudaError_t cudaGetFuncBySymbol(cudaFunction_t* function, const void* host) {
  return __cudaGetKernel(reinterpret_cast<cudaKernel_t*>(function), host);
}

cudaError_t cudaGetSymbolAddress(void** address, const void* symbol) {
  return api([&] {
    *address = find_variable(symbol).address;
    return cudaSuccess;
  });
}

cudaError_t cudaGetSymbolSize(size_t* bytes, const void* symbol) {
  return api([&] {
    *bytes = find_variable(symbol).bytes;
    return cudaSuccess;
  });
}

cudaError_t cudaFuncGetName(const char** name, const void* function) {
  return api([&] {
    *name = find_kernel(function).name.c_str();
    return cudaSuccess;
  });
}

}  // extern "C"
