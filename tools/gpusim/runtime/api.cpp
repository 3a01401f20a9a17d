#include "tools/gpusim/runtime/api.h"

#include <cuda_runtime_api.h>

#include <cstdint>
#include <mutex>
#include <set>
#include <string>

#include "tools/gpusim/machine/faults.h"
#include "tools/gpusim/runtime/check_report.h"
#include "tools/gpusim/runtime/simulator.h"
#include "tools/gpusim/runtime/status.h"

using namespace gpusim;

namespace {

// Whether the columns lie within the allocation that `begin` points into; reports it if not.
bool fits(const char* call, const Allocation& allocation, const void* begin, std::size_t length, bool write) {
  const std::size_t offset = reinterpret_cast<std::uintptr_t>(begin) - allocation.begin;
  if (length <= allocation.bytes - offset) return true;
  const std::string message = std::string(write ? "writes " : "reads ") + std::to_string(length) + " bytes at offset " +
                              std::to_string(offset) + " of " + describe(allocation);
  report_host_error(FindingKind::out_of_bounds, call, message);
  if (settings().mode != Mode::check) complain(std::string("illegal address in ") + call + ": " + message);
  return false;
}

}  // namespace

extern "C" {

void gpusim_not_simulated(const char* name) {
  static std::mutex& mutex = *new std::mutex;
  static auto& said = *new std::set<std::string>;
  const std::lock_guard lock(mutex);
  if (said.insert(name).second) complain(std::string(name) + " is not simulated");
}

bool gpusim_host_access(const char* call, const void* begin, std::size_t bytes, std::size_t columns, std::size_t stride,
                        bool write) {
  if (sticky_error() != cudaSuccess) return false;
  if (bytes == 0 || columns == 0) return true;
  Memory& memory = simulator().memory;
  const auto allocation = memory.find(begin);
  if (!allocation) {
    report_host_error(FindingKind::out_of_bounds, call, "is given an address that is not the device's");
    if (settings().mode != Mode::check) complain(std::string("illegal address in ") + call);
  }
  if (!allocation || !fits(call, *allocation, begin, (columns - 1) * stride + bytes, write)) {
    stick(cudaErrorIllegalAddress);
    return false;
  }
  if (settings().mode != Mode::check) return true;
  for (std::size_t column = 0; column < columns; ++column) {
    const char* at = static_cast<const char*>(begin) + column * stride;
    if (write) {
      memory.note_initialised(at, bytes);
    } else if (memory.first_uninitialised(at, bytes)) {
      report_host_error(
          FindingKind::uninitialised_read, call,
          "reads memory that nobody wrote, in column " + std::to_string(column) + " of " + describe(*allocation));
      break;
    }
  }
  return true;
}

int gpusim_capability() {
  return settings().gpu->capability();
}

}  // extern "C"
