// Lines of any bytes, as they arrive.
#pragma once

#include <string>
#include <vector>

namespace heed::examples::classifier {

// Reads a file, or standard input where path is "-", without waiting for more than there is: what a slow producer has
// written is handed on. Every line counts, whatever it holds; a last one without a line end too.
class LineStream {
 public:
  // Throws heed::Error where the file cannot be opened.
  explicit LineStream(const std::string& path);
  ~LineStream();
  LineStream(const LineStream&) = delete;
  LineStream& operator=(const LineStream&) = delete;

  // The next lines, at least one, without their line ends; none at the end. Throws heed::Error where reading fails.
  std::vector<std::string> next();

 private:
  std::string path_;
  int descriptor_;
  std::string rest_;  // the beginning of a line
  bool ended_ = false;
};

std::string read_standard_input();

}  // namespace heed::examples::classifier
