// Reading text files of any size a line at a time, with errors that point at the line.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace heed::examples {

// Reads `path` in blocks of 1 MiB; memory does not grow with the file. Takes LF and CRLF line ends, a missing final line
// end and a UTF-8 byte order mark; skips blank lines, which carry no data. Throws heed::Error, naming the file, where it
// cannot be opened or read; naming the line too, where it holds control characters (a binary or UTF-16 file) or runs
// over 1 MiB.
class LineReader {
 public:
  explicit LineReader(const std::string& path);

  // The next line that is not blank, without its line end; false at the end of the file. The view lives until the
  // next call.
  bool next(std::string_view& line);

  const std::string& path() const { return path_; }
  std::int64_t line_number() const { return line_number_; }  // of the line given last, from 1

  // Throws heed::Error "ratings.csv:17: REASON: 'the line as it stands there'".
  [[noreturn]] void fail(const std::string& reason) const;

 private:
  bool next_raw(std::string_view& line);
  bool fill();

  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // what of buffer_ has been read from the file and not yet handed out
  std::int64_t line_number_ = 0;
  std::string_view line_;
};

bool is_utf8(std::string_view text);

// Text that is not UTF-8 is taken for Latin-1, the encoding of the older MovieLens files.
std::string to_utf8(std::string_view text);

std::string_view trim(std::string_view text);   // without blanks and tabs at either end
std::string lower_case(std::string_view text);  // ASCII letters only

// A finite number that fills the whole of `text`; false otherwise. Independent of the locale.
bool parse_number(std::string_view text, double& value);

// Text for an error message: at most 120 bytes, what cannot be printed escaped.
std::string excerpt(std::string_view text);

}  // namespace heed::examples
