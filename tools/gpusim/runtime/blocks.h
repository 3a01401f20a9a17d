// What the program allocated: device memory, and host memory that kernels may reach.
#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tools/gpusim/runtime/host_place.h"

namespace gpusim {

enum class BlockKind { device, host, managed };

struct Block {
  BlockKind kind;
  std::size_t bytes;
  unsigned flags = 0;  // of cudaHostAlloc
  HostStack stack;     // of the call that made it, where leaks are reported
};

class Blocks {
 public:
  // `name` is the call that allocates, as errors are to show it. nullptr: the GPU has no room.
  void* allocate(BlockKind kind, std::size_t bytes, const char* name, unsigned flags = 0);
  bool free(void* begin, bool host);  // false: nothing of that kind begins there

  // The block that holds the address; `begin` receives where it begins.
  std::optional<Block> find(const void* address, void** begin = nullptr) const;
  std::vector<std::pair<void*, Block>> all() const;
  std::size_t device_bytes() const;  // in use

 private:
  mutable std::mutex mutex_;
  std::unordered_map<void*, Block> blocks_;
  std::size_t device_bytes_ = 0;
};

Blocks& blocks();

}  // namespace gpusim
