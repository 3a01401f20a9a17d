#include <doctest/doctest.h>

#include <string>

#include "tools/gpusim/runtime/occupancy.h"

using namespace gpusim;

namespace {

struct Case {
  const char* gpu;
  int threads, registers;
  std::size_t shared;
  int blocks;
  const char* limit;
};

}  // namespace

// The numbers are those of the occupancy calculator that CUDA's profiler brings along.
TEST_CASE("gpusim occupancy: as CUDA's calculator has it") {
  for (const Case& c : {Case{"a100", 256, 32, 0, 8, "threads"}, Case{"a100", 256, 64, 0, 4, "registers"},
                        Case{"a100", 1024, 33, 0, 1, "registers"}, Case{"a100", 1024, 32, 0, 2, "threads"},
                        Case{"a100", 32, 16, 0, 32, "blocks"}, Case{"a100", 128, 32, 40 << 10, 4, "shared memory"},
                        Case{"a100", 128, 255, 0, 2, "registers"}, Case{"a100", 128, 32, 163 << 10, 1, "shared memory"},
                        Case{"h100", 128, 32, 100 << 10, 2, "shared memory"}, Case{"h100", 128, 168, 0, 3, "registers"},
                        Case{"t4", 256, 32, 0, 4, "threads"}, Case{"t4", 64, 64, 0, 16, "threads"},
                        Case{"t4", 64, 32, 20 << 10, 3, "shared memory"}}) {
    INFO(std::string(c.gpu), ", ", c.threads, " threads, ", c.registers, " registers, ", c.shared, " bytes");
    const Occupancy result = occupancy(*find_gpu(c.gpu), c.threads, c.registers, c.shared);
    CHECK(result.blocks == c.blocks);
    CHECK(std::string(result.limit) == c.limit);
    CHECK(result.warps == result.blocks * ((c.threads + 31) / 32));
  }
}

TEST_CASE("gpusim occupancy: unknown registers limit nothing") {
  CHECK(occupancy(*find_gpu("a100"), 1024, 0, 0).blocks == 2);
  CHECK(occupancy(*find_gpu("a100"), 0, 0, 0).blocks == 0);
}
