// Allocation of registers: PTX names thousands, of which few live at once. Those share places in the warp's register file,
// which then stays in the cache.
#pragma once

#include <cstdint>
#include <vector>

namespace gpusim {

struct RegisterUse {
  int op, virtual_register;
  bool is_written, is_read;
  bool is_conditional;  // a guarded write may leave the old value
  bool is_early;        // written while inputs may still be read: shares no place with an input of the same Op
};

struct OpRange {
  int first, last;  // Ops [first, last) of a basic block
  std::vector<int> successors;
};

struct RegisterPlaces {
  std::vector<std::uint32_t> offset;  // bytes into the register file, for each virtual register
  std::size_t file_bytes = 0;
  unsigned words = 0;  // 32-bit registers of a thread, predicates aside
};

// `bytes` of each virtual register: 1 (predicate), 2, 4, 8, 16. `uses` are sorted by Op.
RegisterPlaces allocate_registers(const std::vector<unsigned>& bytes, const std::vector<RegisterUse>& uses,
                                  const std::vector<OpRange>& blocks);

}  // namespace gpusim
