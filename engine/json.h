// JSON for the files that heed reads and writes. Reading and writing are most of what nlohmann's library costs whoever
// compiles a call of it: they are compiled here, once.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace heed {

using Json = nlohmann::ordered_json;  // keeps the order of its keys
using SortedJson = nlohmann::json;

// Throw nlohmann::json::exception on what is no JSON.
Json parse_json(std::string_view text);
SortedJson parse_sorted_json(std::string_view text);

// Text that is not UTF-8 throws nlohmann::json::exception, or becomes U+FFFD.
enum class NotUtf8 { refuse, replace };

// In one line, or with `indent` spaces per level.
std::string json_text(const Json& json, int indent = -1, NotUtf8 not_utf8 = NotUtf8::refuse);
std::string json_text(const SortedJson& json, int indent = -1);

}  // namespace heed
