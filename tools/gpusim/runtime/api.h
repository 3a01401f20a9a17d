// What the stand-in for cuBLAS shares with the one for the run-time: exported by libcudart.so.13, known to no program.
#pragma once

#include <cstddef>

extern "C" {

// A call that the simulator does not have: says so, once for each name.
void gpusim_not_simulated(const char* name);

// The host reads or writes memory in the device's name: `columns` columns of `bytes` bytes, `stride` bytes apart. False
// after an error that sticks, or when the memory is not the device's, which is such an error. Check mode also looks for
// columns that leave their allocation and, when reading, for bytes that nobody wrote. What is written counts as written.
bool gpusim_host_access(const char* call, const void* begin, std::size_t bytes, std::size_t columns, std::size_t stride,
                        bool write);

// The compute capability of the simulated GPU: 80.
int gpusim_capability();
}
