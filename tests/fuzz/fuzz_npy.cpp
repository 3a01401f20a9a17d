#include "engine/npy.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heed;
  fuzz::answered([&] {
    const fuzz::MemoryFile file(fuzz::text_of(data, size));
    const Tensor tensor = load_npy(file.path());
    fuzz::require(static_cast<std::uint64_t>(tensor.count()) <= size);
    tensor.to_vector<double>();
  });
  return 0;
}
