#include "engine/safetensors.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heed;
  fuzz::answered([&] {
    const fuzz::MemoryFile file(fuzz::text_of(data, size));
    std::uint64_t bytes = 0;
    for (const auto& [name, tensor] : load_safetensors(file.path()).tensors) {
      bytes += static_cast<std::uint64_t>(tensor.count());
      if (tensor.count() > 0) tensor.to_vector<double>();
    }
    fuzz::require(bytes <= size);
  });
  return 0;
}
