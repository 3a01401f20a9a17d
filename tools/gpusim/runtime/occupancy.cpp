#include "tools/gpusim/runtime/occupancy.h"

#include <algorithm>

namespace gpusim {
namespace {

constexpr std::size_t round_up(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

Occupancy occupancy(const Gpu& gpu, int threads, int registers, std::size_t shared) {
  const int warps = (threads + 31) / 32;
  if (warps == 0) return {};
  struct Limit {
    int blocks;
    const char* name;
  };
  Limit limits[] = {{gpu.warps_per_multiprocessor() / warps, "threads"},
                    {gpu.blocks_per_multiprocessor, "blocks"},
                    {gpu.blocks_per_multiprocessor, "registers"},
                    {gpu.blocks_per_multiprocessor, "shared memory"}};
  if (registers > 0) {
    // Registers are handed out warp by warp, from four banks, one for each of the multiprocessor's quarters.
    const int per_warp = static_cast<int>(round_up(std::size_t(registers) * 32, gpu.register_allocation_unit));
    const int warps_that_fit = gpu.registers_per_multiprocessor / per_warp / 4 * 4;
    limits[2].blocks = warps_that_fit / warps;
  }
  const std::size_t per_block = shared == 0
                                    ? gpu.shared_reserved_per_block
                                    : round_up(shared + gpu.shared_reserved_per_block, gpu.shared_allocation_unit);
  if (per_block > 0) limits[3].blocks = static_cast<int>(gpu.shared_per_multiprocessor / per_block);

  const Limit& least = *std::min_element(std::begin(limits), std::end(limits),
                                         [](const Limit& a, const Limit& b) { return a.blocks < b.blocks; });
  Occupancy result;
  result.blocks = least.blocks;
  result.warps = least.blocks * warps;
  result.fraction = double(result.warps) / gpu.warps_per_multiprocessor();
  result.limit = least.name;
  return result;
}

}  // namespace gpusim
