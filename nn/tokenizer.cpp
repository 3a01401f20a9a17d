#include "nn/tokenizer.h"

#include <algorithm>

#include "engine/error.h"
#include "nn/attention.h"

namespace heed::nn {
namespace {

NormalizerOptions normalizer_of(const TokenizerOptions& options) {
  return {options.clean_text, options.handle_chinese_chars, options.strip_accents.value_or(options.lowercase),
          options.lowercase};
}

void append(Encoding& encoding, std::int64_t id, Span span, std::int64_t type_id, bool added) {
  encoding.ids.push_back(id);
  encoding.type_ids.push_back(type_id);
  encoding.offsets.push_back(span);
  encoding.added.push_back(added ? 1 : 0);
}

void truncate(Encoding& encoding, std::size_t length) {
  if (length >= encoding.size()) return;
  encoding.ids.resize(length);
  encoding.type_ids.resize(length);
  encoding.offsets.resize(length);
  encoding.added.resize(length);
}

// How much of two texts of these lengths is kept, the longer one shortened first.
std::pair<std::size_t, std::size_t> kept_lengths(std::size_t first, std::size_t second, std::size_t limit) {
  if (first + second <= limit) return {first, second};
  const std::size_t shorter = std::min(first, second);
  std::size_t of_shorter = shorter, of_longer = shorter > limit ? shorter : std::max(shorter, limit - shorter);
  if (of_shorter + of_longer > limit) {
    of_shorter = limit / 2;
    of_longer = limit - of_shorter;
  }
  return first > second ? std::pair{of_longer, of_shorter} : std::pair{of_shorter, of_longer};
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
}

// Without the blanks that tokenisation put before punctuation and contractions.
void clean_up(std::string& text) {
  constexpr std::pair<std::string_view, std::string_view> replacements[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [what, by] : replacements) replace_all(text, what, by);
}

}  // namespace

Tokenizer::Tokenizer(std::vector<std::string> vocabulary, TokenizerOptions options)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)), normalizer_(normalizer_of(options_)) {
  is_special_.resize(vocabulary_.size(), 0);
  const std::string& prefix = options_.continuing_subword_prefix;
  for (std::size_t i = 0; i < vocabulary_.size(); ++i) {
    const std::string& token = vocabulary_[i];
    if (token.empty()) continue;
    const auto id = static_cast<std::int32_t>(i);
    ids_[token] = id;
    starts_.insert(token, id);
    if (token.starts_with(prefix)) continuations_.insert(std::string_view(token).substr(prefix.size()), id);
  }
  unk_id_ = required_id("unk_token", options_.unk_token);
  cls_id_ = required_id("cls_token", options_.cls_token);
  sep_id_ = required_id("sep_token", options_.sep_token);
  pad_id_ = required_id("pad_token", options_.pad_token);
  std::vector<std::string> special = options_.more_special_tokens;
  special.insert(special.end(), {options_.unk_token, options_.cls_token, options_.sep_token, options_.pad_token});
  if (find(options_.mask_token)) special.push_back(options_.mask_token);
  for (const std::string& token : special) {
    const std::int64_t id = required_id("special token", token);
    is_special_[static_cast<std::size_t>(id)] = 1;
    special_.insert(token, static_cast<std::int32_t>(id));
    special_start_[static_cast<unsigned char>(token[0])] = true;
  }
}

std::int64_t Tokenizer::required_id(const char* role, const std::string& token) const {
  const std::optional<std::int64_t> id = find(token);
  check(id.has_value(), "Tokenizer: the {} '{}' is not in the vocabulary of {} tokens", role, token,
        vocabulary_.size());
  return *id;
}

const std::string& Tokenizer::token(std::int64_t id) const {
  check(id >= 0 && id < vocabulary_size(), "Tokenizer: id {} of a vocabulary of {}", id, vocabulary_size());
  return vocabulary_[static_cast<std::size_t>(id)];
}

std::optional<std::int64_t> Tokenizer::find(std::string_view token) const {
  const auto found = ids_.find(std::string(token));
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

bool Tokenizer::is_special(std::int64_t id) const {
  return id >= 0 && id < vocabulary_size() && is_special_[static_cast<std::size_t>(id)] != 0;
}

// Longest match first. A word that cannot be covered to its end is unknown as a whole.
void Tokenizer::add_pieces(const Word& word, Encoding& encoding) const {
  const std::string_view text = word.text;
  const std::size_t before = encoding.size();
  const auto unknown = [&] {
    truncate(encoding, before);
    append(encoding, unk_id_, {word.positions.front(), word.positions.back() + 1}, 0, false);
  };
  if (word.characters > options_.max_input_chars_per_word) return unknown();
  for (std::size_t at = 0; at < text.size();) {
    const Trie::Match match = (at == 0 ? starts_ : continuations_).longest_prefix(text.substr(at));
    if (match.number == Trie::none) return unknown();
    append(encoding, match.number, {word.positions[at], word.positions[at + match.length - 1] + 1}, 0, false);
    at += match.length;
  }
}

std::vector<std::int64_t> Tokenizer::split(std::int64_t id, const std::function<bool()>& skip) const {
  const std::string& prefix = options_.continuing_subword_prefix;
  std::string_view text = token(id);
  if (is_special(id)) return {id};
  bool inside = text.size() > prefix.size() && text.starts_with(prefix);  // of a word
  if (inside) text.remove_prefix(prefix.size());
  std::vector<std::int64_t> pieces;
  for (; !text.empty(); inside = true) {
    const Trie::Match match = (inside ? continuations_ : starts_).longest_prefix(text, skip);
    if (match.number == Trie::none) return {id};
    pieces.push_back(match.number);
    text.remove_prefix(match.length);
  }
  return pieces;
}

// Text between two special tokens, which begins at code point `position`; that moves behind it.
void Tokenizer::add_words(std::string_view text, std::int64_t& position, Encoding& encoding) const {
  WordSplitter words(text, position, normalizer_);
  while (words.next()) add_pieces(words.word(), encoding);
  position = words.position();
}

Encoding Tokenizer::tokens_of(std::string_view text) const {
  Encoding encoding;
  std::int64_t position = 0;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (!special_start_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const Trie::Match match = special_.longest_prefix(text.substr(at));
    if (match.number == Trie::none) {
      ++at;
      continue;
    }
    add_words(text.substr(begin, at - begin), position, encoding);
    const std::int64_t end = position + count_code_points(text.substr(at, match.length));
    append(encoding, match.number, {position, end}, 0, false);
    position = end;
    at += match.length;
    begin = at;
  }
  add_words(text.substr(begin), position, encoding);
  return encoding;
}

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  const std::int64_t added = options.add_special_tokens ? 2 : 0;
  check(options.max_length == 0 || options.max_length >= added,
        "encode: max_length {} leaves no room for {} added tokens", options.max_length, added);
  Encoding tokens = tokens_of(text);
  if (options.max_length > 0) truncate(tokens, static_cast<std::size_t>(options.max_length - added));
  if (!options.add_special_tokens) return tokens;
  Encoding encoding;
  append(encoding, cls_id_, {}, 0, true);
  for (std::size_t i = 0; i < tokens.size(); ++i) append(encoding, tokens.ids[i], tokens.offsets[i], 0, false);
  append(encoding, sep_id_, {}, 0, true);
  return encoding;
}

Encoding Tokenizer::encode(std::string_view text, std::string_view pair, const EncodeOptions& options) const {
  const std::int64_t added = options.add_special_tokens ? 3 : 0;
  check(options.max_length == 0 || options.max_length >= added,
        "encode: max_length {} leaves no room for {} added tokens", options.max_length, added);
  Encoding first = tokens_of(text), second = tokens_of(pair);
  if (options.max_length > 0) {
    const auto [of_first, of_second] =
        kept_lengths(first.size(), second.size(), static_cast<std::size_t>(options.max_length - added));
    truncate(first, of_first);
    truncate(second, of_second);
  }
  Encoding encoding;
  if (options.add_special_tokens) append(encoding, cls_id_, {}, 0, true);
  for (std::size_t i = 0; i < first.size(); ++i) append(encoding, first.ids[i], first.offsets[i], 0, false);
  if (options.add_special_tokens) append(encoding, sep_id_, {}, 0, true);
  for (std::size_t i = 0; i < second.size(); ++i) append(encoding, second.ids[i], second.offsets[i], 1, false);
  if (options.add_special_tokens) append(encoding, sep_id_, {}, 1, true);
  return encoding;
}

std::string Tokenizer::decode(std::span<const std::int64_t> ids, bool skip_special_tokens) const {
  const std::string& prefix = options_.continuing_subword_prefix;
  std::string text;
  bool first = true;
  for (const std::int64_t id : ids) {
    if (skip_special_tokens && is_special(id)) continue;
    std::string piece = token(id);
    if (!first) piece = piece.starts_with(prefix) ? piece.substr(prefix.size()) : " " + piece;
    first = false;
    clean_up(piece);
    text += piece;
  }
  return text;
}

TokenBatch pad(std::span<const Encoding> encodings, std::int64_t pad_id, Device device) {
  std::size_t longest = 0;
  bool all_alike = true;
  for (const Encoding& encoding : encodings) {
    all_alike = all_alike && encoding.size() == encodings.front().size();
    longest = std::max(longest, encoding.size());
  }
  std::vector<std::int64_t> ids, type_ids, lengths;
  for (const Encoding& encoding : encodings) {
    ids.insert(ids.end(), encoding.ids.begin(), encoding.ids.end());
    type_ids.insert(type_ids.end(), encoding.type_ids.begin(), encoding.type_ids.end());
    lengths.push_back(static_cast<std::int64_t>(encoding.size()));
    ids.resize(lengths.size() * longest, pad_id);
    type_ids.resize(lengths.size() * longest, 0);
  }
  const auto batch = static_cast<std::int64_t>(lengths.size());
  const Shape shape = {batch, static_cast<std::int64_t>(longest)};
  TokenBatch result{
      from_vector(ids, shape, device), from_vector(type_ids, shape, device), from_vector(lengths, {batch}, device), {}};
  if (!all_alike) result.padding = padding_mask(result.lengths, shape[1]);
  return result;
}

}  // namespace heed::nn
