#include "engine/allocator.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/device.h"
#include "engine/layout.h"
#include "kernels/cuda/device.h"

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

// HEED_CACHE=0: whatever watches over memory (a sanitizer, a simulator) sees every block come and go, at its true size.
bool caches() {
  static const bool answer = [] {
    const char* setting = std::getenv("HEED_CACHE");
    return setting == nullptr || std::strcmp(setting, "0") != 0;
  }();
  return answer;
}

// Blocks of a CUDA device are released while kernels that use them are still queued. That is no danger: all work of a
// device is in one stream, so whoever gets the block next comes after them.
class Pool {
 public:
  explicit Pool(Device device) : device_(device) {}

  // Best fit within twice the size: a block much larger than the request would be missed by the request it fits.
  void* allocate(std::size_t bytes, std::size_t& capacity) {
    const std::lock_guard lock(mutex_);
    check(bytes <= PTRDIFF_MAX, "out of memory on {}: requested {} bytes, more than any object may have", device_,
          bytes);
    const bool exactly = !caches() && device_.type != DeviceType::cpu;
    const std::size_t wanted = exactly ? std::max<std::size_t>(bytes, 1) : rounded(bytes);
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
    if (is_cpu()) ASAN_UNPOISON_MEMORY_REGION(data, bytes);
    return data;
  }

  void release(void* data, std::size_t capacity) {
    const std::lock_guard lock(mutex_);
    stats_.live_bytes -= capacity;
    if (!caches()) return to_system(data, capacity);
    if (is_cpu()) ASAN_POISON_MEMORY_REGION(data, capacity);
    free_[capacity].push_back(data);
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
  bool is_cpu() const { return device_.type == DeviceType::cpu; }

  void* from_system(std::size_t bytes) {
    ++stats_.system_allocations;
    const auto ask = [&] {
      return is_cpu() ? std::aligned_alloc(alignment, bytes) : kernels::cuda::allocate(device_.index, bytes);
    };
    void* data = ask();
    if (data == nullptr) {
      flush_locked();
      data = ask();
    }
    check(data != nullptr, "out of memory on {}: requested {} bytes; live {}, cached {}, peak {}", device_, bytes,
          stats_.live_bytes, stats_.cached_bytes, stats_.peak_bytes);
    if (is_cpu()) ASAN_POISON_MEMORY_REGION(data, bytes);
    return data;
  }

  void to_system(void* data, std::size_t capacity) {
    if (!is_cpu()) return kernels::cuda::release(device_.index, data);
    ASAN_UNPOISON_MEMORY_REGION(data, capacity);
    std::free(data);
  }

  void flush_locked() {
    for (auto& [capacity, blocks] : free_) {
      for (void* data : blocks) to_system(data, capacity);
      stats_.cached_bytes -= capacity * blocks.size();
    }
    free_.clear();
  }

  Device device_;
  std::mutex mutex_;
  MemoryStats stats_;
  std::map<std::size_t, std::vector<void*>> free_;  // by capacity; the vectors keep their own memory when they empty
};

// Never destroyed: tensors with static storage may be released after the end of main().
Pool& pool_for(Device device) {
  static Pool* const cpu = new Pool({});
  if (device.type == DeviceType::cpu) return *cpu;
  require_available(device);
  static const auto& cuda = *[] {
    auto* pools = new std::vector<std::unique_ptr<Pool>>;
    for (int i = 0; i < cuda_device_count(); ++i) pools->push_back(std::make_unique<Pool>(Device{DeviceType::cuda, i}));
    return pools;
  }();
  return *cuda[static_cast<std::size_t>(device.index)];
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
  constexpr int nan = 0xff;  // in every byte: NaN in every floating dtype
  if (device.type == DeviceType::cpu)
    std::memset(data_, nan, bytes);
  else
    kernels::cuda::set_bytes(data_, nan, bytes, {device, nullptr});
#endif
}

Block::~Block() {
  pool_for(device_).release(data_, capacity_);
}

}  // namespace heed
