#include "kernels/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/error.h"

namespace heed::kernels {
namespace {

constexpr DeviceType device_types[] = {DeviceType::cpu, DeviceType::cuda};

constinit KernelSlot* first_slot = nullptr;

const KernelSlot* find_slot(std::string_view name) {
  const KernelSlot* slot = first_slot;
  while (slot != nullptr && slot->name() != name) slot = slot->next();
  return slot;
}

bool has_variant(const KernelSlot& slot, std::string_view name) {
  for (const Variant& variant : slot.variants()) {
    if (variant.name == name) return true;
  }
  return false;
}

std::string list_of_variants(const KernelSlot& slot) {
  std::string list;
  for (const Variant& variant : slot.variants()) {
    list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", variant.name, name_of(variant.device));
  }
  return list;
}

struct Selection {
  const KernelSlot* slot;
  std::string_view variant;
};

std::vector<Selection> parse(std::string_view setting, std::string_view source) {
  std::vector<Selection> selections;
  // All variants must be known by now: a name that both devices have chooses on both.
  if (!setting.empty()) cuda::load_kernels();
  while (!setting.empty()) {
    const std::string_view entry = setting.substr(0, setting.find(','));
    setting.remove_prefix(std::min(entry.size() + 1, setting.size()));
    const std::size_t equals = entry.find('=');
    if (equals == std::string_view::npos) {
      throw Error(fmt::format("{}: '{}' is not of the form kernel=variant", source, entry));
    }
    const std::string_view name = entry.substr(0, equals);
    const std::string_view variant = entry.substr(equals + 1);
    const KernelSlot* slot = find_slot(name);
    if (slot == nullptr) throw Error(fmt::format("{}: no kernel is called '{}'", source, name));
    if (!has_variant(*slot, variant)) {
      throw Error(fmt::format("{}: {} has no variant '{}', it has {}", source, name, variant, list_of_variants(*slot)));
    }
    selections.push_back({slot, variant});
  }
  return selections;
}

}  // namespace

const KernelSlot* all_kernels() {
  return first_slot;
}

void KernelSlot::add(Variant variant, bool is_default) {
  if (count_ == max_variants) throw Error(fmt::format("{}: more variants than a slot can hold", name_));
  if (count_ == 0) {
    next_ = first_slot;
    first_slot = this;
  }
  const int device = index(variant.device);
  variants_[count_] = variant;
  if (is_default) {
    if (default_[device] >= 0)
      throw Error(fmt::format("{}: two default variants for {}", name_, name_of(variant.device)));
    default_[device] = count_;
  }
  ++count_;
}

void KernelSlot::read_environment() {
  static const bool done = [] {  // an initialisation that throws is tried again by the next caller
    const char* setting = std::getenv("HEED_KERNEL");
    for (const Selection& selection : parse(setting == nullptr ? "" : setting, "HEED_KERNEL")) {
      selection.slot->select_everywhere(selection.variant);
    }
    return true;
  }();
  static_cast<void>(done);
}

int KernelSlot::find(DeviceType device, std::string_view variant) const {
  for (int i = 0; i < count_; ++i) {
    if (variants_[i].device == device && variants_[i].name == variant) return i;
  }
  return -1;
}

const Variant& KernelSlot::chosen(DeviceType device) const {
  read_environment();
  const int i = index(device);
  const int chosen = selected_[i] >= 0 ? selected_[i] : default_[i];
  if (chosen < 0) throw Error(fmt::format("{}: no kernel for {} in this build", name_, name_of(device)));
  return variants_[chosen];
}

std::string_view KernelSlot::selected(DeviceType device) const {
  read_environment();
  const int selected = selected_[index(device)];
  return selected >= 0 ? variants_[selected].name : std::string_view{};
}

void KernelSlot::select(DeviceType device, std::string_view variant) const {
  read_environment();
  if (device == DeviceType::cuda) cuda::load_kernels();  // its variants are not known before
  const int found = variant.empty() ? -1 : find(device, variant);
  if (!variant.empty() && found < 0) {
    throw Error(fmt::format("{}: no variant '{}' for {}", name_, variant, name_of(device)));
  }
  selected_[index(device)] = found;
}

void KernelSlot::select_everywhere(std::string_view variant) const {
  for (const DeviceType device : device_types) {
    if (const int found = find(device, variant); found >= 0) selected_[index(device)] = found;
  }
}

void select_variants(std::string_view setting, std::string_view source) {
  KernelSlot::read_environment();
  for (const Selection& selection : parse(setting, source)) selection.slot->select_everywhere(selection.variant);
}

}  // namespace heed::kernels
