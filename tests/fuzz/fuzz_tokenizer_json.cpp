#include "nn/tokenizer.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heed;
  fuzz::answered([&] {
    const nn::Tokenizer tokenizer = nn::Tokenizer::from_json(fuzz::text_of(data, size));
    tokenizer.encode("The caf\xc3\xa9 [MASK] \xff!");
    nn::Tokenizer::from_json(tokenizer.to_json());
  });
  return 0;
}
