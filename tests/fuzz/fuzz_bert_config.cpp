#include "nn/bert.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heed;
  fuzz::answered([&] {
    const nn::BertConfig config = nn::bert_config_from_json(std::string(fuzz::text_of(data, size)));
    fuzz::require(nn::to_json(nn::bert_config_from_json(nn::to_json(config))) == nn::to_json(config));
  });
  return 0;
}
