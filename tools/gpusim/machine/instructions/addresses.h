// From the addresses of an instruction's 32 lanes to pointers of the host: spaces, bounds, alignment.
#pragma once

#include "tools/gpusim/machine/instructions/lanes.h"

namespace gpusim::GPUSIM_TARGET {

// Op::variant of everything that has an address.
struct AddressForm {
  // The space, and for a vector the count of its elements.
  static constexpr std::uint32_t narrow = 1, frame_relative = 2, space_shift = 4, count_shift = 8;
};

inline std::uint32_t address_form(const Binder::Address& address, unsigned count) {
  return (address.is_narrow ? AddressForm::narrow : 0) | (address.is_frame_relative ? AddressForm::frame_relative : 0) |
         static_cast<std::uint32_t>(address.space) << AddressForm::space_shift | count << AddressForm::count_shift;
}
GPUSIM_INLINE Space space_of(const Op* op) {
  return static_cast<Space>(op->variant >> AddressForm::space_shift & 15);
}

enum class Pattern : std::uint8_t { scattered, consecutive, uniform };

struct Addresses {
  alignas(64) std::uint64_t address[warp_size];  // as the instruction has them
  alignas(64) std::byte* pointer[warp_size];     // of the lanes in `mask`
  std::uint32_t mask = 0;                        // lanes that may go through
  Pattern pattern = Pattern::scattered;          // of the pointers, when all lanes take part
};

// The addresses of the lanes in warp.mask. `bytes` of each lane in all (of all elements of a vector), a power of two; for a
// store check mode wants to see the values, too. False: the launch has failed.
bool resolve(const Op* op, Warp& warp, Slot slot, Access access, unsigned bytes, Addresses& a,
             const std::byte* value = nullptr);

Space take_space(Binder& b);
InstructionClass class_of(Space space);

}  // namespace gpusim::GPUSIM_TARGET
