// The JSON file that --json asks for.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace gpusim {

using Json = nlohmann::ordered_json;

// Writes the report, with what every mode tells (mode, gpu, program) in front. Does nothing when no file was asked for.
void write_json(const char* mode, Json report);

}  // namespace gpusim
