// Memory for tensors: one caching pool per device. A training step asks for the same sizes again and again, so blocks
// are kept when they are released, and after the first steps nothing is asked of the system any more. With HEED_CACHE=0
// in the environment nothing is kept, so that tools which watch memory see every block come and go.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/view.h"

namespace heed {

struct MemoryStats {
  std::size_t live_bytes = 0;            // in use by tensors
  std::size_t cached_bytes = 0;          // held for reuse
  std::size_t peak_bytes = 0;            // the most that was live at a time
  std::uint64_t allocations = 0;         // requests served
  std::uint64_t system_allocations = 0;  // of them, those that had to ask the system
};

MemoryStats memory_stats(Device device = {});
// From now on peak_bytes counts from what is live at this moment.
void reset_peak_memory(Device device = {});
// Gives all cached blocks back to the system.
void release_cached_memory(Device device = {});

// A block of device memory, aligned to 64 bytes on the CPU and to 256 on CUDA devices. Thread-safe. Throws heed::Error when
// the memory is not to be had even after the cache was flushed. Builds without NDEBUG fill new memory with NaN, to show
// whoever reads it unset.
class Block {
 public:
  Block(Device device, std::size_t bytes);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_;
  std::size_t capacity_ = 0;  // what the pool reserved: bytes_ rounded up, or a larger block that was free
  Device device_;
};

}  // namespace heed
