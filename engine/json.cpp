#include "engine/json.h"

namespace heed {

Json parse_json(std::string_view text) {
  return Json::parse(text);
}
SortedJson parse_sorted_json(std::string_view text) {
  return SortedJson::parse(text);
}

std::string json_text(const Json& json, int indent, NotUtf8 not_utf8) {
  using Handler = Json::error_handler_t;
  return json.dump(indent, ' ', false, not_utf8 == NotUtf8::refuse ? Handler::strict : Handler::replace);
}
std::string json_text(const SortedJson& json, int indent) {
  return json.dump(indent);
}

}  // namespace heed
