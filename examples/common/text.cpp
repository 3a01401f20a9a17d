#include "examples/common/text.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "kernels/error.h"

namespace heed::examples {

namespace {

constexpr std::size_t block_bytes = std::size_t{1} << 20;

bool is_control(unsigned char byte) {
  return byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r';
}

std::string what_kind(std::string_view start) {
  if (start.starts_with("PK\x03\x04")) return "a zip archive: unzip it first";
  if (start.starts_with("\x1f\x8b")) return "a gzip archive: unpack it first";
  if (start.starts_with("\xff\xfe") || start.starts_with("\xfe\xff")) return "UTF-16 text: convert it to UTF-8 first";
  return "";
}

}  // namespace

LineReader::LineReader(const std::string& path) : path_(path), buffer_(2 * block_bytes) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) throw Error(fmt::format("{}: is a folder, expected a file", path));
  file_.reset(std::fopen(path.c_str(), "rb"));
  if (!file_) throw Error(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  fill();
  const std::string kind = what_kind({buffer_.data(), end_});
  if (!kind.empty()) throw Error(fmt::format("{}: this is {}", path_, kind));
  if (std::string_view(buffer_.data(), end_).starts_with("\xef\xbb\xbf")) begin_ = 3;
}

// Moves what is left to the front and reads one block behind it; false at the end of the file.
bool LineReader::fill() {
  std::copy(buffer_.begin() + begin_, buffer_.begin() + end_, buffer_.begin());
  end_ -= begin_;
  begin_ = 0;
  const std::size_t wanted = std::min(block_bytes, buffer_.size() - end_);
  const std::size_t count = std::fread(buffer_.data() + end_, 1, wanted, file_.get());
  if (std::ferror(file_.get())) throw Error(fmt::format("{}: cannot read: {}", path_, std::strerror(errno)));
  end_ += count;
  return count > 0;
}

bool LineReader::next_raw(std::string_view& line) {
  std::size_t searched = begin_;
  for (;;) {
    const char* found = static_cast<const char*>(std::memchr(buffer_.data() + searched, '\n', end_ - searched));
    if (found != nullptr) {
      line = {buffer_.data() + begin_, found};
      begin_ = static_cast<std::size_t>(found - buffer_.data()) + 1;
      break;
    }
    if (end_ - begin_ > block_bytes) {
      throw Error(fmt::format("{}:{}: a line of more than 1 MiB: not a text file?", path_, line_number_ + 1));
    }
    const std::size_t kept = end_ - begin_;
    if (!fill()) {
      if (begin_ == end_) return false;
      line = {buffer_.data() + begin_, end_ - begin_};
      begin_ = end_;
      break;
    }
    searched = kept;
  }
  ++line_number_;
  if (line.ends_with('\r')) line.remove_suffix(1);
  return true;
}

bool LineReader::next(std::string_view& line) {
  do {
    if (!next_raw(line)) return false;
    line_ = line;
    const auto control = std::find_if(line.begin(), line.end(), is_control);
    if (control != line.end()) fail(fmt::format("binary data (byte 0x{:02x})", static_cast<unsigned char>(*control)));
  } while (trim(line).empty());
  return true;
}

void LineReader::fail(const std::string& reason) const {
  throw Error(fmt::format("{}:{}: {}: {}", path_, line_number_, reason, excerpt(line_)));
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    if (lead < 0x80) continue;
    const int more = lead >= 0xc2 && lead <= 0xdf   ? 1
                     : (lead & 0xf0) == 0xe0        ? 2
                     : lead >= 0xf0 && lead <= 0xf4 ? 3
                                                    : 0;
    if (more == 0 || text.size() - i < static_cast<std::size_t>(more)) return false;
    const auto second = static_cast<unsigned char>(text[i]);
    const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
    const bool beyond = (lead == 0xed && second >= 0xa0) || (lead == 0xf4 && second >= 0x90);  // surrogates, > U+10FFFF
    if (overlong || beyond) return false;
    for (int k = 0; k < more; ++k, ++i) {
      if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return false;
    }
  }
  return true;
}

std::string to_utf8(std::string_view text) {
  if (is_utf8(text)) return std::string(text);
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      result += c;
    } else {  // a Latin-1 byte is its own code point
      result += static_cast<char>(0xc0 | byte >> 6);
      result += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  return result;
}

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

bool parse_number(std::string_view text, double& value) {
  text = trim(text);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty() && std::isfinite(value);
}

std::string excerpt(std::string_view text) {
  constexpr std::size_t most = 120;
  const bool printable = is_utf8(text);
  std::string result = "'";
  for (std::size_t i = 0; i < std::min(text.size(), most); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == '\t') {
      result += "\\t";
    } else if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !printable)) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += text[i];
    }
  }
  // A cut may fall inside a character: its first bytes go too.
  while (text.size() > most && !is_utf8(result)) result.pop_back();
  return result + (text.size() > most ? "...'" : "'");
}

}  // namespace heed::examples
