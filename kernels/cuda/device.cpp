// kernels/cuda/device.h: loads libheed_cuda.so and passes every call on to it.
#include "kernels/cuda/device.h"

#include <dlfcn.h>

#include <filesystem>
#include <string_view>

#include "kernels/cuda/interface_stamp.h"
#include "kernels/cuda/runtime.h"
#include "kernels/error.h"

namespace heed::kernels::cuda {
namespace {

constexpr const char* library_name = "libheed_cuda.so.0";

struct Library {
  const Runtime* runtime = nullptr;
  std::string missing;  // why there is none
};

// The folder of the library that this function is in.
std::filesystem::path own_folder() {
  Dl_info own = {};
  dladdr(reinterpret_cast<const void*>(&own_folder), &own);
  return std::filesystem::path(own.dli_fname == nullptr ? "" : own.dli_fname).parent_path();
}

// Loading the library also puts its kernels into their slots. It is never unloaded.
Library load() {
  const std::filesystem::path file = own_folder() / library_name;
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) {
    return {.missing =
                std::string("this build has no CUDA. Where nvcc is installed, tools/setup heed_cuda makes it: ") +
                library_name + ", which belongs beside libheed.so"};
  }
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {.missing = std::string("heed's CUDA kernels cannot be loaded: ") + dlerror()};
  const auto* runtime = static_cast<const Runtime*>(dlsym(library, "heed_cuda_runtime"));
  if (runtime == nullptr || std::string_view(runtime->interface) != interface_stamp) {
    return {.missing =
                file.string() + " was built from other sources than libheed.so: tools/setup heed_cuda makes it anew"};
  }
  return {.runtime = runtime};
}

const Library& library() {
  static const Library loaded = load();
  return loaded;
}

const Runtime& runtime(const char* operation) {
  if (library().runtime == nullptr) throw Error(std::string(operation) + ": " + library().missing);
  return *library().runtime;
}

}  // namespace

void load_kernels() {
  library();
}

int device_count() {
  return library().runtime == nullptr ? 0 : library().runtime->device_count();
}
std::string why_unavailable(int index) {
  if (library().runtime != nullptr) return library().runtime->why_unavailable(index);
  return "cuda:" + std::to_string(index) + ": " + library().missing;
}
DeviceProperties device_properties(int index) {
  if (const std::string reason = why_unavailable(index); !reason.empty()) throw Error(reason);
  return library().runtime->device_properties(index);
}

void* allocate(int device, std::size_t bytes) {
  return runtime("allocate").allocate(device, bytes);
}
void release(int, void* data) {
  runtime("release").release(data);
}
void* allocate_pinned(std::size_t bytes) {
  return runtime("allocate_pinned").allocate_pinned(bytes);
}
void release_pinned(void* data) {
  runtime("release_pinned").release_pinned(data);
}

void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  runtime("copy_to_device").copy_to_device(to, from, bytes, stream);
}
void copy_from_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  runtime("copy_from_device").copy_from_device(to, from, bytes, stream);
}
void copy_between_devices(void* to, int to_device, const void* from, std::size_t bytes, Stream stream) {
  runtime("copy_between_devices").copy_between_devices(to, to_device, from, bytes, stream);
}
void set_bytes(void* to, std::uint8_t value, std::size_t bytes, Stream stream) {
  runtime("set_bytes").set_bytes(to, value, bytes, stream);
}
void synchronize(Stream stream) {
  runtime("synchronize").synchronize(stream);
}

Event::Event(int device) : handle_(runtime("Event").create_event(device)) {}
Event::~Event() {
  library().runtime->destroy_event(handle_);
}
void Event::record(Stream stream) {
  library().runtime->record_event(handle_, stream);
}
bool Event::is_done() const {
  return library().runtime->event_is_done(handle_);
}
void Event::synchronize() const {
  library().runtime->synchronize_event(handle_);
}
void Event::wait_in(Stream stream) const {
  library().runtime->wait_for_event(stream, handle_);
}
double Event::milliseconds_since(const Event& earlier) const {
  return library().runtime->milliseconds_between(earlier.handle_, handle_);
}

}  // namespace heed::kernels::cuda
