#include "examples/common/output.h"

#include "engine/file.h"
#include "engine/json.h"

namespace heed::examples {

void print_line(std::FILE* file, fmt::string_view format, fmt::format_args args) {
  fmt::print(file, "{}\n", fmt::vformat(format, args));
}

void write_json(const Output& output, const nlohmann::ordered_json& json) {
  if (output.json.empty()) return;
  if (output.json == "-") {
    fmt::print("{}\n", json_text(json));
  } else {
    write_file(output.json, json_text(json, 2) + "\n");
  }
}

}  // namespace heed::examples
