#include "engine/allocator.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "tests/harness/examine.h"

namespace heed::test {
namespace {

std::unique_ptr<Block> block(std::size_t bytes) {
  return std::make_unique<Block>(Device{}, bytes);
}

// Starts from an empty cache, so that no block of an earlier case comes up.
struct EmptyCache {
  EmptyCache() { release_cached_memory(); }
};

}  // namespace

TEST_CASE("allocator: blocks are aligned, writable and apart") {
  std::vector<std::unique_ptr<Block>> blocks;
  for (const std::size_t bytes : {0, 1, 63, 64, 65, 1000, 100000}) {
    for (int i = 0; i < 3; ++i) {
      blocks.push_back(block(bytes));
      CHECK_EQ(reinterpret_cast<std::uintptr_t>(blocks.back()->data()) % 64, 0);
      CHECK_EQ(blocks.back()->bytes(), bytes);
      std::memset(blocks.back()->data(), static_cast<int>(blocks.size()), bytes);
    }
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto* bytes = static_cast<const unsigned char*>(blocks[i]->data());
    for (std::size_t j = 0; j < blocks[i]->bytes(); ++j) REQUIRE_EQ(bytes[j], i + 1);
    for (std::size_t j = 0; j < i; ++j) CHECK_NE(blocks[i]->data(), blocks[j]->data());
  }
}

TEST_CASE("allocator: a released block serves the next request of its size, without the system") {
  const EmptyCache empty_cache;
  auto first = block(1000);
  void* const data = first->data();
  first.reset();
  const MemoryStats before = memory_stats();
  auto second = block(1000);
  CHECK_EQ(second->data(), data);
  CHECK_EQ(memory_stats().system_allocations, before.system_allocations);
  CHECK_EQ(memory_stats().allocations, before.allocations + 1);
}

TEST_CASE("allocator: the smallest block that fits is reused, but none more than twice too large") {
  const EmptyCache empty_cache;
  auto small = block(1024), medium = block(1536), large = block(4096);
  const void* const medium_data = medium->data();
  const void* const large_data = large->data();
  small.reset();
  medium.reset();
  large.reset();
  const MemoryStats before = memory_stats();
  CHECK_EQ(block(1100)->data(), medium_data);
  CHECK_EQ(block(2048)->data(), large_data);
  CHECK_EQ(memory_stats().system_allocations, before.system_allocations);
  CHECK_NE(block(1984)->data(), large_data);
  CHECK_EQ(memory_stats().system_allocations, before.system_allocations + 1);
}

TEST_CASE("allocator: the statistics follow what is alive, cached and at its peak") {
  const EmptyCache empty_cache;
  const MemoryStats start = memory_stats();
  CHECK_EQ(start.cached_bytes, 0);
  reset_peak_memory();
  auto a = block(100), b = block(640);
  CHECK_EQ(memory_stats().live_bytes, start.live_bytes + 128 + 640);
  a.reset();
  CHECK_EQ(memory_stats().live_bytes, start.live_bytes + 640);
  CHECK_EQ(memory_stats().cached_bytes, 128);
  CHECK_EQ(memory_stats().peak_bytes, start.live_bytes + 128 + 640);
  reset_peak_memory();
  CHECK_EQ(memory_stats().peak_bytes, start.live_bytes + 640);
  release_cached_memory();
  CHECK_EQ(memory_stats().cached_bytes, 0);
  b.reset();
  CHECK_EQ(memory_stats().live_bytes, start.live_bytes);
}

TEST_CASE("allocator: running out of memory says what was asked for and what is held") {
  const EmptyCache empty_cache;
  block(6400).reset();
  const MemoryStats before = memory_stats();
  const std::string message = message_of([] { block(std::size_t{1} << 62); });
  CHECK_EQ(message, fmt::format("out of memory on cpu: requested {} bytes; live {}, cached 0, peak {}",
                                std::size_t{1} << 62, before.live_bytes, before.peak_bytes));
  CHECK_EQ(memory_stats().live_bytes, before.live_bytes);
  CHECK_EQ(memory_stats().cached_bytes, 0);  // the cache was given up before giving up
  CHECK_EQ(message_of([] { block(SIZE_MAX); }),
           fmt::format("out of memory on cpu: requested {} bytes, more than any object may have", SIZE_MAX));
}

#ifndef NDEBUG
TEST_CASE("allocator: in debug builds new memory is NaN") {
  const auto b = block(64);
  CHECK(std::isnan(static_cast<const float*>(b->data())[15]));
  CHECK(std::isnan(static_cast<const double*>(b->data())[7]));
}
#endif

TEST_CASE("allocator: threads share the pool") {
  const MemoryStats before = memory_stats();
  std::atomic<int> overwritten = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t, &overwritten] {
      std::vector<std::unique_ptr<Block>> mine;
      for (int i = 0; i < 2000; ++i) {
        mine.push_back(block(static_cast<std::size_t>(64 + i % 7 * 64)));
        std::memset(mine.back()->data(), t, mine.back()->bytes());
        if (mine.size() < 8) continue;
        const auto* bytes = static_cast<const unsigned char*>(mine.front()->data());
        for (std::size_t j = 0; j < mine.front()->bytes(); ++j) overwritten += bytes[j] != t;
        mine.erase(mine.begin());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(overwritten, 0);
  CHECK_EQ(memory_stats().live_bytes, before.live_bytes);
  CHECK_EQ(memory_stats().allocations, before.allocations + 8000);
}

}  // namespace heed::test
