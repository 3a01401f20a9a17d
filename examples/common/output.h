// Where a program's words go: results to standard output, remarks to standard error.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

namespace heed::examples {

struct Output {
  std::string json;    // a path, "-" for standard output, "" for none
  std::string report;  // path of an HTML report, "" for none
  bool quiet = false;
};

// A line of the result, on standard output, unless that is for JSON.
template <class... Args>
void say(const Output& output, fmt::format_string<Args...> format, Args&&... args) {
  if (output.json == "-") return;
  fmt::print("{}\n", fmt::format(format, std::forward<Args>(args)...));
}

// A remark, on standard error.
template <class... Args>
void note(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, "{}\n", fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void note_unless(bool quiet, fmt::format_string<Args...> format, Args&&... args) {
  if (!quiet) note(format, std::forward<Args>(args)...);
}

void write_json(const Output& output, const nlohmann::ordered_json& json);

}  // namespace heed::examples
