#include "tools/gpusim/runtime/streams.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "tools/gpusim/runtime/simulator.h"
#include "tools/gpusim/runtime/status.h"

namespace gpusim {
namespace {

// Handles are the addresses of these; a table of the live ones tells a handle from a stray pointer.
template <class Object>
class Handles {
 public:
  Object* create(Object object) {
    auto owner = std::make_unique<Object>(std::move(object));
    const std::lock_guard lock(mutex_);
    Object* handle = owner.get();
    objects_[handle] = std::move(owner);
    return handle;
  }
  Object* find(const void* handle) {  // nullptr: not one of these
    const std::lock_guard lock(mutex_);
    const auto at = objects_.find(handle);
    return at == objects_.end() ? nullptr : at->second.get();
  }
  bool destroy(const void* handle) {
    const std::lock_guard lock(mutex_);
    return objects_.erase(handle) > 0;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<const void*, std::unique_ptr<Object>> objects_;
};

struct Stream {
  unsigned flags = cudaStreamDefault;
  int priority = 0;
  unsigned long long id = 0;
};

struct Event {
  unsigned flags = cudaEventDefault;
  std::optional<std::chrono::steady_clock::time_point> recorded = {};
};

Handles<Stream>& streams() {
  static auto& result = *new Handles<Stream>;
  return result;
}

Handles<Event>& events() {
  static auto& result = *new Handles<Event>;
  return result;
}

constexpr int least_priority = 0, greatest_priority = -5;

Stream default_stream;

Stream& stream_of(cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread) return default_stream;
  Stream* found = streams().find(handle);
  if (!found) throw Failure{cudaErrorInvalidResourceHandle};
  return *found;
}

Event& event_of(cudaEvent_t handle) {
  Event* found = events().find(handle);
  if (!found) throw Failure{cudaErrorInvalidResourceHandle};
  return *found;
}

cudaError_t create_stream(cudaStream_t* stream, unsigned flags, int priority) {
  return api([&] {
    if (!stream || flags > cudaStreamNonBlocking) return cudaErrorInvalidValue;
    static unsigned long long made = 2;
    const int allowed = std::min(std::max(priority, greatest_priority), least_priority);
    *stream = reinterpret_cast<cudaStream_t>(streams().create({flags, allowed, ++made}));
    return cudaSuccess;
  });
}

cudaError_t create_event(cudaEvent_t* event, unsigned flags) {
  return api([&] {
    constexpr unsigned known = cudaEventBlockingSync | cudaEventDisableTiming | cudaEventInterprocess;
    if (!event || (flags & ~known) != 0) return cudaErrorInvalidValue;
    *event = reinterpret_cast<cudaEvent_t>(events().create({flags}));
    return cudaSuccess;
  });
}

cudaError_t wait_for(cudaStream_t stream) {
  return api([&] {
    stream_of(stream);
    flush_output();
    return cudaSuccess;
  });
}

}  // namespace

bool is_stream(cudaStream_t stream) {
  return stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread || streams().find(stream);
}

}  // namespace gpusim

using namespace gpusim;

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return create_stream(stream, cudaStreamDefault, 0);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return create_stream(stream, flags, 0);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return create_stream(stream, flags, priority);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return api([&] { return streams().destroy(stream) ? cudaSuccess : cudaErrorInvalidResourceHandle; });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return wait_for(stream);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return wait_for(stream);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return api([&] {
    stream_of(stream);
    event_of(event);
    return flags <= cudaEventWaitExternal ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) {
  return api([&] {
    *flags = stream_of(stream).flags;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  return api([&] {
    *priority = stream_of(stream).priority;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long* id) {
  return api([&] {
    *id = stream == cudaStreamPerThread ? 2 : stream_of(stream).id;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetDevice(cudaStream_t stream, int* device) {
  return api([&] {
    stream_of(stream);
    *device = 0;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return api([&] {
    stream_of(stream);
    *status = cudaStreamCaptureStatusNone;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return api([&] {
    if (least) *least = least_priority;
    if (greatest) *greatest = greatest_priority;
    return cudaSuccess;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return api([&] {
    stream_of(stream);
    if (!function) return cudaErrorInvalidValue;
    function(data);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t callback, void* data, unsigned flags) {
  return api([&] {
    stream_of(stream);
    if (!callback || flags != 0) return cudaErrorInvalidValue;
    callback(stream, cudaSuccess, data);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamAttachMemAsync(cudaStream_t stream, void*, std::size_t, unsigned) {
  return api([&] {
    stream_of(stream);
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return create_event(event, cudaEventDefault);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return create_event(event, flags);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return api([&] { return events().destroy(event) ? cudaSuccess : cudaErrorInvalidResourceHandle; });
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return api([&] {
    stream_of(stream);
    event_of(event).recorded = std::chrono::steady_clock::now();
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, 0);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return api([&] {
    event_of(event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return api([&] {
    event_of(event);
    flush_output();
    return cudaSuccess;
  });
}

// The time that the simulation took, not what a GPU would need.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return api([&] {
    if (!milliseconds) return cudaErrorInvalidValue;
    const Event &first = event_of(start), &second = event_of(end);
    const bool timed = !((first.flags | second.flags) & cudaEventDisableTiming);
    if (!timed || !first.recorded || !second.recorded) return cudaErrorInvalidResourceHandle;
    *milliseconds = std::chrono::duration<float, std::milli>(*second.recorded - *first.recorded).count();
    return cudaSuccess;
  });
}

}  // extern "C"
