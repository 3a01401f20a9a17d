// A delimited text file as a table: columns by name, rows one after the other.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/common/text.h"

namespace heed::examples::recommender {

struct TableLayout {
  std::string separator;           // "\t", ",", "::", ...; " " means any run of blanks and tabs
  bool quoted = false;             // fields may stand in double quotes, a quote inside them doubled (RFC 4180)
  std::vector<std::string> names;  // the columns; empty: the first line names them ("user_id:token" is user_id)
};

// Splits one line. False where a quoted field does not end, or is followed by something else than a separator. Fields
// are views into `line` or, where they were quoted, into `unquoted`.
bool split(std::string_view line, const TableLayout& layout, std::vector<std::string_view>& fields,
           std::vector<std::string>& unquoted);

class Table {
 public:
  // Throws heed::Error where the file is empty or its header names a column twice.
  Table(const std::string& path, TableLayout layout);

  const std::vector<std::string>& columns() const { return layout_.names; }
  // The column of one of these names, in any case of letters.
  std::optional<std::size_t> find_column(const std::vector<std::string_view>& names) const;

  // The next row; false at the end. Throws heed::Error where its number of fields is not the number of columns.
  bool next();
  std::string_view field(std::size_t column) const { return fields_[column]; }
  // Each throws heed::Error, naming file, line and reason.
  std::string_view id(std::size_t column) const;
  double number(std::size_t column) const;
  [[noreturn]] void fail(const std::string& reason) const { lines_.fail(reason); }

 private:
  void split_line(std::string_view line);

  LineReader lines_;
  TableLayout layout_;
  bool pending_ = false;  // the first line was read and is a row
  std::vector<std::string_view> fields_;
  std::vector<std::string> unquoted_;
};

}  // namespace heed::examples::recommender
