// .npy: one array in one file, as NumPy's save and load exchange it.
// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <filesystem>

#include "engine/tensor.h"

namespace heed {

// Reads a file of version 1, 2 or 3, row-major or (fortran_order) column-major, into a new contiguous CPU tensor:
//   f2, f4, f8, i4, i8, u1, b1   as f16, f32, f64, i32, i64, u8, bool
//   i1, i2, u2, u4, u8       as i64; a u8 element beyond the range of i64 is an error
// Throws on everything else (big-endian, complex, strings, records, objects) and on malformed files, naming the file
// and the reason, e.g. `load_npy x.npy: shape [2, 3] of <f4 needs 24 bytes, the file holds 20`. Never allocates more
// than a small multiple of the file's size.
Tensor load_npy(const std::filesystem::path& path);

// Writes version 1, row-major, atomically (engine/file.h). The tensor may have any layout and lie on any device. NumPy
// has no bf16: convert first.
void save_npy(const std::filesystem::path& path, const Tensor& x);

}  // namespace heed
