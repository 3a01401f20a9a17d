// The state of the simulated device: one per process.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "tools/gpusim/machine/machine.h"
#include "tools/gpusim/runtime/settings.h"

namespace gpusim {

struct Simulator {
  // Host memory that kernels may reach (pinned, managed) comes out of the same range, so it is larger than the device's.
  static constexpr std::size_t host_memory = 64ull << 30;
  Memory memory{settings().gpu->memory + host_memory, settings().mode == Mode::check};

  // Launches run to their end, one at a time. So everything that a stream could order is in order, and waiting for a
  // stream or an event means waiting for nothing.
  std::mutex launching;
};

// Never destroyed: programs free device memory in destructors of their own.
Simulator& simulator();

// How much was simulated and how fast, for GPUSIM_TIME.
void count_launch(std::uint64_t lane_instructions, double seconds);
void print_speed();

// What kernels print appears, as on a device, when the host waits for them.
void buffer_output(std::string_view text);
void flush_output();

}  // namespace gpusim
