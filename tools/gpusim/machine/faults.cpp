// What illegal accesses are called.
#include <fmt/format.h>

#include "tools/gpusim/machine/decode.h"
#include "tools/gpusim/machine/faults.h"
#include "tools/gpusim/machine/warp.h"

namespace gpusim {

const char* name_of(Space space) {
  switch (space) {
    case Space::shared:
      return "shared";
    case Space::local:
      return "local";
    case Space::param:
      return "parameter";
    case Space::constant:
      return "constant";
    default:
      return "global";
  }
}

std::string describe(const Allocation& allocation) {
  return fmt::format("#{} ({}, {} bytes)", allocation.number, allocation.name, allocation.bytes);
}

std::string describe_global(const Memory& memory, std::uint64_t address, unsigned bytes) {
  const auto* pointer = reinterpret_cast<const void*>(address);
  if (address < 4096) return "a null pointer";
  if (const auto inside = memory.find(pointer)) {
    const std::size_t offset = address - inside->begin;
    return fmt::format(
        "byte {} of allocation {}{}", offset, describe(*inside),
        offset + bytes > inside->bytes ? fmt::format(", {} bytes past its end", offset + bytes - inside->bytes) : "");
  }
  if (const auto near = memory.nearest(pointer)) {
    return address < near->begin ? fmt::format("{} bytes before allocation {}", near->begin - address, describe(*near))
                                 : fmt::format("{} bytes past the end of allocation {}",
                                               address - near->begin - near->bytes, describe(*near));
  }
  return "no allocation near";
}

void report_illegal_access(const Op* op, Warp& warp, Space space, std::uint64_t address, unsigned bytes,
                           unsigned lane) {
  const bool misaligned = address % bytes != 0;
  const Dim3 thread = warp.thread_of(lane), block = warp.block->index;
  std::string where;
  if (space == Space::global || space == Space::constant || space == Space::generic) {
    where = describe_global(warp.code().module->memory(), address, bytes);
  } else {
    const Launch& launch = warp.launch();
    const std::size_t size = space == Space::shared  ? launch.shared_bytes
                             : space == Space::local ? launch.local_bytes
                                                     : launch.kernel->info.parameter_bytes;
    where = fmt::format("{} bytes of {} memory are there", size, name_of(space));
  }
  warp.fail(op, misaligned ? Fault::misaligned_address : Fault::illegal_address,
            fmt::format("block ({},{},{}), thread ({},{},{}): {} access of {} bytes at {} address 0x{:x}: {}", block.x,
                        block.y, block.z, thread.x, thread.y, thread.z, misaligned ? "misaligned" : "illegal", bytes,
                        name_of(space), address, where));
}

Place place_of(const Code& code, const Op* op) {
  const Origin& origin = code.origin(op);
  std::string text;  // on one line
  for (const char c : origin.text) {
    const bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (!blank) {
      text += c;
    } else if (!text.empty() && text.back() != ' ') {
      text += ' ';
    }
  }
  return {origin.line, text, std::string(code.module->file(origin.source_file)), origin.source_line};
}

}  // namespace gpusim
