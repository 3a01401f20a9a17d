// Allocation: every address is one of the host's, whatever kind of memory it stands for.
#include <cuda_runtime_api.h>

#include "tools/gpusim/runtime/blocks.h"
#include "tools/gpusim/runtime/simulator.h"
#include "tools/gpusim/runtime/status.h"

using namespace gpusim;

namespace {

// The real run-time gives no memory for 0 bytes, and calls that success.
cudaError_t allocate(void** pointer, BlockKind kind, std::size_t bytes, const char* name, unsigned flags = 0) {
  if (!pointer) return cudaErrorInvalidValue;
  void* const memory = bytes == 0 ? nullptr : blocks().allocate(kind, bytes, name, flags);
  if (bytes != 0 && !memory) return cudaErrorMemoryAllocation;  // *pointer stays what it was
  *pointer = memory;
  return cudaSuccess;
}

cudaError_t release(void* pointer, bool host) {
  if (!pointer) return cudaSuccess;
  return blocks().free(pointer, host) ? cudaSuccess : cudaErrorInvalidValue;
}

constexpr std::size_t pitch_alignment = 512;
constexpr std::size_t pitch_of(std::size_t width) {
  return (width + pitch_alignment - 1) / pitch_alignment * pitch_alignment;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  return api([&] { return allocate(pointer, BlockKind::device, bytes, "cudaMalloc"); });
}

cudaError_t cudaFree(void* pointer) {
  return api([&] {
    flush_output();  // it waits for the device
    return release(pointer, false);
  });
}

cudaError_t cudaMallocAsync(void** pointer, std::size_t bytes, cudaStream_t) {
  return api([&] { return allocate(pointer, BlockKind::device, bytes, "cudaMallocAsync"); });
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) {
  return api([&] { return pointer ? release(pointer, false) : cudaErrorInvalidValue; });
}

cudaError_t cudaMallocManaged(void** pointer, std::size_t bytes, unsigned flags) {
  return api([&] {
    const bool known = flags == cudaMemAttachGlobal || flags == cudaMemAttachHost;
    if (bytes == 0 || !known) return cudaErrorInvalidValue;
    return allocate(pointer, BlockKind::managed, bytes, "cudaMallocManaged");
  });
}

cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
  return api([&] { return allocate(pointer, BlockKind::host, bytes, "cudaMallocHost"); });
}

cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned flags) {
  return api([&] { return allocate(pointer, BlockKind::host, bytes, "cudaHostAlloc", flags); });
}

cudaError_t cudaFreeHost(void* pointer) {
  return api([&] { return release(pointer, true); });
}

// Registered memory stays the host's: copies work, but a kernel that reads it directly reports an illegal address.
cudaError_t cudaHostRegister(void* pointer, std::size_t bytes, unsigned) {
  return api([&] { return pointer && bytes > 0 ? cudaSuccess : cudaErrorInvalidValue; });
}

cudaError_t cudaHostUnregister(void* pointer) {
  return api([&] { return pointer ? cudaSuccess : cudaErrorInvalidValue; });
}

cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned flags) {
  return api([&] {
    if (!device || flags != 0) return cudaErrorInvalidValue;
    const auto block = blocks().find(host);
    if (!block || block->kind != BlockKind::host) return cudaErrorInvalidValue;
    *device = host;
    return cudaSuccess;
  });
}

cudaError_t cudaHostGetFlags(unsigned* flags, void* host) {
  return api([&] {
    const auto block = blocks().find(host);
    if (!flags || !block || block->kind != BlockKind::host) return cudaErrorInvalidValue;
    *flags = block->flags | cudaHostAllocMapped;
    return cudaSuccess;
  });
}

cudaError_t cudaMallocPitch(void** pointer, std::size_t* pitch, std::size_t width, std::size_t height) {
  return api([&] {
    if (!pitch) return cudaErrorInvalidValue;
    *pitch = pitch_of(width);
    return allocate(pointer, BlockKind::device, *pitch * height, "cudaMallocPitch");
  });
}

cudaError_t cudaMalloc3D(cudaPitchedPtr* pitched, cudaExtent extent) {
  return api([&] {
    if (!pitched) return cudaErrorInvalidValue;
    *pitched = {nullptr, pitch_of(extent.width), extent.width, extent.height};
    return allocate(&pitched->ptr, BlockKind::device, pitched->pitch * extent.height * extent.depth, "cudaMalloc3D");
  });
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return api([&] {
    if (!free || !total) return cudaErrorInvalidValue;
    *total = settings().gpu->memory;
    *free = *total - blocks().device_bytes();
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return api([&] {
    if (!attributes) return cudaErrorInvalidValue;
    *attributes = {};
    attributes->device = -2;  // what the real one says of memory it does not know
    attributes->hostPointer = const_cast<void*>(pointer);
    if (!simulator().memory.find(pointer)) return cudaSuccess;
    const auto block = blocks().find(pointer);
    const BlockKind kind = block ? block->kind : BlockKind::device;
    attributes->device = 0;
    attributes->devicePointer = const_cast<void*>(pointer);
    attributes->type = kind == BlockKind::device ? cudaMemoryTypeDevice
                       : kind == BlockKind::host ? cudaMemoryTypeHost
                                                 : cudaMemoryTypeManaged;
    if (kind == BlockKind::device) attributes->hostPointer = nullptr;
    return cudaSuccess;
  });
}

// Hints about where memory should lie: there is one place.
cudaError_t cudaMemPrefetchAsync(const void* pointer, std::size_t, cudaMemLocation, unsigned, cudaStream_t) {
  return api([&] { return simulator().memory.find(pointer) ? cudaSuccess : cudaErrorInvalidValue; });
}

cudaError_t cudaMemAdvise(const void* pointer, std::size_t, cudaMemoryAdvise, cudaMemLocation) {
  return api([&] { return simulator().memory.find(pointer) ? cudaSuccess : cudaErrorInvalidValue; });
}

}  // extern "C"
