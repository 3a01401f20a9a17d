#include "kernels/registry.h"

#include <cstdlib>

namespace heed::kernels {
namespace {

constinit KernelSlot* first_slot = nullptr;

// The variant that HEED_KERNEL names for this slot, or empty. Format: slot=variant[,slot=variant...].
std::string_view variant_from_environment(std::string_view slot) {
  const char* setting = std::getenv("HEED_KERNEL");
  std::string_view rest = setting == nullptr ? "" : setting;
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(entry.size() + 1, rest.size()));
    const std::size_t equals = entry.find('=');
    if (equals != std::string_view::npos && entry.substr(0, equals) == slot) return entry.substr(equals + 1);
  }
  return {};
}

}  // namespace

const KernelSlot* all_kernels() { return first_slot; }

void KernelSlot::add(Variant variant, bool is_default) {
  if (count_ == max_variants) throw Error(std::string(name_) + ": more variants than a slot can hold");
  if (count_ == 0) {
    next_ = first_slot;
    first_slot = this;
  }
  const int device = index(variant.device);
  variants_[count_] = variant;
  if (is_default) {
    if (default_[device] >= 0) throw Error(std::string(name_) + ": two default variants for " + name_of(variant.device));
    default_[device] = count_;
  }
  if (selected_[device] < 0 && variant_from_environment(name_) == variant.name) selected_[device] = count_;
  ++count_;
}

const Variant& KernelSlot::chosen(DeviceType device) const {
  const int i = index(device);
  const int chosen = selected_[i] >= 0 ? selected_[i] : default_[i];
  if (chosen < 0) throw Error(std::string(name_) + ": no kernel for " + name_of(device) + " in this build");
  return variants_[chosen];
}

void KernelSlot::select(DeviceType device, std::string_view variant) const {
  int& selected = selected_[index(device)];
  if (variant.empty()) {
    selected = -1;
    return;
  }
  for (int i = 0; i < count_; ++i) {
    if (variants_[i].device == device && variants_[i].name == variant) {
      selected = i;
      return;
    }
  }
  throw Error(std::string(name_) + ": no variant '" + std::string(variant) + "' for " + name_of(device));
}

}  // namespace heed::kernels
