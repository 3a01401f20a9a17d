// PTX text, token by token.
#pragma once

#include <string_view>

#include "tools/gpusim/ptx/error.h"

namespace gpusim::ptx {

struct Token {
  enum class Kind { end, word, number, string, mark };
  Kind kind = Kind::end;
  // A word is an identifier, a directive (it starts with a dot) or an opcode with all its modifiers: dots and double
  // colons belong to it. A mark is one character of punctuation. A string comes without its quotes.
  std::string_view text;
  int line = 0;

  bool is(std::string_view wanted) const { return kind != Kind::end && kind != Kind::string && text == wanted; }
  bool is_word() const { return kind == Kind::word; }
  bool is_directive() const { return is_word() && text.front() == '.'; }
};

class Lexer {
 public:
  // Reads from `position` on, which stands in `line`.
  explicit Lexer(std::string_view text, std::size_t position = 0, int line = 1);

  const Token& peek() const { return current_; }
  Token next();

  // The current token if it is `text`, else false and nothing is read.
  bool accept(std::string_view text);
  Token expect(std::string_view text);
  Token expect_word(const char* what);

  // The current token is a brace that opens: goes past the one that closes it.
  void skip_braces();

  std::size_t start() const { return start_; }  // where the current token begins
  std::size_t previous_end() const { return previous_end_; }
  std::string_view text() const { return text_; }

  [[noreturn]] void fail(std::string_view message) const;  // at the current token

 private:
  void scan();
  void skip_blanks();

  std::string_view text_;
  std::size_t position_, start_ = 0, previous_end_ = 0;
  int line_;
  Token current_;
};

// The whole line of the text, without blanks around it.
std::string_view line_of(std::string_view text, std::size_t position);

}  // namespace gpusim::ptx
