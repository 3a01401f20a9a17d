#include "tools/gpusim/runtime/source_text.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <vector>

namespace gpusim {
namespace {

const std::vector<std::string>& lines_of(const std::string& file) {
  static std::mutex& mutex = *new std::mutex;
  static auto& cache = *new std::map<std::string, std::vector<std::string>>;
  const std::lock_guard lock(mutex);
  const auto [at, is_new] = cache.try_emplace(file);
  if (is_new) {
    std::ifstream stream(file);
    for (std::string line; std::getline(stream, line);) at->second.push_back(line);
  }
  return at->second;
}

}  // namespace

std::string line_of_file(const std::string& file, int line) {
  const auto& lines = lines_of(file);
  if (line < 1 || static_cast<std::size_t>(line) > lines.size()) return {};
  const std::string& text = lines[static_cast<std::size_t>(line) - 1];
  const auto begin = text.find_first_not_of(" \t"), end = text.find_last_not_of(" \t\r");
  return begin == std::string::npos ? std::string() : text.substr(begin, end - begin + 1);
}

std::string source_line(const std::string& file, int line) {
  std::error_code error;
  const auto relative = std::filesystem::path(file).lexically_proximate(std::filesystem::current_path(error)).string();
  const bool below = !error && !relative.starts_with("..");
  std::string result = (below ? relative : file) + ":" + std::to_string(line);
  if (const std::string text = line_of_file(file, line); !text.empty()) result += ": " + text;
  return result;
}

}  // namespace gpusim
