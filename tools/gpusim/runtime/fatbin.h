// Reading what nvcc embeds in a program: the fat binary, a list of images of the same device code, each for one compute
// capability: PTX text, or an ELF file of machine code (a "cubin"). Images may be compressed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gpusim {

struct Image {
  enum class Kind { ptx, elf } kind;
  int capability;    // 80 for compute_80 and sm_80
  std::string name;  // of the source file, where the image tells (-lineinfo); may be empty
  std::string data;  // not compressed
};

// All images of the fat binary that starts at `data`, in its order. Throws std::runtime_error when that is no fat binary
// or one of a later, unknown layout.
std::vector<Image> read_fatbin(const void* data);

// The wrapper that the compiler registers points to the fat binary.
const void* fatbin_of_wrapper(const void* wrapper);

}  // namespace gpusim
