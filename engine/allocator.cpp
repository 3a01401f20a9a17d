#include "engine/allocator.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "engine/layout.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace heed {
namespace {

constexpr std::size_t alignment = 64;

constexpr std::size_t rounded(std::size_t bytes) {
  return std::max<std::size_t>((bytes + alignment - 1) / alignment * alignment, alignment);
}

class Pool {
 public:
  // Best fit within twice the size: a block much larger than the request would be missed by the request it fits.
  void* allocate(std::size_t bytes, std::size_t& capacity) {
    const std::lock_guard lock(mutex_);
    check(bytes <= PTRDIFF_MAX, "out of memory on cpu: requested {} bytes, more than any object may have", bytes);
    const std::size_t wanted = rounded(bytes);
    ++stats_.allocations;
    void* data = nullptr;
    for (auto it = free_.lower_bound(wanted); it != free_.end() && it->first <= 2 * wanted; ++it) {
      if (it->second.empty()) continue;
      capacity = it->first;
      data = it->second.back();
      it->second.pop_back();
      stats_.cached_bytes -= capacity;
      break;
    }
    if (data == nullptr) {
      data = from_system(wanted);
      capacity = wanted;
    }
    stats_.live_bytes += capacity;
    stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
    ASAN_UNPOISON_MEMORY_REGION(data, bytes);
    return data;
  }

  void release(void* data, std::size_t capacity) {
    const std::lock_guard lock(mutex_);
    ASAN_POISON_MEMORY_REGION(data, capacity);
    free_[capacity].push_back(data);
    stats_.live_bytes -= capacity;
    stats_.cached_bytes += capacity;
  }

  void flush() {
    const std::lock_guard lock(mutex_);
    flush_locked();
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak_bytes = stats_.live_bytes;
  }

 private:
  void* from_system(std::size_t bytes) {
    ++stats_.system_allocations;
    void* data = std::aligned_alloc(alignment, bytes);
    if (data == nullptr) {
      flush_locked();
      data = std::aligned_alloc(alignment, bytes);
    }
    check(data != nullptr, "out of memory on cpu: requested {} bytes; live {}, cached {}, peak {}", bytes,
          stats_.live_bytes, stats_.cached_bytes, stats_.peak_bytes);
    ASAN_POISON_MEMORY_REGION(data, bytes);
    return data;
  }

  void flush_locked() {
    for (auto& [capacity, blocks] : free_) {
      for (void* data : blocks) {
        ASAN_UNPOISON_MEMORY_REGION(data, capacity);
        std::free(data);
      }
      stats_.cached_bytes -= capacity * blocks.size();
    }
    free_.clear();
  }

  std::mutex mutex_;
  MemoryStats stats_;
  std::map<std::size_t, std::vector<void*>> free_;  // by capacity; the vectors keep their own memory when they empty
};

// Never destroyed: tensors with static storage may be released after the end of main().
Pool& pool_for(Device device) {
  check(device.type == DeviceType::cpu, "allocate: no {} memory in this build", device);
  static Pool* const cpu = new Pool;
  return *cpu;
}

}  // namespace

MemoryStats memory_stats(Device device) {
  return pool_for(device).stats();
}
void reset_peak_memory(Device device) {
  pool_for(device).reset_peak();
}
void release_cached_memory(Device device) {
  pool_for(device).flush();
}

Block::Block(Device device, std::size_t bytes) : bytes_(bytes), device_(device) {
  data_ = pool_for(device).allocate(bytes, capacity_);
#ifndef NDEBUG
  std::memset(data_, 0xff, bytes);  // NaN in every floating dtype
#endif
}

Block::~Block() {
  pool_for(device_).release(data_, capacity_);
}

}  // namespace heed
