// From texts to batches.
#pragma once

#include <span>
#include <vector>

#include "examples/text_classifier/data.h"
#include "examples/text_classifier/settings.h"
#include "nn/tokenizer.h"

namespace heed::examples::classifier {

// A corpus as tokens.
struct EncodedCorpus {
  std::vector<nn::Encoding> texts;
  std::vector<std::int64_t> labels;

  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
};
EncodedCorpus encode(const Corpus& corpus, const nn::Tokenizer& tokenizer, std::int64_t length);

struct Batch {
  nn::TokenBatch tokens;
  Tensor labels;  // i64 [batch]
};
// Some of a corpus, by position.
EncodedCorpus select(const EncodedCorpus& corpus, std::span<const std::int64_t> members);
Batch batch_of(const EncodedCorpus& corpus, std::int64_t pad_id, Device device);

// The batches of one epoch of training, as positions in the corpus. They hold texts of about the same length, so that
// little is filled up: the texts are shuffled, every stretch of 32 batches is sorted by length and cut into batches, and
// the batches are shuffled. A function of its arguments alone.
std::vector<std::vector<std::int64_t>> training_batches(const EncodedCorpus& corpus, std::int64_t batch,
                                                        std::uint64_t seed, std::int64_t epoch);
// The batches for looking at every text once: in order of length.
std::vector<std::vector<std::int64_t>> sorted_batches(std::span<const nn::Encoding> texts, std::int64_t batch);

// Lets tokens fall into smaller pieces, each that could be taken being passed over with this probability, and cuts the
// texts to `length` again. A function of its arguments alone.
void drop_pieces(std::vector<nn::Encoding>& texts, double probability, std::int64_t length,
                 const nn::Tokenizer& tokenizer, std::uint64_t seed, std::int64_t step);

// Turns a share of the tokens of the texts into `unknown`, the added ones excepted. A function of its arguments alone.
void drop_words(std::vector<nn::Encoding>& texts, double share, std::int64_t unknown, std::uint64_t seed,
                std::int64_t step);

}  // namespace heed::examples::classifier
