// How many registers ptxas gave a kernel. The simulator needs none, but limits, occupancy and profiles do.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace gpusim {

struct KernelResources {
  int registers = 0;    // per thread
  int stack_bytes = 0;  // per thread; -1: unknown
  int spill_bytes = 0;  // stores and loads together; -1: unknown
};
using ResourceTable = std::map<std::string, KernelResources, std::less<>>;  // by mangled name

// From a cubin: section ".text.NAME" has the count in the top byte of its header's sh_info. Empty when that is no 64-bit
// ELF file.
ResourceTable resources_of_cubin(std::string_view elf);

// By running ptxas for that compute capability; empty when there is no ptxas or it refuses the text. ptxas is looked for
// on the PATH, in CUDA_HOME/bin and in /usr/local/cuda/bin.
ResourceTable resources_by_ptxas(std::string_view ptx, int capability);

}  // namespace gpusim
