// Where a program's words go: results to standard output, remarks to standard error.
#pragma once

#include <fmt/core.h>

#include <cstdio>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace heed::examples {

struct Output {
  std::string json;    // a path, "-" for standard output, "" for none
  std::string report;  // path of an HTML report, "" for none
  bool quiet = false;
};

void print_line(std::FILE* file, fmt::string_view format, fmt::format_args args);

// A line of the result, on standard output, unless that is for JSON.
template <class... Args>
void say(const Output& output, fmt::format_string<Args...> format, Args&&... args) {
  if (output.json != "-") print_line(stdout, format, fmt::make_format_args(args...));
}

// A remark, on standard error.
template <class... Args>
void note(fmt::format_string<Args...> format, Args&&... args) {
  print_line(stderr, format, fmt::make_format_args(args...));
}
template <class... Args>
void note_unless(bool quiet, fmt::format_string<Args...> format, Args&&... args) {
  if (!quiet) note(format, std::forward<Args>(args)...);
}

void write_json(const Output& output, const nlohmann::ordered_json& json);

}  // namespace heed::examples
