// HTML pages that stand alone: made of a page with places {{name}}, and what goes there.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace heed::examples {

std::string escaped_html(std::string_view text);

// JSON that may stand in a <script>: without '<', nothing in it can end the element or open a comment. The three
// characters occur in strings only.
std::string escaped_json(const nlohmann::ordered_json& json);

// Fills the places of a page, in one pass: what is filled in may itself hold anything.
std::string filled(std::string_view page, const std::map<std::string_view, std::string_view>& contents);

}  // namespace heed::examples
