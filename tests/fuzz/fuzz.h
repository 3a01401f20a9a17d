// What the fuzz targets share. Each target is one function of any bytes, which must come back: an input may be refused with
// heed::Error, but neither crash nor read where it should not. With -Dfuzz=true libFuzzer drives them (tests/fuzz/run);
// every build replays the seeds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "kernels/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace heed::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// The path of a file that holds these bytes, in memory; it is gone when this object is.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return path_; }

 private:
  int descriptor_;
  std::string path_;
};

// Runs `body`; heed::Error is an answer, anything else is not.
template <class Body>
void answered(Body&& body) {
  try {
    body();
  } catch (const Error&) {
  }
}

// A condition that no input may break.
inline void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace heed::fuzz
