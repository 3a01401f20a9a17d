#include "tools/gpusim/runtime/fatbin.h"

#include <lz4.h>
#include <zstd.h>

#include <cstring>
#include <stdexcept>

namespace gpusim {
namespace {

struct Wrapper {
  std::uint32_t magic, version;
  const void* data;
};
constexpr std::uint32_t wrapper_magic = 0x466243b1;

struct Header {
  std::uint32_t magic;
  std::uint16_t version, header_size;
  std::uint64_t size;  // of what follows
};
constexpr std::uint32_t header_magic = 0xba55ed50;

// What stands before each image. The bytes after these (to header_size) are the name of the source and ptxas' options.
struct EntryHeader {
  std::uint16_t kind, version;
  std::uint32_t header_size;
  std::uint64_t payload_size;  // padded to 8 bytes
  std::uint32_t compressed_size;
  std::uint32_t options_offset;
  std::uint16_t minor, major;  // of the image's own format
  std::uint32_t capability;
  std::uint32_t name_offset, name_size;
  std::uint64_t flags;
  std::uint64_t reserved;
  std::uint64_t uncompressed_size;
};
static_assert(sizeof(EntryHeader) == 0x40);
constexpr std::uint16_t kind_ptx = 1, kind_elf = 2;
constexpr std::uint64_t flag_lz4 = 0x2000, flag_zstd = 0x8000;

std::string decompress(const EntryHeader& entry, const char* payload) {
  std::string data(entry.uncompressed_size, '\0');
  std::size_t size = 0;
  if (entry.flags & flag_zstd) {
    size = ZSTD_decompress(data.data(), data.size(), payload, entry.compressed_size);
  } else {
    const int result = LZ4_decompress_safe(payload, data.data(), static_cast<int>(entry.compressed_size),
                                           static_cast<int>(data.size()));
    size = static_cast<std::size_t>(result);
  }
  if (size != data.size()) throw std::runtime_error("fat binary: a compressed image is damaged");
  return data;
}

}  // namespace

const void* fatbin_of_wrapper(const void* wrapper) {
  const auto& known = *static_cast<const Wrapper*>(wrapper);
  if (known.magic != wrapper_magic) throw std::runtime_error("fat binary: the wrapper is of an unknown layout");
  return known.data;
}

std::vector<Image> read_fatbin(const void* data) {
  const char* at = static_cast<const char*>(data);
  Header header;
  std::memcpy(&header, at, sizeof header);
  if (header.magic != header_magic || header.version != 1) {
    throw std::runtime_error("fat binary: its layout is unknown");
  }
  std::vector<Image> images;
  at += header.header_size;
  for (const char* end = at + header.size; at < end;) {
    EntryHeader entry{};
    std::memcpy(&entry, at, sizeof entry);
    if (entry.kind == kind_ptx || entry.kind == kind_elf) {
      const char* payload = at + entry.header_size;
      Image image;
      image.kind = entry.kind == kind_ptx ? Image::Kind::ptx : Image::Kind::elf;
      image.capability = static_cast<int>(entry.capability);
      // Old compilers write no name: then the offset lies beyond the header or is 0.
      if (entry.name_size > 0 && entry.name_offset + entry.name_size <= entry.header_size) {
        image.name.assign(at + entry.name_offset, entry.name_size);
      }
      const bool compressed = (entry.flags & (flag_zstd | flag_lz4)) != 0;
      image.data = compressed ? decompress(entry, payload) : std::string(payload, entry.payload_size);
      // PTX is padded with zeros to a multiple of eight bytes.
      if (image.kind == Image::Kind::ptx) image.data.resize(std::strlen(image.data.c_str()));
      images.push_back(std::move(image));
    }
    at += entry.header_size + entry.payload_size;
  }
  return images;
}

}  // namespace gpusim
