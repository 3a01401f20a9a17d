#include "tools/gpusim/runtime/fatbin.h"

#include <doctest/doctest.h>
#include <lz4.h>
#include <zstd.h>

#include <cstring>
#include <stdexcept>

using namespace gpusim;

namespace {

enum class Compression { none, lz4, zstd };

template <class T>
void put(std::string& to, std::size_t at, T value) {
  std::memcpy(to.data() + at, &value, sizeof value);
}

// One image as nvcc lays it out, by offsets, independently of the reader's structures.
std::string entry(int kind, int capability, const std::string& data, Compression compression) {
  std::string payload(data.size() * 2 + 100, '\0');
  std::size_t size = data.size();
  if (compression == Compression::none) {
    payload = data;
  } else if (compression == Compression::zstd) {
    size = ZSTD_compress(payload.data(), payload.size(), data.data(), data.size(), 3);
  } else {
    size = static_cast<std::size_t>(LZ4_compress_default(data.data(), payload.data(), static_cast<int>(data.size()),
                                                         static_cast<int>(payload.size())));
  }
  payload.resize((size + 7) / 8 * 8);
  std::string header(0x50, '\0');
  put<std::uint16_t>(header, 0x00, static_cast<std::uint16_t>(kind));
  put<std::uint16_t>(header, 0x02, 0x101);
  put<std::uint32_t>(header, 0x04, 0x50);
  put<std::uint64_t>(header, 0x08, payload.size());
  if (compression != Compression::none) put<std::uint32_t>(header, 0x10, static_cast<std::uint32_t>(size));
  put<std::uint32_t>(header, 0x1c, static_cast<std::uint32_t>(capability));
  put<std::uint32_t>(header, 0x20, 0x40);
  put<std::uint32_t>(header, 0x24, 4);
  const std::uint64_t flags[] = {0x11, 0x2011, 0x8011};
  put<std::uint64_t>(header, 0x28, flags[static_cast<int>(compression)]);
  if (compression != Compression::none) put<std::uint64_t>(header, 0x38, data.size());
  std::memcpy(header.data() + 0x40, "x.cu", 4);
  return header + payload;
}

std::string fatbin(const std::string& entries) {
  std::string header(16, '\0');
  put<std::uint32_t>(header, 0, 0xba55ed50);
  put<std::uint16_t>(header, 4, 1);
  put<std::uint16_t>(header, 6, 16);
  put<std::uint64_t>(header, 8, entries.size());
  return header + entries;
}

const std::string ptx = ".version 9.0\n.target sm_80\n.address_size 64\n" + std::string(300, ' ') + "// the end\n";

}  // namespace

TEST_CASE("gpusim fat binary: plain, lz4 and zstd images, in order") {
  for (const Compression compression : {Compression::none, Compression::lz4, Compression::zstd}) {
    const std::string data = fatbin(entry(2, 80, "\177ELF machine code", Compression::none) +
                                    entry(1, 80, ptx, compression) + entry(1, 90, ptx + "//", compression));
    const auto images = read_fatbin(data.data());
    REQUIRE(images.size() == 3);
    CHECK(images[0].kind == Image::Kind::elf);
    CHECK(images[0].data.starts_with("\177ELF"));
    CHECK(images[1].kind == Image::Kind::ptx);
    CHECK(images[1].capability == 80);
    CHECK(images[1].data == ptx);
    CHECK(images[1].name == "x.cu");
    CHECK(images[2].capability == 90);
    CHECK(images[2].data == ptx + "//");
  }
}

TEST_CASE("gpusim fat binary: an empty one has no images") {
  CHECK(read_fatbin(fatbin("").data()).empty());
}

TEST_CASE("gpusim fat binary: what it cannot read it refuses") {
  std::string wrong = fatbin("");
  wrong[0] = 0;
  CHECK_THROWS_AS(read_fatbin(wrong.data()), std::runtime_error);
  std::string damaged = fatbin(entry(1, 80, ptx, Compression::zstd));
  damaged[16 + 0x50] ^= 0x7f;
  CHECK_THROWS_AS(read_fatbin(damaged.data()), std::runtime_error);
  const std::string no_wrapper(24, '\0');
  CHECK_THROWS_AS(fatbin_of_wrapper(no_wrapper.data()), std::runtime_error);
}
