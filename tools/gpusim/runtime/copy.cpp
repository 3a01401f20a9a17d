// Copies and fills. All are done when the call returns, those on streams too.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>

#include "tools/gpusim/machine/faults.h"
#include "tools/gpusim/runtime/check_report.h"
#include "tools/gpusim/runtime/program.h"
#include "tools/gpusim/runtime/simulator.h"
#include "tools/gpusim/runtime/status.h"
#include "tools/gpusim/runtime/streams.h"

using namespace gpusim;

namespace {

// Whether `pointer` is memory the device knows; if so, all the bytes must be of one allocation. The real run-time
// refuses a range that leaves its allocation with cudaErrorInvalidValue.
bool is_device(const char* call, const void* pointer, std::size_t bytes) {
  const auto allocation = simulator().memory.find(pointer);
  if (!allocation) return false;
  const auto offset = reinterpret_cast<std::uintptr_t>(pointer) - allocation->begin;
  if (bytes > allocation->bytes - offset) {
    report_host_error(FindingKind::out_of_bounds, call,
                      "touches " + std::to_string(bytes) + " bytes at offset " + std::to_string(offset) + " of " +
                          describe(*allocation));
    throw Failure{cudaErrorInvalidValue};
  }
  return true;
}

void check_initialised(const char* call, const void* source, std::size_t bytes) {
  if (settings().mode != Mode::check) return;
  const void* first = simulator().memory.first_uninitialised(source, bytes);
  if (!first) return;
  const auto offset = static_cast<const char*>(first) - static_cast<const char*>(source);
  report_host_error(FindingKind::uninitialised_read, call,
                    "copies memory that nobody wrote to the host: byte " + std::to_string(offset) + " of " +
                        std::to_string(bytes) + ", in " + describe(*simulator().memory.find(first)));
}

void copy_bytes(const char* call, void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) throw Failure{cudaErrorInvalidMemcpyDirection};
  if (bytes == 0) return;
  if (!to || !from) throw Failure{cudaErrorInvalidValue};
  const bool to_device = is_device(call, to, bytes), from_device = is_device(call, from, bytes);
  // With one address space for host and device the direction matters only where it names memory of the device.
  if ((kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) && !to_device)
    throw Failure{cudaErrorInvalidValue};
  if ((kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice) && !from_device)
    throw Failure{cudaErrorInvalidValue};
  if (from_device && !to_device) check_initialised(call, from, bytes);
  std::memmove(to, from, bytes);
  if (to_device && from_device) simulator().memory.copy_initialised(from, to, bytes);
  if (to_device && !from_device) simulator().memory.note_initialised(to, bytes);
}

cudaError_t copy(const char* call, void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return api([&] {
    flush_output();
    copy_bytes(call, to, from, bytes, kind);
    return cudaSuccess;
  });
}

cudaError_t copy_rows(const char* call, void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                      std::size_t width, std::size_t height, cudaMemcpyKind kind) {
  return api([&] {
    flush_output();
    if (width > to_pitch || width > from_pitch) return cudaErrorInvalidPitchValue;
    for (std::size_t row = 0; row < height; ++row) {
      copy_bytes(call, static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch,
                 width, kind);
    }
    return cudaSuccess;
  });
}

cudaError_t copy_symbol(const char* call, const void* symbol, void* host, std::size_t bytes, std::size_t offset,
                        cudaMemcpyKind kind, bool to_symbol) {
  return api([&] {
    flush_output();
    const Variable& variable = find_variable(symbol);
    if (offset > variable.bytes || bytes > variable.bytes - offset) return cudaErrorInvalidValue;
    const bool wrong_way = to_symbol ? kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyHostToHost
                                     : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyHostToHost;
    if (wrong_way) return cudaErrorInvalidMemcpyDirection;
    char* device = static_cast<char*>(variable.address) + offset;
    copy_bytes(call, to_symbol ? device : host, to_symbol ? host : device, bytes, kind);
    return cudaSuccess;
  });
}

void fill(const char* call, void* pointer, int value, std::size_t bytes) {
  if (bytes == 0) return;
  if (!is_device(call, pointer, bytes)) throw Failure{cudaErrorInvalidValue};
  std::memset(pointer, value, bytes);
  simulator().memory.note_initialised(pointer, bytes);
}

cudaError_t fill_rows(const char* call, void* pointer, std::size_t pitch, int value, std::size_t width,
                      std::size_t height) {
  return api([&] {
    if (width > pitch && height > 1) return cudaErrorInvalidValue;
    for (std::size_t row = 0; row < height; ++row) fill(call, static_cast<char*>(pointer) + row * pitch, value, width);
    return cudaSuccess;
  });
}

cudaError_t copy_3d(const char* call, const cudaMemcpy3DParms* p) {
  return api([&] {
    if (!p) return cudaErrorInvalidValue;
    if (p->srcArray || p->dstArray)
      throw Failure{cudaErrorNotSupported, std::string(call) + " with arrays is not simulated"};
    const auto at = [](const cudaPitchedPtr& base, const cudaPos& pos, std::size_t y, std::size_t z) {
      return static_cast<char*>(base.ptr) + ((pos.z + z) * base.ysize + pos.y + y) * base.pitch + pos.x;
    };
    for (std::size_t z = 0; z < p->extent.depth; ++z) {
      for (std::size_t y = 0; y < p->extent.height; ++y) {
        copy_bytes(call, at(p->dstPtr, p->dstPos, y, z), at(p->srcPtr, p->srcPos, y, z), p->extent.width, p->kind);
      }
    }
    return cudaSuccess;
  });
}

}  // namespace

extern "C" {

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return copy("cudaMemcpy", to, from, bytes, kind);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return is_stream(stream) ? copy("cudaMemcpyAsync", to, from, bytes, kind) : remember(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaMemcpyPeer(void* to, int, const void* from, int, std::size_t bytes) {
  return copy("cudaMemcpyPeer", to, from, bytes, cudaMemcpyDeviceToDevice);
}

cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, std::size_t bytes, cudaStream_t) {
  return copy("cudaMemcpyPeerAsync", to, from, bytes, cudaMemcpyDeviceToDevice);
}

cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                         std::size_t height, cudaMemcpyKind kind) {
  return copy_rows("cudaMemcpy2D", to, to_pitch, from, from_pitch, width, height, kind);
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t) {
  return copy_rows("cudaMemcpy2DAsync", to, to_pitch, from, from_pitch, width, height, kind);
}

cudaError_t cudaMemcpy3D(const cudaMemcpy3DParms* parameters) {
  return copy_3d("cudaMemcpy3D", parameters);
}

cudaError_t cudaMemcpy3DAsync(const cudaMemcpy3DParms* parameters, cudaStream_t) {
  return copy_3d("cudaMemcpy3DAsync", parameters);
}

cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from, std::size_t bytes, std::size_t offset,
                               cudaMemcpyKind kind) {
  return copy_symbol("cudaMemcpyToSymbol", symbol, const_cast<void*>(from), bytes, offset, kind, true);
}

cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* from, std::size_t bytes, std::size_t offset,
                                    cudaMemcpyKind kind, cudaStream_t) {
  return copy_symbol("cudaMemcpyToSymbolAsync", symbol, const_cast<void*>(from), bytes, offset, kind, true);
}

cudaError_t cudaMemcpyFromSymbol(void* to, const void* symbol, std::size_t bytes, std::size_t offset,
                                 cudaMemcpyKind kind) {
  return copy_symbol("cudaMemcpyFromSymbol", symbol, to, bytes, offset, kind, false);
}

cudaError_t cudaMemcpyFromSymbolAsync(void* to, const void* symbol, std::size_t bytes, std::size_t offset,
                                      cudaMemcpyKind kind, cudaStream_t) {
  return copy_symbol("cudaMemcpyFromSymbolAsync", symbol, to, bytes, offset, kind, false);
}

cudaError_t cudaMemset(void* pointer, int value, std::size_t bytes) {
  return fill_rows("cudaMemset", pointer, bytes, value, bytes, 1);
}

cudaError_t cudaMemsetAsync(void* pointer, int value, std::size_t bytes, cudaStream_t stream) {
  if (!is_stream(stream)) return remember(cudaErrorInvalidResourceHandle);
  return fill_rows("cudaMemsetAsync", pointer, bytes, value, bytes, 1);
}

cudaError_t cudaMemset2D(void* pointer, std::size_t pitch, int value, std::size_t width, std::size_t height) {
  return fill_rows("cudaMemset2D", pointer, pitch, value, width, height);
}

cudaError_t cudaMemset2DAsync(void* pointer, std::size_t pitch, int value, std::size_t width, std::size_t height,
                              cudaStream_t) {
  return fill_rows("cudaMemset2DAsync", pointer, pitch, value, width, height);
}

}  // extern "C"
