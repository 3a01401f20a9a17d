#include "engine/device.h"

#include <atomic>
#include <charconv>

#include "engine/layout.h"
#include "kernels/cuda/device.h"

namespace heed {
namespace {
constinit std::atomic<Device> default_now = Device{};
}

Device default_device() {
  return default_now.load(std::memory_order_relaxed);
}
void set_default_device(Device device) {
  require_available(device);
  default_now = device;
}

Device parse_device(std::string_view text) {
  if (text == "cpu") return {};
  if (text == "cuda") return {DeviceType::cuda, 0};
  constexpr std::string_view prefix = "cuda:";
  Device device{DeviceType::cuda, -1};
  if (text.starts_with(prefix)) {
    const std::string_view number = text.substr(prefix.size());
    const auto [end, error] = std::from_chars(number.begin(), number.end(), device.index);
    if (error == std::errc{} && end == number.end() && device.index >= 0) return device;
  }
  fail("device '{}': expected cpu, cuda or cuda:N", text);
}

int cuda_device_count() {
  return kernels::cuda::device_count();
}

bool is_available(Device device) {
  return device.type == DeviceType::cpu || kernels::cuda::why_unavailable(device.index).empty();
}

void require_available(Device device) {
  if (device.type == DeviceType::cpu) return;
  if (const std::string reason = kernels::cuda::why_unavailable(device.index); !reason.empty()) throw Error(reason);
}

void synchronize(Device device) {
  if (device.type == DeviceType::cuda) kernels::cuda::synchronize({device, nullptr});
}

}  // namespace heed
