#include "tools/gpusim/ptx/lexer.h"

#include <fmt/format.h>

#include <array>

namespace gpusim::ptx {

namespace {

enum : unsigned char { starts_word = 1, continues_word = 2, digit = 4, blank = 8 };

constexpr auto classes = [] {
  std::array<unsigned char, 256> table{};
  for (int c = 'a'; c <= 'z'; ++c) table[c] = starts_word | continues_word;
  for (int c = 'A'; c <= 'Z'; ++c) table[c] = starts_word | continues_word;
  for (const char c : {'_', '$', '%', '.'}) table[static_cast<unsigned char>(c)] = starts_word | continues_word;
  for (int c = '0'; c <= '9'; ++c) table[c] = continues_word | digit;
  for (const char c : {' ', '\t', '\r', '\n', '\0'}) table[static_cast<unsigned char>(c)] = blank;
  return table;
}();

bool is(char c, unsigned char what) {
  return (classes[static_cast<unsigned char>(c)] & what) != 0;
}

}  // namespace

std::string_view line_of(std::string_view text, std::size_t position) {
  const std::size_t begin = position == 0 ? 0 : text.rfind('\n', position - 1) + 1;  // npos + 1 is 0
  std::string_view line = text.substr(begin, text.find('\n', begin) - begin);
  while (!line.empty() && is(line.front(), blank)) line.remove_prefix(1);
  while (!line.empty() && is(line.back(), blank)) line.remove_suffix(1);
  return line;
}

Lexer::Lexer(std::string_view text, std::size_t position, int line) : text_(text), position_(position), line_(line) {
  scan();
}

void Lexer::fail(std::string_view message) const {
  throw Error(fmt::format("PTX line {}: {}: {}", current_.line, message, line_of(text_, start_)), current_.line);
}

Token Lexer::next() {
  const Token token = current_;
  scan();
  return token;
}

bool Lexer::accept(std::string_view text) {
  if (!current_.is(text)) return false;
  scan();
  return true;
}

Token Lexer::expect(std::string_view text) {
  if (!current_.is(text)) fail(fmt::format("expected '{}'", text));
  return next();
}

Token Lexer::expect_word(const char* what) {
  if (!current_.is_word()) fail(fmt::format("expected {}", what));
  return next();
}

void Lexer::skip_blanks() {
  while (position_ < text_.size()) {
    const char c = text_[position_];
    if (is(c, blank)) {
      line_ += c == '\n';
      ++position_;
    } else if (c == '/' && text_.substr(position_, 2) == "//") {
      position_ = std::min(text_.find('\n', position_), text_.size());
    } else if (c == '/' && text_.substr(position_, 2) == "/*") {
      const std::size_t end = text_.find("*/", position_ + 2);
      const std::size_t stop = end == std::string_view::npos ? text_.size() : end + 2;
      for (; position_ < stop; ++position_) line_ += text_[position_] == '\n';
    } else {
      return;
    }
  }
}

void Lexer::scan() {
  previous_end_ = position_;
  skip_blanks();
  start_ = position_;
  current_ = {Token::Kind::end, {}, line_};
  if (position_ >= text_.size()) return;
  const char first = text_[position_];
  std::size_t end = position_ + 1;
  if (first == '"') {
    end = text_.find('"', end);
    if (end == std::string_view::npos) fail("a string without end");
    current_.kind = Token::Kind::string;
    current_.text = text_.substr(position_ + 1, end - position_ - 1);
    position_ = end + 1;
    return;
  }
  if (is(first, starts_word)) {
    current_.kind = Token::Kind::word;
    for (; end < text_.size(); ++end) {
      if (first == '.' && text_[end] == '.') break;  // .reg.b32 is two directives
      if (is(text_[end], continues_word)) continue;
      if (text_.substr(end, 2) != "::") break;
      ++end;
    }
  } else if (is(first, digit)) {
    current_.kind = Token::Kind::number;
    while (end < text_.size() && is(text_[end], continues_word)) {
      const bool exponent = (text_[end] == 'e' || text_[end] == 'E') && text_[position_ + 1] != 'x' &&
                            text_[position_ + 1] != 'f' && text_[position_ + 1] != 'd' && end + 1 < text_.size() &&
                            (text_[end + 1] == '-' || text_[end + 1] == '+');
      end += exponent ? 2 : 1;
    }
  } else {
    current_.kind = Token::Kind::mark;
  }
  current_.text = text_.substr(position_, end - position_);
  position_ = end;
}

void Lexer::skip_braces() {
  // The text is walked character by character: bodies are long, and most are never run.
  int depth = 1;
  while (depth > 0) {
    skip_blanks();
    if (position_ >= text_.size()) fail("a brace is not closed");
    const char c = text_[position_++];
    if (c == '{') ++depth;
    if (c == '}') --depth;
    if (c == '"') position_ = std::min(text_.find('"', position_), text_.size() - 1) + 1;
  }
  scan();
}

}  // namespace gpusim::ptx
