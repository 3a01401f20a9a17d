// See addresses.h.
#include "tools/gpusim/machine/instructions/addresses.h"

#include <algorithm>

#include "tools/gpusim/machine/faults.h"

namespace gpusim::GPUSIM_TARGET {

namespace {

GPUSIM_INLINE Pattern pattern_of(const std::uint64_t* address, unsigned bytes) {
  std::uint64_t strides = 0, differences = 0;
  for (unsigned l = 0; l < warp_size; ++l) {
    strides |= address[l] ^ (address[0] + l * bytes);
    differences |= address[l] ^ address[0];
  }
  return strides == 0 ? Pattern::consecutive : differences == 0 ? Pattern::uniform : Pattern::scattered;
}

// The extent of an access, by which check mode judges it in one piece.
void measure(const std::uint64_t* address, MemoryAccess& access) {
  std::uint64_t lowest = ~std::uint64_t{0}, highest = 0, bits = 0;
  if (access.mask == all_lanes) {
    for (unsigned l = 0; l < warp_size; ++l) {
      lowest = std::min(lowest, address[l]);
      highest = std::max(highest, address[l]);
      bits |= address[l];
    }
  } else {
    each_lane(access.mask, [&](unsigned l) {
      lowest = std::min(lowest, address[l]);
      highest = std::max(highest, address[l]);
      bits |= address[l];
    });
  }
  access.lowest = lowest;
  access.highest = highest;
  access.bits = bits;
}

// One space; a.mask holds the lanes concerned, and afterwards those that may go through.
bool resolve_in(const Op* op, Warp& warp, Space space, Access access, unsigned bytes, Addresses& a,
                const std::byte* value) {
  const Launch& launch = warp.launch();
  std::uint64_t begin = 0, end = 0;
  std::byte* base = nullptr;
  switch (space) {
    case Space::shared:
      end = launch.shared_bytes;
      base = warp.block->shared;
      break;
    case Space::local:
      end = launch.local_bytes;
      base = warp.local;
      break;
    case Space::param:
      end = launch.kernel->info.parameter_bytes;
      base = const_cast<std::byte*>(launch.parameters);
      break;
    default:
      begin = launch.memory_begin;
      end = launch.memory_end;
  }
  const std::size_t lane_stride = space == Space::local ? launch.local_bytes : 0;
  for (unsigned l = 0; l < warp_size; ++l) {
    a.pointer[l] = reinterpret_cast<std::byte*>(reinterpret_cast<std::uint64_t>(base) + a.address[l] + l * lane_stride);
  }
  if (a.mask == all_lanes && lane_stride == 0) a.pattern = pattern_of(a.address, bytes);
  if (warp.block->observer != nullptr) [[unlikely]] {
    MemoryAccess observed{op, access, space, a.mask, bytes, a.address, a.pointer, value};
    measure(a.address, observed);
    observed.is_consecutive = a.pattern == Pattern::consecutive;
    a.mask = warp.block->observer->access(warp, observed);
  }
  // The checks come in one piece for all lanes; which lane it was is found out when there was one.
  const std::uint64_t room = end - begin - bytes;
  std::uint64_t outside = end - begin < bytes, unaligned = 0;
  if (a.mask == all_lanes) {
    for (unsigned l = 0; l < warp_size; ++l) {
      outside |= a.address[l] - begin > room;
      unaligned |= a.address[l];
    }
  } else {
    each_lane(a.mask, [&](unsigned l) {
      outside |= a.address[l] - begin > room;
      unaligned |= a.address[l];
    });
  }
  if (((unaligned & (bytes - 1)) | outside) == 0) [[likely]]
    return true;
  if (a.mask == 0) return true;
  std::uint32_t rest = a.mask;
  for (; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<unsigned>(std::countr_zero(rest));
    if (end - begin < bytes || a.address[lane] - begin > room || (a.address[lane] & (bytes - 1)) != 0) {
      report_illegal_access(op, warp, space, a.address[lane], bytes, lane);
      return false;
    }
  }
  return true;
}

// Each lane's window decides.
bool resolve_generic(const Op* op, Warp& warp, Access access, unsigned bytes, Addresses& a, const std::byte* value) {
  const std::uint32_t lanes = a.mask;
  std::uint32_t shared = 0, local = 0, param = 0;
  each_lane(lanes, [&](unsigned l) {
    const std::uint64_t window = a.address[l] & ~(window_bytes - 1);
    shared |= std::uint32_t{window == shared_window} << l;
    local |= std::uint32_t{window == local_window} << l;
    param |= std::uint32_t{window == param_window} << l;
  });
  if ((shared | local | param) == 0) return resolve_in(op, warp, Space::global, access, bytes, a, value);
  alignas(64) std::byte* pointer[warp_size] = {};
  const auto in_space = [&](Space space, std::uint32_t mask, std::uint64_t window, std::uint32_t& allowed) {
    if (mask == 0) return true;
    Addresses part;
    for (unsigned l = 0; l < warp_size; ++l) part.address[l] = a.address[l] - window;
    part.mask = mask;
    if (!resolve_in(op, warp, space, access, bytes, part, value)) return false;
    each_lane(part.mask, [&](unsigned l) { pointer[l] = part.pointer[l]; });
    allowed |= part.mask;
    return true;
  };
  std::uint32_t allowed = 0;
  if (!in_space(Space::global, lanes & ~(shared | local | param), 0, allowed) ||
      !in_space(Space::shared, shared, shared_window, allowed) ||
      !in_space(Space::local, local, local_window, allowed) || !in_space(Space::param, param, param_window, allowed)) {
    return false;
  }
  std::memcpy(a.pointer, pointer, sizeof pointer);
  a.mask = allowed;
  a.pattern = Pattern::scattered;
  return true;
}

}  // namespace

void read_addresses(const Warp& warp, const AddressOperand& operand, Addresses& a) {
  const std::uint64_t offset = static_cast<std::uint64_t>(operand.offset) +
                               ((operand.form & AddressForm::frame_relative) != 0 ? warp.frames.back().local_base : 0);
  if ((operand.form & AddressForm::narrow) != 0) {
    const std::uint32_t* base = warp.in<std::uint32_t>(operand.slot);
    const auto narrow_offset = static_cast<std::uint32_t>(offset);
    for (unsigned l = 0; l < warp_size; ++l) a.address[l] = base[l] + narrow_offset;
  } else {
    const std::uint64_t* base = warp.in<std::uint64_t>(operand.slot);
    for (unsigned l = 0; l < warp_size; ++l) a.address[l] = base[l] + offset;
  }
}

bool resolve_filled(const Op* op, Warp& warp, Space space, std::uint32_t mask, Access access, unsigned bytes,
                    Addresses& a, const std::byte* value) {
  a.mask = mask;
  if (space == Space::generic) return resolve_generic(op, warp, access, bytes, a, value);
  return resolve_in(op, warp, space, access, bytes, a, value);
}

bool resolve(const Op* op, Warp& warp, const AddressOperand& operand, std::uint32_t mask, Access access, unsigned bytes,
             Addresses& a, const std::byte* value) {
  read_addresses(warp, operand, a);
  return resolve_filled(op, warp, space_of(operand.form), mask, access, bytes, a, value);
}

}  // namespace gpusim::GPUSIM_TARGET
