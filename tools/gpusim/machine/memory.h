// Device memory: one reserved range of host addresses, cut into allocations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace gpusim {

struct Allocation {
  std::uintptr_t begin = 0;
  std::size_t bytes = 0;
  std::size_t number = 0;  // 1 for the first one ever made
  std::string name;        // what errors call it: "#3 (cudaMalloc, 4096 bytes)" is made from number, name, bytes
  bool is_constant = false;
};

class Memory {
 public:
  // `capacity` is the device's memory in bytes; host memory is taken only where it is touched. With `track`, every byte
  // remembers whether it was ever written (check mode reads it); it must be set if launches use Mode::check.
  explicit Memory(std::size_t capacity, bool track = false);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Aligned to 256 bytes, contents undefined (in fact 0xFF where memory is reused, zero where it is fresh).
  // nullptr when the device has no room. Never nullptr for 0 bytes.
  void* allocate(std::size_t bytes, std::string name = "cudaMalloc", bool is_constant = false);
  bool free(void* begin);  // false: not the beginning of an allocation

  // The allocation that holds the address, if any.
  std::optional<Allocation> find(const void* address) const;
  // The one whose end or beginning is closest to an address that find() does not know, within 1 MiB.
  std::optional<Allocation> nearest(const void* address) const;

  std::vector<Allocation> allocations() const;  // what is allocated now, oldest first (module variables included)
  std::size_t used() const;
  std::size_t capacity() const { return capacity_; }

  // Host code wrote these bytes (memcpy, memset): from now on they count as initialised. A no-op without `track`.
  void note_initialised(const void* begin, std::size_t bytes);
  // Copies between device ranges copy what is known about them.
  void copy_initialised(const void* from, void* to, std::size_t bytes);
  // The first byte of the range that was never written; nullptr if there is none.
  const void* first_uninitialised(const void* begin, std::size_t bytes) const;

  // For the interpreter.
  bool tracks() const { return shadow_ != nullptr; }
  std::uintptr_t begin() const { return begin_; }
  std::uintptr_t end() const { return end_; }  // of what was ever allocated: a plain access must lie between the two
  std::uint8_t* shadow(std::uintptr_t address) const { return shadow_ + (address - begin_); }  // 1: initialised

 private:
  std::optional<Allocation> find_locked(std::uintptr_t address) const;

  std::size_t capacity_, reserved_;
  std::uintptr_t begin_ = 0, end_ = 0;
  std::uint8_t* shadow_ = nullptr;
  mutable std::mutex mutex_;
  std::map<std::uintptr_t, Allocation> allocations_;
  std::map<std::uintptr_t, std::size_t> holes_;  // below end_: begin -> bytes
  std::size_t used_ = 0, made_ = 0;
};

}  // namespace gpusim
