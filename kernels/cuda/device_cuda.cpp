// The CUDA run-time behind kernels/cuda/device.h, and check.h.
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>

#include "kernels/cuda/check.h"
#include "kernels/cuda/interface_stamp.h"
#include "kernels/cuda/runtime.h"
#include "kernels/error.h"

namespace heed::kernels::cuda {
namespace {

// The number of devices or why there are none. The runtime is asked once; a driver does not come and go.
struct Census {
  int count = 0;
  cudaError_t status = cudaGetDeviceCount(&count);
};

const Census& census() {
  static const Census census = [] {
    Census found;
    if (found.status != cudaSuccess) {
      found.count = 0;
      static_cast<void>(cudaGetLastError());  // or the next check would find it
    }
    return found;
  }();
  return census;
}

bool synchronous() {
  static const bool asked = [] {
    const char* setting = std::getenv("HEED_SYNC");
    return setting != nullptr && *setting != '\0' && std::strcmp(setting, "0") != 0;
  }();
  return asked;
}

cudaEvent_t native(void* event) {
  return static_cast<cudaEvent_t>(event);
}

}  // namespace

void check(cudaError_t status, const char* operation) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // reported now; a sticky error comes again anyway
  throw Error(fmt::format("{}: CUDA error {} ({})", operation, static_cast<int>(status), cudaGetErrorString(status)));
}

void fail(const char* operation, const char* what) {
  throw Error(fmt::format("{}: {}", operation, what));
}

void check_launch(const char* kernel, cudaStream_t stream) {
  check(cudaGetLastError(), kernel);
  if (synchronous()) check(cudaStreamSynchronize(stream), kernel);
}

// The functions of device.h, as Runtime holds them.
namespace calls {
namespace {

int device_count() {
  return census().count;
}

std::string why_unavailable(int index) {
  const auto& [count, status] = census();
  if (index >= 0 && index < count) return "";
  const auto because = [&](auto reason) { return fmt::format("cuda:{}: {}", index, reason); };
  if (status == cudaErrorInsufficientDriver || status == cudaErrorStubLibrary)
    return because("no NVIDIA driver on this machine, or one older than this build's CUDA");
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0))
    return because("no NVIDIA GPU in this machine");
  if (status != cudaSuccess)
    return because(fmt::format("CUDA error {} ({})", static_cast<int>(status), cudaGetErrorString(status)));
  return because(fmt::format("this machine has {} CUDA device{}", count, count == 1 ? "" : "s"));
}

DeviceProperties device_properties(int index) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "device_properties");
  return {properties.name, properties.major, properties.minor, properties.totalGlobalMem,
          properties.multiProcessorCount};
}

void* allocate(int device, std::size_t bytes) {
  const CurrentDevice current(device);
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    return nullptr;
  }
  check(status, "allocate");
  return data;
}

// Also called when the process ends, when the runtime may be gone already: then there is nothing left to release.
void release(void* data) {
  static_cast<void>(cudaFree(data));
}

void* allocate_pinned(std::size_t bytes) {
  void* data = nullptr;
  const cudaError_t status = cudaMallocHost(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    return nullptr;
  }
  check(status, "allocate_pinned");
  return data;
}

void release_pinned(void* data) {
  static_cast<void>(cudaFreeHost(data));
}

void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  const CurrentDevice current(stream.device.index);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, cuda::native(stream)), "copy_to_device");
}

void copy_from_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  const CurrentDevice current(stream.device.index);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, cuda::native(stream)), "copy_from_device");
}

void copy_between_devices(void* to, int to_device, const void* from, std::size_t bytes, Stream stream) {
  const CurrentDevice current(stream.device.index);
  check(cudaMemcpyPeerAsync(to, to_device, from, stream.device.index, bytes, cuda::native(stream)),
        "copy_between_devices");
}

void set_bytes(void* to, std::uint8_t value, std::size_t bytes, Stream stream) {
  const CurrentDevice current(stream.device.index);
  check(cudaMemsetAsync(to, value, bytes, cuda::native(stream)), "set_bytes");
}

void synchronize(Stream stream) {
  const CurrentDevice current(stream.device.index);
  check(cudaStreamSynchronize(cuda::native(stream)), "synchronize");
}

void* create_event(int device) {
  const CurrentDevice current(device);
  cudaEvent_t event;
  check(cudaEventCreate(&event), "Event");
  return event;
}

void destroy_event(void* event) {
  static_cast<void>(cudaEventDestroy(native(event)));
}

void record_event(void* event, Stream stream) {
  const CurrentDevice current(stream.device.index);
  check(cudaEventRecord(native(event), cuda::native(stream)), "Event::record");
}

bool event_is_done(void* event) {
  const cudaError_t status = cudaEventQuery(native(event));
  if (status == cudaErrorNotReady) {
    static_cast<void>(cudaGetLastError());
    return false;
  }
  check(status, "Event::is_done");
  return true;
}

void synchronize_event(void* event) {
  check(cudaEventSynchronize(native(event)), "Event::synchronize");
}

void wait_for_event(Stream stream, void* event) {
  const CurrentDevice current(stream.device.index);
  check(cudaStreamWaitEvent(cuda::native(stream), native(event), 0), "Event::wait_in");
}

double milliseconds_between(void* earlier, void* later) {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, native(earlier), native(later)), "Event::milliseconds_since");
  return milliseconds;
}

}  // namespace
}  // namespace calls
}  // namespace heed::kernels::cuda

constexpr heed::kernels::cuda::Runtime heed_cuda_runtime = [] {
  using namespace heed::kernels::cuda;
  return Runtime{
      .interface = interface_stamp,
      .device_count = &calls::device_count,
      .why_unavailable = &calls::why_unavailable,
      .device_properties = &calls::device_properties,
      .allocate = &calls::allocate,
      .release = &calls::release,
      .allocate_pinned = &calls::allocate_pinned,
      .release_pinned = &calls::release_pinned,
      .copy_to_device = &calls::copy_to_device,
      .copy_from_device = &calls::copy_from_device,
      .copy_between_devices = &calls::copy_between_devices,
      .set_bytes = &calls::set_bytes,
      .synchronize = &calls::synchronize,
      .create_event = &calls::create_event,
      .destroy_event = &calls::destroy_event,
      .record_event = &calls::record_event,
      .event_is_done = &calls::event_is_done,
      .synchronize_event = &calls::synchronize_event,
      .wait_for_event = &calls::wait_for_event,
      .milliseconds_between = &calls::milliseconds_between,
  };
}();
