#include "tools/gpusim/machine/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "tools/gpusim/ptx/error.h"

namespace gpusim {

namespace {

constexpr std::size_t alignment = 256;
// Between neighbours, so that an index that runs over the end does not land in the next allocation unnoticed.
constexpr std::size_t gap = 256;

std::size_t rounded(std::size_t bytes) {
  return (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
}

void* reserve(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

// Makes the range zero, and gives the pages that lie wholly inside back to the system.
void clear_pages(std::uint8_t* begin, std::size_t bytes) {
  constexpr std::size_t page = 4096;
  const std::size_t before = std::min(bytes, (page - reinterpret_cast<std::uintptr_t>(begin) % page) % page);
  const std::size_t inside = (bytes - before) / page * page;
  std::memset(begin, 0, before);
  if (inside > 0) madvise(begin + before, inside, MADV_DONTNEED);
  std::memset(begin + before + inside, 0, bytes - before - inside);
}

}  // namespace

Memory::Memory(std::size_t capacity, bool track)
    : capacity_(capacity), reserved_(2 * capacity + (std::size_t{1} << 30)) {
  // Room for the gaps and for holes nobody fits in. Where so much address space is not to be had, take less.
  void* memory = reserve(reserved_);
  while (memory == nullptr && reserved_ > (std::size_t{64} << 20)) {
    reserved_ /= 2;
    memory = reserve(reserved_);
  }
  if (memory == nullptr) throw Error("no address space for device memory");
  begin_ = end_ = reinterpret_cast<std::uintptr_t>(memory);
  if (track) {
    shadow_ = static_cast<std::uint8_t*>(reserve(reserved_));
    if (shadow_ == nullptr) {
      munmap(memory, reserved_);
      throw Error("no address space to follow initialisation of device memory");
    }
  }
}

Memory::~Memory() {
  munmap(reinterpret_cast<void*>(begin_), reserved_);
  if (shadow_ != nullptr) munmap(shadow_, reserved_);
}

void* Memory::allocate(std::size_t bytes, std::string name, bool is_constant) {
  const std::lock_guard lock(mutex_);
  if (bytes > capacity_ || used_ + bytes > capacity_) return nullptr;
  const std::size_t size = rounded(bytes) + gap;
  // The smallest hole that is large enough, else fresh memory. Where errors are looked for, the other way round: what was
  // freed stays unused as long as there is fresh memory, so that a use after free does not meet a new allocation.
  auto best = holes_.end();
  const bool avoid_holes = tracks() && end_ - begin_ + size <= reserved_;
  for (auto hole = holes_.begin(); hole != holes_.end() && !avoid_holes; ++hole) {
    if (hole->second >= size && (best == holes_.end() || hole->second < best->second)) best = hole;
  }
  std::uintptr_t begin = 0;
  if (best != holes_.end()) {
    begin = best->first;
    const std::size_t rest = best->second - size;
    holes_.erase(best);
    if (rest > 0) holes_[begin + size] = rest;
  } else {
    if (end_ - begin_ + size > reserved_) return nullptr;
    begin = end_;
    end_ += size;
  }
  used_ += bytes;
  allocations_[begin] = {begin, bytes, ++made_, std::move(name), is_constant};
  return reinterpret_cast<void*>(begin);
}

bool Memory::free(void* pointer) {
  const std::lock_guard lock(mutex_);
  const auto found = allocations_.find(reinterpret_cast<std::uintptr_t>(pointer));
  if (found == allocations_.end()) return false;
  std::uintptr_t begin = found->first;
  std::size_t size = rounded(found->second.bytes) + gap;
  used_ -= found->second.bytes;
  allocations_.erase(found);
  if (tracks()) {
    // The pages go back to the system: what was freed is not used again for a long time.
    clear_pages(shadow(begin), size);
    clear_pages(reinterpret_cast<std::uint8_t*>(begin), size);
  } else if (size > (std::size_t{64} << 20)) {
    madvise(reinterpret_cast<void*>(begin), size, MADV_DONTNEED);
  }
  auto after = holes_.lower_bound(begin);
  if (after != holes_.end() && after->first == begin + size) {
    size += after->second;
    after = holes_.erase(after);
  }
  if (after != holes_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == begin) {
      begin = before->first;
      size += before->second;
      holes_.erase(before);
    }
  }
  if (begin + size == end_ && !tracks()) {
    end_ = begin;
  } else {
    holes_[begin] = size;
  }
  return true;
}

std::optional<Allocation> Memory::find_locked(std::uintptr_t address) const {
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return std::nullopt;
  const Allocation& candidate = std::prev(after)->second;
  if (address - candidate.begin >= std::max<std::size_t>(candidate.bytes, 1)) return std::nullopt;
  return candidate;
}

std::optional<Allocation> Memory::find(const void* address) const {
  const std::lock_guard lock(mutex_);
  return find_locked(reinterpret_cast<std::uintptr_t>(address));
}

std::optional<Allocation> Memory::nearest(const void* pointer) const {
  const std::lock_guard lock(mutex_);
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  std::size_t closest = std::size_t{1} << 20;
  std::optional<Allocation> result;
  const auto consider = [&](const Allocation& allocation) {
    const std::uintptr_t end = allocation.begin + allocation.bytes;
    const std::size_t distance = address < allocation.begin ? allocation.begin - address
                                 : address < end            ? 0
                                                            : address - end;
    if (distance < closest) {
      closest = distance;
      result = allocation;
    }
  };
  const auto after = allocations_.upper_bound(address);
  if (after != allocations_.begin()) consider(std::prev(after)->second);
  if (after != allocations_.end()) consider(after->second);
  return result;
}

std::vector<Allocation> Memory::allocations() const {
  const std::lock_guard lock(mutex_);
  std::vector<Allocation> result;
  for (const auto& [begin, allocation] : allocations_) result.push_back(allocation);
  std::sort(result.begin(), result.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
  return result;
}

std::size_t Memory::used() const {
  const std::lock_guard lock(mutex_);
  return used_;
}

void Memory::note_initialised(const void* begin, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  if (shadow_ == nullptr || address < begin_ || address + bytes > end_) return;
  std::memset(shadow(address), 1, bytes);
}

void Memory::copy_initialised(const void* from, void* to, std::size_t bytes) {
  const auto source = reinterpret_cast<std::uintptr_t>(from), target = reinterpret_cast<std::uintptr_t>(to);
  if (shadow_ == nullptr || target < begin_ || target + bytes > end_) return;
  if (source < begin_ || source + bytes > end_) return note_initialised(to, bytes);
  std::memmove(shadow(target), shadow(source), bytes);
}

const void* Memory::first_uninitialised(const void* begin, std::size_t bytes) const {
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  if (shadow_ == nullptr || address < begin_ || address + bytes > end_) return nullptr;
  const void* hole = std::memchr(shadow(address), 0, bytes);
  if (hole == nullptr) return nullptr;
  return reinterpret_cast<const void*>(
      address + static_cast<std::size_t>(static_cast<const std::uint8_t*>(hole) - shadow(address)));
}

}  // namespace gpusim
