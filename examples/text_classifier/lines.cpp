#include "examples/text_classifier/lines.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/error.h"

namespace heed::examples::classifier {
namespace {

// Appends what there is to read, up to 64 KiB; false at the end.
bool read_some(int descriptor, std::string& text, const std::string& name) {
  char buffer[1 << 16];
  ssize_t count;
  do {
    count = read(descriptor, buffer, sizeof buffer);
  } while (count < 0 && errno == EINTR);
  check(count >= 0, "{}: cannot read: {}", name, std::strerror(errno));
  text.append(buffer, static_cast<std::size_t>(count));
  return count > 0;
}

}  // namespace

LineStream::LineStream(const std::string& path)
    : path_(path == "-" ? "standard input" : path),
      descriptor_(path == "-" ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  check(descriptor_ >= 0, "{}: cannot open: {}", path_, std::strerror(errno));
}

LineStream::~LineStream() {
  if (descriptor_ != STDIN_FILENO) close(descriptor_);
}

std::vector<std::string> LineStream::next() {
  std::vector<std::string> lines;
  while (lines.empty() && !ended_) {
    const std::size_t searched = rest_.size();
    ended_ = !read_some(descriptor_, rest_, path_);
    std::size_t begin = 0;
    for (std::size_t end = rest_.find('\n', searched); end != std::string::npos; end = rest_.find('\n', begin)) {
      lines.push_back(rest_.substr(begin, end - begin));
      begin = end + 1;
    }
    rest_.erase(0, begin);
    if (ended_ && !rest_.empty()) lines.push_back(std::exchange(rest_, {}));
  }
  return lines;
}

std::string read_standard_input() {
  std::string text;
  while (read_some(STDIN_FILENO, text, "standard input")) continue;
  return text;
}

}  // namespace heed::examples::classifier
