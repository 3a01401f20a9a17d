// kernels/cuda/device.h in a build without CUDA.
#include "kernels/cuda/device.h"

#include "kernels/error.h"

namespace heed::kernels::cuda {
namespace {

[[noreturn]] void refuse(const char* what) {
  throw Error(std::string(what) + ": this build has no CUDA");
}

}  // namespace

int device_count() {
  return 0;
}
std::string why_unavailable(int index) {
  return "cuda:" + std::to_string(index) + ": this build has no CUDA";
}
DeviceProperties device_properties(int index) {
  throw Error(why_unavailable(index));
}

void* allocate(int, std::size_t) {
  refuse("allocate");
}
void release(int, void*) {}
void* allocate_pinned(std::size_t) {
  refuse("allocate_pinned");
}
void release_pinned(void*) {}

void copy_to_device(void*, const void*, std::size_t, Stream) {
  refuse("copy_to_device");
}
void copy_from_device(void*, const void*, std::size_t, Stream) {
  refuse("copy_from_device");
}
void copy_between_devices(void*, int, const void*, std::size_t, Stream) {
  refuse("copy_between_devices");
}
void set_bytes(void*, std::uint8_t, std::size_t, Stream) {
  refuse("set_bytes");
}
void synchronize(Stream) {
  refuse("synchronize");
}

Event::Event(int device) : device_(device) {
  refuse("Event");
}
Event::~Event() = default;
void Event::record(Stream) {}
bool Event::is_done() const {
  return true;
}
void Event::synchronize() const {}
void Event::wait_in(Stream) const {}
double Event::milliseconds_since(const Event&) const {
  return 0;
}

}  // namespace heed::kernels::cuda
