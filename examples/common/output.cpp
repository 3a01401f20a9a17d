#include "examples/common/output.h"

#include "engine/file.h"

namespace heed::examples {

void write_json(const Output& output, const nlohmann::ordered_json& json) {
  if (output.json.empty()) return;
  if (output.json == "-") {
    fmt::print("{}\n", json.dump());
  } else {
    write_file(output.json, json.dump(2) + "\n");
  }
}

}  // namespace heed::examples
