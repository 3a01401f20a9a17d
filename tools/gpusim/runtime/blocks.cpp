#include "tools/gpusim/runtime/blocks.h"

#include "tools/gpusim/runtime/simulator.h"

namespace gpusim {

void* Blocks::allocate(BlockKind kind, std::size_t bytes, const char* name, unsigned flags) {
  const std::lock_guard lock(mutex_);
  if (kind == BlockKind::device && bytes > settings().gpu->memory - device_bytes_) return nullptr;
  void* begin = simulator().memory.allocate(bytes, name);
  if (!begin) return nullptr;
  const bool checking = settings().mode == Mode::check;
  const bool asks_for_leaks = checking && settings().report_leaks;
  // What the host writes there by itself nobody sees.
  if (checking && kind != BlockKind::device) simulator().memory.note_initialised(begin, bytes);
  blocks_[begin] = {kind, bytes, flags, asks_for_leaks ? host_stack() : HostStack{}};
  if (kind == BlockKind::device) device_bytes_ += bytes;
  return begin;
}

bool Blocks::free(void* begin, bool host) {
  const std::lock_guard lock(mutex_);
  const auto at = blocks_.find(begin);
  if (at == blocks_.end() || (at->second.kind == BlockKind::host) != host) return false;
  if (at->second.kind == BlockKind::device) device_bytes_ -= at->second.bytes;
  blocks_.erase(at);
  return simulator().memory.free(begin);
}

std::optional<Block> Blocks::find(const void* address, void** begin) const {
  const auto allocation = simulator().memory.find(address);
  if (!allocation) return {};
  const std::lock_guard lock(mutex_);
  const auto at = blocks_.find(reinterpret_cast<void*>(allocation->begin));
  if (at == blocks_.end()) return {};  // a variable of a module
  if (begin) *begin = at->first;
  return at->second;
}

std::vector<std::pair<void*, Block>> Blocks::all() const {
  const std::lock_guard lock(mutex_);
  return {blocks_.begin(), blocks_.end()};
}

std::size_t Blocks::device_bytes() const {
  const std::lock_guard lock(mutex_);
  return device_bytes_;
}

Blocks& blocks() {
  static Blocks& result = *new Blocks;
  return result;
}

}  // namespace gpusim
