// The classifier's data. The first byte chooses the layout.
#include "examples/text_classifier/data.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heed;
  using namespace heed::examples::classifier;
  if (size == 0) return 0;
  fuzz::answered([&] {
    ReadOptions options;
    const std::size_t choice = data[0] % (formats().size() + 1);
    if (choice < formats().size()) options.format = formats()[choice];
    Corpus corpus = parse_corpus(fuzz::text_of(data, size).substr(1), "fuzz.csv", options);
    for (const Example& example : corpus.examples)
      fuzz::require(example.label >= 0 && example.label < static_cast<std::int64_t>(corpus.labels.size()));
    const std::size_t all = corpus.examples.size();
    const Corpus part = split_off(corpus, 0.3, 1);
    fuzz::require(part.examples.size() + corpus.examples.size() == all);
  });
  return 0;
}
