// WordPiece as BERT uses it (Devlin et al. 2019): text to numbers of word pieces and back. Ids and offsets are those of
// Hugging Face's fast BertTokenizer, to the last special case.
//
//   const auto tokenizer = nn::Tokenizer::load("bert-base-uncased");
//   const nn::Encoding encoding = tokenizer.encode("Hello, world!");     // [CLS] hello , world ! [SEP]
//   const nn::TokenBatch batch = nn::pad(encodings, tokenizer.pad_id());
//
// Text is UTF-8. Bytes that are not count as U+FFFD (next_code_point says how many of them), which BERT's normaliser
// drops: no input fails.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/tensor.h"
#include "nn/tokenizer_text.h"
#include "nn/tokenizer_trie.h"

namespace heed::nn {

struct TokenizerOptions {
  bool lowercase = true;
  std::optional<bool> strip_accents = {};  // not given: as lowercase
  bool clean_text = true;
  bool handle_chinese_chars = true;
  std::string continuing_subword_prefix = "##";
  std::int64_t max_input_chars_per_word = 100;  // longer words are unknown
  std::string unk_token = "[UNK]", sep_token = "[SEP]", pad_token = "[PAD]", cls_token = "[CLS]", mask_token = "[MASK]";
  std::vector<std::string> more_special_tokens = {};  // besides those five, recognised in raw text too
};

// Code points of the original text, the last one excluded: [start, end).
struct Span {
  std::int64_t start = 0, end = 0;
  friend bool operator==(const Span&, const Span&) = default;
};

// One text, or a pair of texts, as tokens. All vectors have one entry per token.
struct Encoding {
  std::vector<std::int64_t> ids;
  std::vector<std::int64_t> type_ids;  // 0: the first text, 1: the second, each with the separator behind it
  std::vector<Span> offsets;           // in its own text; [0, 0) for the tokens that were added
  std::vector<std::uint8_t> added;     // whether the token was added ([CLS], [SEP]), not found in the text

  std::size_t size() const { return ids.size(); }
};

struct EncodeOptions {
  bool add_special_tokens = true;
  // No more tokens than this, the added ones included: the end of the longer text goes first. 0: all of them.
  std::int64_t max_length = 0;
};

class Tokenizer {
 public:
  // Token i of the vocabulary has the id i; an empty string leaves its id unused. Throws heed::Error where the special
  // tokens of the options are not in it ([MASK] may be missing).
  explicit Tokenizer(std::vector<std::string> vocabulary, TokenizerOptions options = {});

  // A folder with tokenizer.json, or with vocab.txt and perhaps tokenizer_config.json, or one of the two files itself.
  // What tokenizer.json says about truncation and padding is left to EncodeOptions and pad(). Throws heed::Error naming
  // file and key where the tokenizer is no BERT tokenizer, such as a tokenizer.json with a model other than WordPiece.
  static Tokenizer load(const std::filesystem::path& path);
  // The text of a tokenizer.json.
  static Tokenizer from_json(std::string_view text);
  // tokenizer.json, which the tokenizers library reads too.
  std::string to_json() const;
  // One token per line.
  std::string to_vocabulary_text() const;

  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding encode(std::string_view text, std::string_view pair, const EncodeOptions& options = {}) const;
  // Words joined by blanks, without the blanks in front of punctuation and contractions that English does not write.
  std::string decode(std::span<const std::int64_t> ids, bool skip_special_tokens = true) const;

  // A token in smaller pieces, for training that is to know a word by its parts (MaxMatch-Dropout, Hiraoka 2022): longest
  // match first, but a match for which skip() is true is passed over, unless it is the shortest. The token itself where it
  // is special or its parts are not in the vocabulary.
  std::vector<std::int64_t> split(std::int64_t id, const std::function<bool()>& skip) const;

  std::int64_t vocabulary_size() const { return static_cast<std::int64_t>(vocabulary_.size()); }
  const std::string& token(std::int64_t id) const;
  std::optional<std::int64_t> find(std::string_view token) const;
  bool is_special(std::int64_t id) const;
  std::int64_t unk_id() const { return unk_id_; }
  std::int64_t cls_id() const { return cls_id_; }
  std::int64_t sep_id() const { return sep_id_; }
  std::int64_t pad_id() const { return pad_id_; }
  const TokenizerOptions& options() const { return options_; }

 private:
  Encoding tokens_of(std::string_view text) const;
  void add_words(std::string_view text, std::int64_t& position, Encoding& encoding) const;
  void add_pieces(const Word& word, Encoding& encoding) const;
  std::int64_t required_id(const char* role, const std::string& token) const;

  std::vector<std::string> vocabulary_;
  TokenizerOptions options_;
  NormalizerOptions normalizer_;
  std::unordered_map<std::string, std::int64_t> ids_;
  Trie starts_, continuations_;  // what a word may begin with, and go on with
  Trie special_;
  bool special_start_[256] = {};  // bytes that a special token begins with
  std::vector<std::uint8_t> is_special_;
  std::int64_t unk_id_, cls_id_, sep_id_, pad_id_;
};

// Encodings as tensors, filled up to the longest.
struct TokenBatch {
  Tensor ids;       // i64 [batch, longest]
  Tensor type_ids;  // i64 [batch, longest]
  Tensor lengths;   // i64 [batch]
  // true: padding [batch, longest]; undefined where all texts have the same length
  Tensor padding;
};
TokenBatch pad(std::span<const Encoding> encodings, std::int64_t pad_id, Device device = {});

// How often each word, normalised, occurs in texts.
class WordCounts {
 public:
  explicit WordCounts(const TokenizerOptions& options = {});
  void add(std::string_view text);
  const std::map<std::string, std::int64_t>& counts() const { return counts_; }

 private:
  NormalizerOptions options_;
  std::map<std::string, std::int64_t> counts_;
};

struct WordPieceTrainingOptions {
  std::int64_t vocabulary_size = 8000;  // at most
  std::int64_t min_frequency = 2;       // a pair that is rarer is not joined
  std::int64_t alphabet_size = 1000;    // the most frequent characters; words with others are unknown
};
// Learns a vocabulary from words and their counts: special tokens, characters, and then the most frequent pair of
// neighbouring pieces joined, again and again (byte-pair encoding with the prefix of continuing pieces, as the trainer of
// Hugging Face's tokenizers does it). Of equally frequent pairs the first in byte order is joined: the result depends on
// nothing else.
std::vector<std::string> learn_word_pieces(const std::map<std::string, std::int64_t>& counts,
                                           const TokenizerOptions& options = {},
                                           const WordPieceTrainingOptions& training = {});

}  // namespace heed::nn
