// Launches, and what can be asked and set about kernels.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "tools/gpusim/runtime/check_report.h"
#include "tools/gpusim/runtime/occupancy.h"
#include "tools/gpusim/runtime/profile_report.h"
#include "tools/gpusim/runtime/program.h"
#include "tools/gpusim/runtime/simulator.h"
#include "tools/gpusim/runtime/status.h"
#include "tools/gpusim/runtime/streams.h"

using namespace gpusim;

namespace {

// What <<<>>> wrote and the kernel's stub reads back.
struct Configuration {
  dim3 grid, block;
  std::size_t shared;
  cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

cudaError_t error_of(Fault fault) {
  switch (fault) {
    case Fault::none:
      return cudaSuccess;
    case Fault::illegal_address:
      return cudaErrorIllegalAddress;
    case Fault::misaligned_address:
      return cudaErrorMisalignedAddress;
    case Fault::assertion:
      return cudaErrorAssert;
    case Fault::stack_overflow:
      return cudaErrorHardwareStackError;
    case Fault::illegal_instruction:
      return cudaErrorIllegalInstruction;
    case Fault::trap:
      return cudaErrorLaunchFailure;
    case Fault::deadlock:
      return cudaErrorLaunchTimeout;
  }
  return cudaErrorLaunchFailure;
}

Dim3 dim3_of(dim3 from) {
  return {from.x, from.y, from.z};
}

// What the GPU's limits say about a launch, before anything runs.
void check_shape(Kernel& kernel, const dim3& grid, const dim3& block, std::size_t shared) {
  const bool grid_fits =
      grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffff && grid.y <= 65535 && grid.z <= 65535;
  const bool block_fits = block.x > 0 && block.y > 0 && block.z > 0 && block.x <= 1024 && block.y <= 1024 &&
                          block.z <= 64 && dim3_of(block).count() <= 1024;
  if (!grid_fits || !block_fits) throw Failure{cudaErrorInvalidConfiguration};
  const FunctionInfo& info = kernel.function().info;
  if (shared > kernel.dynamic_shared_limit()) throw Failure{cudaErrorInvalidValue};
  const std::size_t bound = info.max_threads.count();
  if (bound > 0 && dim3_of(block).count() > bound) throw Failure{cudaErrorInvalidValue};
  if (info.required_threads.count() > 0 && !(dim3_of(block) == info.required_threads))
    throw Failure{cudaErrorInvalidValue};
  if (static_cast<int>(dim3_of(block).count()) > kernel.max_threads()) throw Failure{cudaErrorLaunchOutOfResources};
}

// The words that a grid-wide barrier counts in.
std::uintptr_t fresh_grid_workspace() {
  constexpr std::size_t bytes = 8;
  Memory& memory = simulator().memory;
  static void* const words = memory.allocate(bytes, "grid barrier");
  std::memset(words, 0, bytes);
  memory.note_initialised(words, bytes);
  return reinterpret_cast<std::uintptr_t>(words);
}

int blocks_at_a_time(Kernel& kernel, int threads, std::size_t dynamic_shared) {
  const auto known = kernel.program.resources(kernel.name, true);
  return occupancy(*settings().gpu, threads, known ? known->registers : 0,
                   kernel.function().info.static_shared_bytes + dynamic_shared)
      .blocks;
}

void run(Kernel& kernel, const dim3& grid, const dim3& block, void** arguments, std::size_t shared, cudaStream_t stream,
         bool cooperative) {
  if (!is_stream(stream)) throw Failure{cudaErrorInvalidResourceHandle};
  check_shape(kernel, grid, block, shared);
  const Function& function = kernel.function();
  if (cooperative) {
    const auto at_a_time =
        static_cast<std::size_t>(blocks_at_a_time(kernel, static_cast<int>(dim3_of(block).count()), shared));
    if (dim3_of(grid).count() > at_a_time * static_cast<std::size_t>(settings().gpu->multiprocessors)) {
      throw Failure{cudaErrorCooperativeLaunchTooLarge};
    }
  }
  const LaunchShape shape{.grid = dim3_of(grid),
                          .block = dim3_of(block),
                          .dynamic_shared_bytes = shared,
                          .arguments = {arguments, arguments ? function.info.parameters.size() : 0}};
  const std::lock_guard lock(simulator().launching);
  const LaunchOptions options{.mode = settings().mode,
                              .threads = settings().threads,
                              .per_instruction = settings().mode == Mode::profile,
                              .sms = static_cast<unsigned>(settings().gpu->multiprocessors),
                              .cooperative = cooperative,
                              .grid_workspace = cooperative ? fresh_grid_workspace() : 0,
                              .print = buffer_output};
  const auto start = std::chrono::steady_clock::now();
  const LaunchResult result = launch(function, shape, options);
  count_launch(result.lane_instructions,
               std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  if (settings().mode == Mode::check) report_launch(kernel, result);
  if (settings().mode == Mode::profile) profile_launch(kernel, shape, result.profile);
  if (result.fault != Fault::none) {
    if (settings().mode != Mode::check) report_fault(kernel, result);
    stick(error_of(result.fault));
  }
}

cudaError_t launch_kernel(const void* function, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                          cudaStream_t stream, bool cooperative) {
  return api([&] {
    run(find_kernel(function), grid, block, arguments, shared, stream, cooperative);
    return cudaSuccess;
  });
}

// The launch attributes that change what a kernel computes; the others are hints.
bool is_cooperative(const cudaLaunchConfig_t& config) {
  bool cooperative = false;
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config.attrs[i];
    if (attribute.id == cudaLaunchAttributeCooperative) cooperative = attribute.val.cooperative != 0;
    if (attribute.id == cudaLaunchAttributeClusterDimension) {
      const auto& cluster = attribute.val.clusterDim;
      if (cluster.x * cluster.y * cluster.z > 1)
        throw Failure{cudaErrorNotSupported, "clusters of blocks are not simulated"};
    }
  }
  return cooperative;
}

}  // namespace

extern "C" {

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, cudaStream_t stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, cudaStream_t* stream) {
  if (configurations.empty()) return remember(cudaErrorMissingConfiguration);
  const Configuration last = configurations.back();
  configurations.pop_back();
  *grid = last.grid;
  *block = last.block;
  *shared = last.shared;
  *stream = last.stream;
  return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                             cudaStream_t stream) {
  return launch_kernel(function, grid, block, arguments, shared, stream, false);
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                               cudaStream_t stream) {
  return launch_kernel(kernel, grid, block, arguments, shared, stream, false);
}

cudaError_t cudaLaunchCooperativeKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                                        std::size_t shared, cudaStream_t stream) {
  return launch_kernel(function, grid, block, arguments, shared, stream, true);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
  return api([&] {
    if (!config) return cudaErrorInvalidValue;
    run(find_kernel(function), config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes, config->stream,
        is_cooperative(*config));
    return cudaSuccess;
  });
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return api([&] {
    Kernel& kernel = find_kernel(function);
    if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
      const std::size_t used = kernel.function().info.static_shared_bytes;
      const std::size_t limit = settings().gpu->shared_per_block_optin;
      if (value < 0 || used + static_cast<std::size_t>(value) > limit) return cudaErrorInvalidValue;
      kernel.max_dynamic_shared = value;
      return cudaSuccess;
    }
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) {
      if (value < -1 || value > 100) return cudaErrorInvalidValue;
      kernel.carveout = value;
      return cudaSuccess;
    }
    if (attribute >= cudaFuncAttributeMax) return cudaErrorInvalidValue;
    throw Failure{cudaErrorNotSupported, "clusters of blocks are not simulated"};
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return api([&] {
    if (!attributes) return cudaErrorInvalidValue;
    Kernel& kernel = find_kernel(function);
    const FunctionInfo& info = kernel.function().info;
    const auto known = kernel.program.resources(kernel.name, true);
    *attributes = {};
    attributes->sharedSizeBytes = info.static_shared_bytes;
    attributes->localSizeBytes =
        known && known->stack_bytes >= 0 ? static_cast<std::size_t>(known->stack_bytes) : info.local_bytes;
    attributes->maxThreadsPerBlock = kernel.max_threads();
    attributes->numRegs = known ? known->registers : static_cast<int>(info.live_registers);
    attributes->ptxVersion = kernel.program.ptx_capability();
    attributes->binaryVersion = settings().gpu->capability();
    attributes->maxDynamicSharedSizeBytes = static_cast<int>(kernel.dynamic_shared_limit());
    attributes->preferredShmemCarveout = kernel.carveout;
    return cudaSuccess;
  });
}

cudaError_t cudaFuncSetCacheConfig(const void* function, cudaFuncCache) {
  return api([&] {
    find_kernel(function);
    return cudaSuccess;
  });
}

cudaError_t cudaFuncSetSharedMemConfig(const void* function, cudaSharedMemConfig) {
  return api([&] {
    find_kernel(function);
    return cudaSuccess;
  });
}

cudaError_t cudaFuncGetParamInfo(const void* function, std::size_t index, std::size_t* offset, std::size_t* bytes) {
  return api([&] {
    const auto& parameters = find_kernel(function).function().info.parameters;
    if (index >= parameters.size() || !offset) return cudaErrorInvalidValue;
    *offset = parameters[index].offset;
    if (bytes) *bytes = parameters[index].bytes;
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function, int threads,
                                                                   std::size_t dynamic_shared, unsigned) {
  return api([&] {
    if (!blocks || threads <= 0) return cudaErrorInvalidValue;
    Kernel& kernel = find_kernel(function);
    const std::size_t shared = kernel.function().info.static_shared_bytes + dynamic_shared;
    const bool fits = threads <= kernel.max_threads() && shared <= settings().gpu->shared_per_block_optin;
    *blocks = fits ? blocks_at_a_time(kernel, threads, dynamic_shared) : 0;
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function, int threads,
                                                          std::size_t dynamic_shared) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads, dynamic_shared, 0);
}

cudaError_t cudaOccupancyAvailableDynamicSMemPerBlock(std::size_t* bytes, const void* function, int blocks, int) {
  return api([&] {
    if (!bytes || blocks <= 0) return cudaErrorInvalidValue;
    const Gpu& gpu = *settings().gpu;
    const std::size_t used = find_kernel(function).function().info.static_shared_bytes + gpu.shared_reserved_per_block;
    const std::size_t each = gpu.shared_per_multiprocessor / static_cast<std::size_t>(blocks) /
                             gpu.shared_allocation_unit * gpu.shared_allocation_unit;
    const std::size_t room = each > used ? each - used : 0;
    *bytes = std::min(room, gpu.shared_per_block_optin - find_kernel(function).function().info.static_shared_bytes);
    return cudaSuccess;
  });
}

}  // extern "C"
