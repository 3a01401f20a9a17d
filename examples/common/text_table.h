// Tables for the terminal.
#pragma once

#include <string>
#include <vector>

namespace heed::examples {

// Columns as wide as their widest cell, counted in characters (UTF-8). The first column and those in `left` are aligned
// left, the others right. The first row is the heading.
std::string text_table(const std::vector<std::vector<std::string>>& rows, const std::vector<std::size_t>& left = {});

// Cut to `width` characters, the last of them "…" where something is missing.
std::string shortened(const std::string& text, std::size_t width);

}  // namespace heed::examples
