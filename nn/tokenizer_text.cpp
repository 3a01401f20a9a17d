#include "nn/tokenizer_text.h"

#include <algorithm>

#include "nn/tokenizer_unicode.h"

namespace heed::nn {
namespace {

constexpr char32_t replacement = 0xfffd;

// What WordSplitter does with an ASCII character, by character.
enum class Ascii : unsigned char { word, blank, punctuation, control };
constexpr Ascii ascii_kind(unsigned char c) {
  if (c == ' ' || c == '\t' || c == '\n' || c == '\r') return Ascii::blank;
  if (c < 0x20 || c == 0x7f) return Ascii::control;
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return letter || (c >= '0' && c <= '9') ? Ascii::word : Ascii::punctuation;
}
struct AsciiTable {
  Ascii kind[128] = {};
  constexpr AsciiTable() {
    for (unsigned char c = 0; c < 128; ++c) kind[c] = ascii_kind(c);
  }
};
constexpr AsciiTable ascii;

char lower_ascii(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at++]);
  if (lead < 0x80) return lead;
  if (lead < 0xc2 || lead > 0xf4) return replacement;
  const int more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
  // What the second byte may be: overlong forms, surrogates and what lies beyond U+10FFFF begin otherwise.
  unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  char32_t c = lead & (0x3f >> more);
  for (int i = 0; i < more; ++i) {
    if (at == text.size()) return replacement;
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < low || byte > high) return replacement;
    c = c << 6 | (byte & 0x3f);
    ++at;
    low = 0x80;
    high = 0xbf;
  }
  return c;
}

void append_utf8(std::string& text, char32_t c) {
  const auto byte = [&](char32_t value) { text.push_back(static_cast<char>(value)); };
  if (c < 0x80) return byte(c);
  if (c < 0x800) {
    byte(0xc0 | c >> 6);
  } else {
    if (c < 0x10000) {
      byte(0xe0 | c >> 12);
    } else {
      byte(0xf0 | c >> 18);
      byte(0x80 | (c >> 12 & 0x3f));
    }
    byte(0x80 | (c >> 6 & 0x3f));
  }
  byte(0x80 | (c & 0x3f));
}

std::string valid_utf8(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) append_utf8(result, next_code_point(text, at));
  return result;
}

std::int64_t count_code_points(std::string_view text) {
  std::int64_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++count) next_code_point(text, at);
  return count;
}

void Word::append(char32_t c, std::int64_t position) {
  append_utf8(text, c);
  positions.resize(text.size(), position);
  ++characters;
}

WordSplitter::WordSplitter(std::string_view text, std::int64_t first_position, const NormalizerOptions& options)
    : text_(text), position_(first_position), options_(options) {}

bool WordSplitter::next() {
  word_.clear();
  while (true) {
    if (take_queued()) return true;
    if (at_ == text_.size()) {
      flush_marks();
      if (queued_ < queue_.size()) continue;
      return word_.characters > 0;
    }
    const auto byte = static_cast<unsigned char>(text_[at_]);
    if (byte >= 0x80 || !options_.clean_text || !marks_.empty()) {
      read(next_code_point(text_, at_));
      ++position_;
      continue;
    }
    // Plain text, quickly.
    const Ascii kind = ascii.kind[byte];
    if (kind == Ascii::punctuation && word_.characters > 0) return true;
    ++at_;
    last_position_ = position_++;
    if (kind == Ascii::blank) {
      if (word_.characters > 0) return true;
    } else if (kind != Ascii::control) {
      const char c = static_cast<char>(byte);
      word_.append_ascii(options_.lowercase ? lower_ascii(c) : c, last_position_);
      if (kind == Ascii::punctuation) return true;
    }
  }
}

// Puts what is queued into the word; true when that completes it.
bool WordSplitter::take_queued() {
  while (queued_ < queue_.size()) {
    const auto [c, position] = queue_[queued_];
    const bool blank = unicode::is_whitespace(c), alone = !blank && unicode::is_punctuation(c);
    if (word_.characters > 0 && (blank || alone)) return true;
    ++queued_;
    if (blank) continue;
    word_.append(c, position);
    if (alone) return true;
  }
  queue_.clear();
  queued_ = 0;
  return false;
}

// A character of the original text.
void WordSplitter::read(char32_t c) {
  if (options_.clean_text) {
    const bool blank = c == '\t' || c == '\n' || c == '\r' || unicode::is_whitespace(c);
    const bool kept_control = c == '\t' || c == '\n' || c == '\r';
    if (c == 0 || c == replacement || (!kept_control && unicode::is_control(c))) return;
    if (blank) c = ' ';
  }
  if (options_.handle_chinese_chars && unicode::is_chinese_character(c)) {
    decompose(' ');
    decompose(c);
    decompose(' ');
  } else {
    decompose(c);
  }
}

void WordSplitter::decompose(char32_t c) {
  if (!options_.strip_accents) return lower_and_queue(c, position_);
  char32_t parts[unicode::longest_decomposition];
  const int count = unicode::decompose(c, parts);
  for (int i = 0; i < count; ++i) {
    const int combining_class = unicode::combining_class(parts[i]);
    if (combining_class != 0) {
      marks_.push_back({combining_class, parts[i], i > 0});
      if (i == 0) mark_positions_.push_back(position_);
    } else {
      flush_marks();
      if (i == 0) last_position_ = position_;
      if (!unicode::is_nonspacing_mark(parts[i])) lower_and_queue(parts[i], last_position_);
    }
  }
}

// Marks in canonical order. The order of the positions stays: it is the text's.
void WordSplitter::flush_marks() {
  std::stable_sort(marks_.begin(), marks_.end(),
                   [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
  std::size_t read = 0;
  for (const Mark& mark : marks_) {
    if (!mark.inserted) last_position_ = mark_positions_[read++];
    if (!unicode::is_nonspacing_mark(mark.c)) lower_and_queue(mark.c, last_position_);
  }
  marks_.clear();
  mark_positions_.clear();
}

void WordSplitter::lower_and_queue(char32_t c, std::int64_t position) {
  if (!options_.lowercase) return queue_.push_back({c, position});
  char32_t lower[2];
  const int count = unicode::lower_case(c, lower);
  for (int i = 0; i < count; ++i) queue_.push_back({lower[i], position});
}

}  // namespace heed::nn
