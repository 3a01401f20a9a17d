// safetensors: named tensors in one file, as PyTorch, Hugging Face and others exchange them.
// Format: https://github.com/huggingface/safetensors#format
//
//   8 bytes   n, the length of the header, little-endian; at most 100 000 000
//   n bytes   JSON, starting with '{': {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2, 3],
//             "data_offsets": [begin, end]}, ...}, offsets counted from the end of the header
//   the rest  the elements, row-major, little-endian; the tensors cover it without gaps or overlaps
//
// heed's dtypes are F32 F64 BF16 F16 I32 I64 U8 BOOL; the others (I8, U16, F8_E4M3...) are refused.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "engine/tensor.h"

namespace heed {

struct Safetensors {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Reads a file into new tensors on the CPU. Throws when anything about it is not as the format asks, naming the file,
// the tensor and the reason, e.g.
// `load_safetensors model.safetensors: tensor embed.weight: shape [2, 3] of F32 needs 24 bytes, data_offsets span 20`.
// Duplicate keys and keys that the format does not know are errors too. Never allocates more than a small multiple of
// the file's size.
Safetensors load_safetensors(const std::filesystem::path& path);

// Writes a file, atomically (engine/file.h). The tensors may have any layout and lie on any device; two that share
// memory are both written in full. The order is the reference implementation's: by dtype, the widest first, then by
// name, so that every tensor is aligned. The name __metadata__ is taken.
void save_safetensors(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace heed
