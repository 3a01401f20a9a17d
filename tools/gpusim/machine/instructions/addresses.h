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
GPUSIM_INLINE Space space_of(std::uint32_t form) {
  return static_cast<Space>(form >> AddressForm::space_shift & 15);
}

enum class Pattern : std::uint8_t { scattered, consecutive, uniform };

struct Addresses {
  alignas(64) std::uint64_t address[warp_size];  // as the instruction has them
  alignas(64) std::byte* pointer[warp_size];     // of the lanes in `mask`
  std::uint32_t mask = 0;                        // lanes that may go through
  Pattern pattern = Pattern::scattered;          // of the pointers, when all lanes take part
};

// An operand in brackets.
struct AddressOperand {
  Slot slot;
  std::uint32_t form;
  std::int64_t offset;
};

// The addresses of the lanes of the mask. `bytes` of each lane in all (of all elements of a vector), a power of two; for a
// store check mode wants to see the values, too. False: the launch has failed.
bool resolve(const Op* op, Warp& warp, const AddressOperand& operand, std::uint32_t mask, Access access, unsigned bytes,
             Addresses& a, const std::byte* value = nullptr);

// The two halves of resolve, for instructions whose lanes compute their addresses from one that they share.
void read_addresses(const Warp& warp, const AddressOperand& operand, Addresses& a);
bool resolve_filled(const Op* op, Warp& warp, Space space, std::uint32_t mask, Access access, unsigned bytes,
                    Addresses& a, const std::byte* value = nullptr);

// Of an Op with one address only.
inline bool resolve(const Op* op, Warp& warp, Slot slot, Access access, unsigned bytes, Addresses& a,
                    const std::byte* value = nullptr) {
  return resolve(op, warp, {slot, op->variant, op->immediate}, warp.mask, access, bytes, a, value);
}

Space take_space(Binder& b);
InstructionClass class_of(Space space);

}  // namespace gpusim::GPUSIM_TARGET
