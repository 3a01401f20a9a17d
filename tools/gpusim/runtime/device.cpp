// The device: there is one, described by a row of gpus.h.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>
#include <map>

#include "tools/gpusim/runtime/blocks.h"
#include "tools/gpusim/runtime/program.h"
#include "tools/gpusim/runtime/simulator.h"
#include "tools/gpusim/runtime/status.h"

using namespace gpusim;

namespace {

cudaDeviceProp properties_of(const Gpu& gpu) {
  cudaDeviceProp p{};  // textures and surfaces, which are not simulated, stay 0
  std::snprintf(p.name, sizeof p.name, "%s", gpu.description);
  std::memcpy(&p.uuid, "gpusim----------", sizeof p.uuid);
  p.totalGlobalMem = gpu.memory;
  p.sharedMemPerBlock = gpu.shared_per_block;
  p.sharedMemPerBlockOptin = gpu.shared_per_block_optin;
  p.sharedMemPerMultiprocessor = gpu.shared_per_multiprocessor;
  p.reservedSharedMemPerBlock = gpu.shared_reserved_per_block;
  p.regsPerBlock = p.regsPerMultiprocessor = gpu.registers_per_multiprocessor;
  p.warpSize = 32;
  p.memPitch = 0x7fffffff;
  p.maxThreadsPerBlock = 1024;
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
  p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 0x7fffffff;
  p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.totalConstMem = 64 << 10;
  p.major = gpu.major;
  p.minor = gpu.minor;
  p.textureAlignment = 512;
  p.texturePitchAlignment = 32;
  p.surfaceAlignment = 512;
  p.multiProcessorCount = gpu.multiprocessors;
  p.maxThreadsPerMultiProcessor = gpu.threads_per_multiprocessor;
  p.maxBlocksPerMultiProcessor = gpu.blocks_per_multiprocessor;
  p.canMapHostMemory = p.concurrentKernels = p.ECCEnabled = p.unifiedAddressing = 1;
  p.pciBusID = 1;
  p.asyncEngineCount = 3;
  p.memoryBusWidth = gpu.memory_bus_bits;
  p.l2CacheSize = static_cast<int>(gpu.l2_cache);
  p.persistingL2CacheMaxSize = gpu.major >= 8 ? static_cast<int>(gpu.l2_cache / 4 * 3) : 0;
  p.accessPolicyMaxWindowSize = gpu.major >= 8 ? 128 << 20 : 0;
  p.streamPrioritiesSupported = p.globalL1CacheSupported = p.localL1CacheSupported = 1;
  p.managedMemory = p.concurrentManagedAccess = p.computePreemptionSupported = 1;
  p.cooperativeLaunch = 1;
  p.hostRegisterSupported = 1;
  p.memoryPoolsSupported = 1;
  p.hostNumaId = -1;
  p.deviceNumaId = -1;
  return p;
}

// Those of the attributes that are not 0.
const std::map<cudaDeviceAttr, int>& attributes() {
  static const auto& result = *new std::map<cudaDeviceAttr, int>([] {
    const Gpu& gpu = *settings().gpu;
    const cudaDeviceProp p = properties_of(gpu);
    const auto small = [](std::size_t value) { return static_cast<int>(value); };
    return std::map<cudaDeviceAttr, int>{
        {cudaDevAttrMaxThreadsPerBlock, p.maxThreadsPerBlock},
        {cudaDevAttrMaxBlockDimX, p.maxThreadsDim[0]},
        {cudaDevAttrMaxBlockDimY, p.maxThreadsDim[1]},
        {cudaDevAttrMaxBlockDimZ, p.maxThreadsDim[2]},
        {cudaDevAttrMaxGridDimX, p.maxGridSize[0]},
        {cudaDevAttrMaxGridDimY, p.maxGridSize[1]},
        {cudaDevAttrMaxGridDimZ, p.maxGridSize[2]},
        {cudaDevAttrMaxSharedMemoryPerBlock, small(p.sharedMemPerBlock)},
        {cudaDevAttrTotalConstantMemory, small(p.totalConstMem)},
        {cudaDevAttrWarpSize, p.warpSize},
        {cudaDevAttrMaxPitch, small(p.memPitch)},
        {cudaDevAttrMaxRegistersPerBlock, p.regsPerBlock},
        {cudaDevAttrClockRate, gpu.clock_khz},
        {cudaDevAttrTextureAlignment, small(p.textureAlignment)},
        {cudaDevAttrGpuOverlap, 1},
        {cudaDevAttrMultiProcessorCount, p.multiProcessorCount},
        {cudaDevAttrCanMapHostMemory, p.canMapHostMemory},
        {cudaDevAttrSurfaceAlignment, small(p.surfaceAlignment)},
        {cudaDevAttrConcurrentKernels, p.concurrentKernels},
        {cudaDevAttrEccEnabled, p.ECCEnabled},
        {cudaDevAttrPciBusId, p.pciBusID},
        {cudaDevAttrMemoryClockRate, gpu.memory_clock_khz},
        {cudaDevAttrGlobalMemoryBusWidth, p.memoryBusWidth},
        {cudaDevAttrL2CacheSize, p.l2CacheSize},
        {cudaDevAttrMaxThreadsPerMultiProcessor, p.maxThreadsPerMultiProcessor},
        {cudaDevAttrAsyncEngineCount, p.asyncEngineCount},
        {cudaDevAttrUnifiedAddressing, p.unifiedAddressing},
        {cudaDevAttrTexturePitchAlignment, small(p.texturePitchAlignment)},
        {cudaDevAttrComputeCapabilityMajor, p.major},
        {cudaDevAttrComputeCapabilityMinor, p.minor},
        {cudaDevAttrStreamPrioritiesSupported, p.streamPrioritiesSupported},
        {cudaDevAttrGlobalL1CacheSupported, p.globalL1CacheSupported},
        {cudaDevAttrLocalL1CacheSupported, p.localL1CacheSupported},
        {cudaDevAttrMaxSharedMemoryPerMultiprocessor, small(p.sharedMemPerMultiprocessor)},
        {cudaDevAttrMaxRegistersPerMultiprocessor, p.regsPerMultiprocessor},
        {cudaDevAttrManagedMemory, p.managedMemory},
        {cudaDevAttrSingleToDoublePrecisionPerfRatio, static_cast<int>(gpu.f32 / gpu.f64 + 0.5)},
        {cudaDevAttrConcurrentManagedAccess, p.concurrentManagedAccess},
        {cudaDevAttrComputePreemptionSupported, p.computePreemptionSupported},
        {cudaDevAttrCooperativeLaunch, p.cooperativeLaunch},
        {cudaDevAttrMaxSharedMemoryPerBlockOptin, small(p.sharedMemPerBlockOptin)},
        {cudaDevAttrHostRegisterSupported, p.hostRegisterSupported},
        {cudaDevAttrMaxBlocksPerMultiprocessor, p.maxBlocksPerMultiProcessor},
        {cudaDevAttrMaxPersistingL2CacheSize, p.persistingL2CacheMaxSize},
        {cudaDevAttrMaxAccessPolicyWindowSize, p.accessPolicyMaxWindowSize},
        {cudaDevAttrReservedSharedMemoryPerBlock, small(p.reservedSharedMemPerBlock)},
        {cudaDevAttrMemoryPoolsSupported, p.memoryPoolsSupported},
        {cudaDevAttrHostNumaId, p.hostNumaId},
        {cudaDevAttrNumaId, p.deviceNumaId},
    };
  }());
  return result;
}

std::map<cudaLimit, std::size_t>& limits() {
  static auto& result = *new std::map<cudaLimit, std::size_t>{{cudaLimitStackSize, 1024},
                                                              {cudaLimitPrintfFifoSize, 1 << 20},
                                                              {cudaLimitMallocHeapSize, 8 << 20},
                                                              {cudaLimitMaxL2FetchGranularity, 64},
                                                              {cudaLimitPersistingL2CacheSize, 0}};
  return result;
}

unsigned device_flags = cudaDeviceMapHost;

// These ask the driver, not the device: they answer after an error that sticks, too.
cudaError_t only_device(int device) {
  return remember(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  if (!count) return remember(cudaErrorInvalidValue);
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  if (!device) return remember(cudaErrorInvalidValue);
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  return api([&] { return only_device(device); });
}

cudaError_t cudaInitDevice(int device, unsigned, unsigned) {
  return api([&] { return only_device(device); });
}

cudaError_t cudaSetValidDevices(int*, int) {
  return cudaSuccess;
}

cudaError_t cudaChooseDevice(int* device, const cudaDeviceProp*) {
  return cudaGetDevice(device);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return remember(cudaErrorInvalidDevice);
  if (!properties) return remember(cudaErrorInvalidValue);
  *properties = properties_of(*settings().gpu);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return remember(cudaErrorInvalidDevice);
  if (!value || attribute <= 0 || attribute >= cudaDevAttrMax) return remember(cudaErrorInvalidValue);
  const auto at = attributes().find(attribute);
  *value = at == attributes().end() ? 0 : at->second;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int device) {
  if (device != 0) return remember(cudaErrorInvalidDevice);
  if (!text || length < 1) return remember(cudaErrorInvalidValue);
  std::snprintf(text, static_cast<std::size_t>(length), "0000:01:00.0");
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  return api([] {
    flush_output();
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceReset() {
  flush_output();
  unstick();
  for (const auto& [begin, block] : blocks().all()) blocks().free(begin, block.kind == BlockKind::host);
  unload_programs();
  return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned flags) {
  return api([&] {
    if ((flags & ~unsigned(cudaDeviceMask)) != 0) return cudaErrorInvalidValue;
    device_flags = flags | cudaDeviceMapHost;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceFlags(unsigned* flags) {
  return api([&] {
    if (!flags) return cudaErrorInvalidValue;
    *flags = device_flags;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetLimit(std::size_t* value, cudaLimit limit) {
  return api([&] {
    const auto at = limits().find(limit);
    if (!value || at == limits().end()) return cudaErrorUnsupportedLimit;
    *value = at->second;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSetLimit(cudaLimit limit, std::size_t value) {
  return api([&] {
    if (!limits().contains(limit)) return cudaErrorUnsupportedLimit;
    limits()[limit] = value;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetCacheConfig(cudaFuncCache* config) {
  return api([&] {
    *config = cudaFuncCachePreferNone;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSetCacheConfig(cudaFuncCache) {
  return api([] { return cudaSuccess; });
}

cudaError_t cudaDeviceGetSharedMemConfig(cudaSharedMemConfig* config) {
  return api([&] {
    *config = cudaSharedMemBankSizeFourByte;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSetSharedMemConfig(cudaSharedMemConfig) {
  return api([] { return cudaSuccess; });
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  if (!can) return remember(cudaErrorInvalidValue);
  if (device != 0 || peer != 0) return remember(cudaErrorInvalidDevice);
  *can = 0;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  if (!version) return remember(cudaErrorInvalidValue);
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  return cudaDriverGetVersion(version);
}

cudaError_t cudaProfilerStart() {
  return cudaSuccess;
}

cudaError_t cudaProfilerStop() {
  return cudaSuccess;
}

cudaError_t cudaCtxResetPersistingL2Cache() {
  return api([] { return cudaSuccess; });
}

}  // extern "C"
