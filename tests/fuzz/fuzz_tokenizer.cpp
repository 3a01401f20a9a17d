// The first byte chooses the options, the rest is text.
#include <vector>

#include "nn/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace heed;

nn::Tokenizer make_tokenizer(unsigned choice) {
  nn::TokenizerOptions options;
  options.lowercase = choice & 1;
  options.strip_accents = (choice & 2) != 0;
  options.clean_text = choice & 4;
  options.handle_chinese_chars = choice & 8;
  std::vector<std::string> vocabulary = {"[PAD]", "[UNK]",        "[CLS]", "[SEP]",   "[MASK]",
                                         "##ing", "\xe4\xb8\xad", "the",   "\xc3\xa9"};
  for (char c = '!'; c <= '~'; ++c) {
    vocabulary.emplace_back(1, c);
    vocabulary.push_back(std::string("##") + c);
  }
  return nn::Tokenizer(vocabulary, options);
}

void check_encoding(const nn::Tokenizer& tokenizer, std::string_view text) {
  const std::int64_t length = nn::count_code_points(text);
  const nn::Encoding encoding = tokenizer.encode(text);
  std::int64_t last = 0;
  for (std::size_t i = 0; i < encoding.size(); ++i) {
    fuzz::require(encoding.ids[i] >= 0 && encoding.ids[i] < tokenizer.vocabulary_size());
    if (encoding.added[i]) continue;
    const nn::Span span = encoding.offsets[i];
    fuzz::require(last <= span.start && span.start < span.end && span.end <= length);
    last = span.start;
  }
  tokenizer.decode(encoding.ids);
  fuzz::require(tokenizer.encode(text, {.max_length = 5}).size() <= 5);
  fuzz::require(tokenizer.encode(text, text, {.max_length = 7}).size() <= 7);
  fuzz::require(nn::valid_utf8(nn::valid_utf8(text)) == nn::valid_utf8(text));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<nn::Tokenizer> tokenizers = [] {
    std::vector<nn::Tokenizer> made;
    for (unsigned choice = 0; choice < 16; ++choice) made.push_back(make_tokenizer(choice));
    return made;
  }();
  if (size > 0) check_encoding(tokenizers[data[0] % 16], fuzz::text_of(data, size).substr(1));
  return 0;
}
