#include "examples/recommender/table.h"

#include <fmt/core.h>

#include <algorithm>

#include "engine/joined.h"
#include "kernels/error.h"

namespace heed::examples::recommender {

namespace {

void split_blanks(std::string_view line, std::vector<std::string_view>& fields) {
  for (std::size_t begin = line.find_first_not_of(" \t"); begin != std::string_view::npos;) {
    const std::size_t end = std::min(line.find_first_of(" \t", begin), line.size());
    fields.push_back(line.substr(begin, end - begin));
    begin = line.find_first_not_of(" \t", end);
  }
}

// Reads the quoted field that opens at `position`, and moves behind it; false where it does not close.
bool take_quoted(std::string_view line, std::size_t& position, std::string& text) {
  text.clear();
  for (++position; position < line.size(); ++position) {
    if (line[position] != '"') {
      text += line[position];
    } else if (line.substr(position).starts_with("\"\"")) {
      text += line[position++];
    } else {
      ++position;
      return true;
    }
  }
  return false;
}

}  // namespace

bool split(std::string_view line, const TableLayout& layout, std::vector<std::string_view>& fields,
           std::vector<std::string>& unquoted) {
  fields.clear();
  if (layout.separator == " ") {
    split_blanks(line, fields);
    return true;
  }
  const bool any_quotes = layout.quoted && line.find('"') != std::string_view::npos;
  // Views into these strings must stay good while more are added.
  if (any_quotes) unquoted.resize(std::max(unquoted.size(), static_cast<std::size_t>(std::ranges::count(line, '"'))));
  std::size_t used = 0;
  for (std::size_t begin = 0;;) {
    std::size_t end;
    if (any_quotes && begin < line.size() && line[begin] == '"') {
      end = begin;
      if (!take_quoted(line, end, unquoted[used])) return false;
      fields.push_back(unquoted[used++]);
      if (end < line.size() && !line.substr(end).starts_with(layout.separator)) return false;
    } else {
      end = std::min(line.find(layout.separator, begin), line.size());
      fields.push_back(line.substr(begin, end - begin));
    }
    if (end == line.size()) return true;
    begin = end + layout.separator.size();
  }
}

Table::Table(const std::string& path, TableLayout layout) : lines_(path), layout_(std::move(layout)) {
  std::string_view line;
  if (!lines_.next(line)) throw Error(fmt::format("{}: the file is empty", path));
  if (!layout_.names.empty()) {
    pending_ = true;
    split_line(line);
    return;
  }
  split_line(line);
  for (const std::string_view field : fields_) {
    const std::string name = to_utf8(trim(field.substr(0, field.find(':'))));
    if (std::ranges::find(layout_.names, name) != layout_.names.end()) {
      lines_.fail(fmt::format("the header names column '{}' twice", name));
    }
    layout_.names.push_back(name);
  }
}

void Table::split_line(std::string_view line) {
  if (!split(line, layout_, fields_, unquoted_)) {
    lines_.fail("a quoted field does not end on its line, or goes on after its closing quote");
  }
}

bool Table::next() {
  std::string_view line;
  if (pending_) {
    pending_ = false;
  } else {
    if (!lines_.next(line)) return false;
    split_line(line);
  }
  if (fields_.size() != layout_.names.size()) {
    lines_.fail(fmt::format("expected {} fields ({}), found {}", layout_.names.size(), joined(layout_.names, ", "),
                            fields_.size()));
  }
  return true;
}

std::optional<std::size_t> Table::find_column(const std::vector<std::string_view>& names) const {
  for (const std::string_view name : names) {
    for (std::size_t i = 0; i < layout_.names.size(); ++i) {
      if (lower_case(layout_.names[i]) == lower_case(name)) return i;
    }
  }
  return std::nullopt;
}

std::string_view Table::id(std::size_t column) const {
  const std::string_view text = trim(fields_[column]);
  if (text.empty()) lines_.fail(fmt::format("the {} is empty", layout_.names[column]));
  return text;
}

double Table::number(std::size_t column) const {
  double value = 0;
  if (!parse_number(fields_[column], value)) {
    lines_.fail(fmt::format("the {} {} is not a finite number", layout_.names[column], excerpt(fields_[column])));
  }
  return value;
}

}  // namespace heed::examples::recommender
