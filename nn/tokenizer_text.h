// Text as BERT sees it: from bytes to normalised words that remember where they came from. Exactly what the normaliser
// and the pre-tokeniser of Hugging Face's fast BertTokenizer do, in one pass.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heed::nn {

// The code point that starts at text[at], which moves behind it. Bytes that are not UTF-8 count as U+FFFD, one for each
// maximal part of a character (Unicode 15, section 3.9), as Python's errors="replace" and browsers have it.
char32_t next_code_point(std::string_view text, std::size_t& at);
void append_utf8(std::string& text, char32_t c);
// The same text as valid UTF-8.
std::string valid_utf8(std::string_view text);
// How many code points next_code_point finds.
std::int64_t count_code_points(std::string_view text);

struct NormalizerOptions {
  bool clean_text = true;            // drops control characters, turns every kind of white space into blanks
  bool handle_chinese_chars = true;  // each CJK ideograph is a word
  bool strip_accents = true;         // decomposes (NFD) and drops nonspacing marks
  bool lowercase = true;
};

// One word: its bytes, and for each byte the code point of the original text that it comes from.
struct Word {
  std::string text;
  std::vector<std::int64_t> positions;
  std::int64_t characters = 0;

  void append(char32_t c, std::int64_t position);
  void append_ascii(char c, std::int64_t position) {
    text.push_back(c);
    positions.push_back(position);
    ++characters;
  }
  void clear() {
    text.clear();
    positions.clear();
    characters = 0;
  }
};

// Cuts text into words, at white space and around punctuation:
//
//   WordSplitter words(text, 0, options);
//   while (words.next()) use(words.word());
class WordSplitter {
 public:
  // first_position: the number of text's first code point in a longer text.
  WordSplitter(std::string_view text, std::int64_t first_position, const NormalizerOptions& options);

  bool next();
  const Word& word() const { return word_; }
  std::int64_t position() const { return position_; }  // code points read so far, from first_position

 private:
  struct Mark {  // a character that others may change places with (its combining class is not 0)
    int combining_class;
    char32_t c;
    bool inserted;  // not the first of its character's decomposition
  };
  struct Normalized {
    char32_t c;
    std::int64_t position;
  };
  void read(char32_t c);
  void decompose(char32_t c);
  void flush_marks();
  void lower_and_queue(char32_t c, std::int64_t position);
  bool take_queued();

  std::string_view text_;
  std::size_t at_ = 0;
  std::int64_t position_;
  NormalizerOptions options_;
  Word word_;
  std::vector<Normalized> queue_;  // normalised, not yet part of a word; from queued_ on
  std::size_t queued_ = 0;
  std::vector<Mark> marks_;
  std::vector<std::int64_t> mark_positions_;
  std::int64_t last_position_ = 0;
};

}  // namespace heed::nn
