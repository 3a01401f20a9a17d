// The device code of a program: what its start-up code registers, and kernels and variables found by their host addresses.
//
// nvcc gives each translation unit a fat binary and code that, before main, hands it over and names its kernels and
// variables: each has an address on the host side by which launches and cudaMemcpyToSymbol refer to it. PTX is parsed when
// something of the fat binary is used first.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tools/gpusim/machine/machine.h"
#include "tools/gpusim/runtime/fatbin.h"
#include "tools/gpusim/runtime/registers.h"

namespace gpusim {

class Program {
 public:
  explicit Program(const void* fatbin) : fatbin_(fatbin) {}

  // Loads the PTX that the simulated GPU would run: of the entries for its compute capability and older ones, the newest.
  // Throws Failure: cudaErrorNoKernelImageForDevice when there is none, cudaErrorInvalidPtx when it is malformed.
  Module& module();

  int ptx_capability();  // of the PTX chosen: 80 for compute_80

  // What ptxas made of a kernel: from the cubin beside the PTX if one fits the GPU, else, when `run_ptxas` allows it, by
  // calling ptxas. Nothing when neither knows.
  std::optional<KernelResources> resources(const std::string& kernel, bool run_ptxas);

  struct ManagedVariable {
    void** host_pointer;
    std::string name;
  };
  std::vector<ManagedVariable> managed;  // their host pointers are filled in by place_managed
  void place_managed();

  void unload();  // variables and all; the next use loads it anew

 private:
  void load();
  [[noreturn]] void refuse_images() const;

  const void* fatbin_;
  std::recursive_mutex mutex_;
  std::vector<Image> images_;
  const Image* ptx_ = nullptr;
  std::unique_ptr<Module> module_;
  std::optional<ResourceTable> cubin_, ptxas_;
};

// A kernel, and what cudaFuncSetAttribute set for it. Its address serves as cudaKernel_t and cudaFunction_t.
struct Kernel {
  Program& program;
  std::string name;  // mangled
  std::optional<int> max_dynamic_shared = {};
  int carveout = -1;
  const Function* loaded = nullptr;

  // Decoded when first asked for. Throws Failure: cudaErrorInvalidDeviceFunction when the image lacks it, and what
  // Program::module throws; an instruction that is not simulated is named, and the code is cudaErrorNotSupported.
  const Function& function();

  std::size_t dynamic_shared_limit();  // bytes that a launch may ask for
  int max_threads();                   // per block
};

// By host address, or by a handle to the kernel itself. Throws Failure: cudaErrorInvalidDeviceFunction.
Kernel& find_kernel(const void* function);

// The variable in device memory that a host symbol stands for. Throws Failure: cudaErrorInvalidSymbol.
const Variable& find_variable(const void* symbol);

void unload_programs();

// The machine's messages begin with the mangled name of the kernel; reports name it otherwise.
std::string without_name(std::string message, const std::string& name);
std::string demangled(const std::string& name);

}  // namespace gpusim
