#include "examples/text_classifier/batches.h"

#include <algorithm>
#include <numeric>

#include "examples/common/random_stream.h"

namespace heed::examples::classifier {
namespace {

constexpr std::uint64_t order_stream = 2ull << 60, words_stream = 3ull << 60, pieces_stream = 4ull << 60;

template <class T>
void shuffle(std::vector<T>& values, RandomStream& random) {
  for (std::size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[random.below(static_cast<std::uint32_t>(i))]);
}

std::vector<std::vector<std::int64_t>> cut(std::span<const std::int64_t> order, std::size_t batch) {
  std::vector<std::vector<std::int64_t>> batches;
  for (std::size_t begin = 0; begin < order.size(); begin += batch) {
    const auto part = order.subspan(begin, std::min(batch, order.size() - begin));
    batches.emplace_back(part.begin(), part.end());
  }
  return batches;
}

}  // namespace

EncodedCorpus encode(const Corpus& corpus, const nn::Tokenizer& tokenizer, std::int64_t length) {
  EncodedCorpus encoded;
  for (const Example& example : corpus.examples) {
    encoded.texts.push_back(tokenizer.encode(example.text, {.max_length = length}));
    encoded.labels.push_back(example.label);
  }
  return encoded;
}

EncodedCorpus select(const EncodedCorpus& corpus, std::span<const std::int64_t> members) {
  EncodedCorpus part;
  for (const std::int64_t member : members) {
    part.texts.push_back(corpus.texts[static_cast<std::size_t>(member)]);
    part.labels.push_back(corpus.labels[static_cast<std::size_t>(member)]);
  }
  return part;
}

Batch batch_of(const EncodedCorpus& corpus, std::int64_t pad_id, Device device) {
  return {nn::pad(corpus.texts, pad_id, device), from_vector(corpus.labels, {corpus.size()}, device)};
}

std::vector<std::vector<std::int64_t>> training_batches(const EncodedCorpus& corpus, std::int64_t batch,
                                                        std::uint64_t seed, std::int64_t epoch) {
  constexpr std::size_t stretch_batches = 32;
  std::vector<std::int64_t> order(corpus.texts.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  RandomStream random(seed, order_stream + static_cast<std::uint64_t>(epoch));
  shuffle(order, random);
  const auto stretch = stretch_batches * static_cast<std::size_t>(batch);
  for (std::size_t begin = 0; begin < order.size(); begin += stretch) {
    const auto first = order.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = first + static_cast<std::ptrdiff_t>(std::min(stretch, order.size() - begin));
    std::stable_sort(first, last, [&](std::int64_t a, std::int64_t b) {
      return corpus.texts[static_cast<std::size_t>(a)].size() < corpus.texts[static_cast<std::size_t>(b)].size();
    });
  }
  std::vector<std::vector<std::int64_t>> batches = cut(order, static_cast<std::size_t>(batch));
  shuffle(batches, random);
  return batches;
}

std::vector<std::vector<std::int64_t>> sorted_batches(std::span<const nn::Encoding> texts, std::int64_t batch) {
  std::vector<std::int64_t> order(texts.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return texts[static_cast<std::size_t>(a)].size() < texts[static_cast<std::size_t>(b)].size();
  });
  return cut(order, static_cast<std::size_t>(batch));
}

void drop_pieces(std::vector<nn::Encoding>& texts, double probability, std::int64_t length,
                 const nn::Tokenizer& tokenizer, std::uint64_t seed, std::int64_t step) {
  RandomStream random(seed, pieces_stream + static_cast<std::uint64_t>(step));
  const auto bound = static_cast<std::uint32_t>(probability * 65536);
  const auto skip = [&] { return random.below(65536) < bound; };
  for (nn::Encoding& text : texts) {
    nn::Encoding split;
    const std::size_t end = text.size() - 1;  // where the separator stands
    const auto append = [&](std::int64_t id, std::size_t from) {
      split.ids.push_back(id);
      split.type_ids.push_back(text.type_ids[from]);
      split.offsets.push_back(text.offsets[from]);
      split.added.push_back(text.added[from]);
    };
    for (std::size_t i = 0; i < end; ++i) {
      for (const std::int64_t id : text.added[i] ? std::vector{text.ids[i]} : tokenizer.split(text.ids[i], skip)) {
        if (split.size() + 1 < static_cast<std::size_t>(length)) append(id, i);
      }
    }
    append(text.ids[end], end);
    text = std::move(split);
  }
}

void drop_words(std::vector<nn::Encoding>& texts, double share, std::int64_t unknown, std::uint64_t seed,
                std::int64_t step) {
  RandomStream random(seed, words_stream + static_cast<std::uint64_t>(step));
  const auto bound = static_cast<std::uint32_t>(share * 65536);
  for (nn::Encoding& text : texts) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text.added[i] == 0 && random.below(65536) < bound) text.ids[i] = unknown;
    }
  }
}

}  // namespace heed::examples::classifier
