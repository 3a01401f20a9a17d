#include "examples/text_classifier/rows.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "engine/error.h"
#include "engine/joined.h"
#include "engine/json.h"
#include "examples/common/text.h"
#include "nn/tokenizer_text.h"

namespace heed::examples::classifier {
namespace {

constexpr std::string_view fasttext_mark = "__label__";
const std::vector<std::string> text_names = {"text",     "sentence", "content", "review", "document",
                                             "question", "title",    "message", "tweet",  "comment"};
const std::vector<std::string> label_names = {"label",  "labels",    "class", "category",
                                              "target", "sentiment", "topic", "coarse_label"};

[[noreturn]] void fail_at(const std::string& source, std::int64_t line, const std::string& reason) {
  fail("{}:{}: {}", source, line, reason);
}

std::string label_of(std::string_view field, const std::string& source, std::int64_t line) {
  const std::string label = nn::valid_utf8(trim(field));
  if (label.empty()) fail_at(source, line, "the label is empty");
  const bool plain =
      std::none_of(label.begin(), label.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  if (!plain) fail_at(source, line, fmt::format("the label {} holds control characters", excerpt(label)));
  return label;
}

// ---- Lines ---------------------------------------------------------------------------------------------------------

// Calls visit(line, number) for every line that is not blank, without its line end.
void for_each_line(std::string_view contents, const std::function<void(std::string_view, std::int64_t)>& visit) {
  std::int64_t number = 0;
  for (std::size_t begin = 0; begin < contents.size();) {
    const std::size_t end = std::min(contents.find('\n', begin), contents.size());
    std::string_view line = contents.substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++number;
    if (!trim(line).empty()) visit(line, number);
    begin = end + 1;
  }
}

Row line_row(std::string_view line, const std::string& source, std::int64_t number, std::string_view mark) {
  line = line.substr(std::min(line.find_first_not_of(" \t"), line.size()));
  if (!line.starts_with(mark)) fail_at(source, number, fmt::format("no {} at its beginning: {}", mark, excerpt(line)));
  line.remove_prefix(mark.size());
  const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
  const std::string_view text = line.substr(std::min(end + 1, line.size()));
  if (!mark.empty() && trim(text).starts_with(mark))
    fail_at(source, number, "it has several labels; a classifier with one label per text cannot learn that");
  return {label_of(line.substr(0, end), source, number), std::string(text), number};
}

// The value under a key, as text; nothing where it is missing.
std::optional<std::string> text_under(const nlohmann::json& object, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    if (!object.contains(key)) continue;
    const nlohmann::json& value = object.at(key);
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number() || value.is_boolean()) return json_text(value);
  }
  return {};
}

Row json_row(std::string_view line, const std::string& source, std::int64_t number, const ReadOptions& options) {
  nlohmann::json object;
  try {
    object = parse_sorted_json(nn::valid_utf8(line));
  } catch (const nlohmann::json::exception& error) {
    fail_at(source, number, fmt::format("not JSON: {}", error.what()));
  }
  if (!object.is_object()) fail_at(source, number, "not a JSON object");
  const auto field = [&](const char* what, const std::string& chosen, const std::vector<std::string>& names) {
    const std::optional<std::string> text =
        text_under(object, chosen.empty() ? names : std::vector<std::string>{chosen});
    if (!text) {
      fail_at(source, number,
              chosen.empty() ? fmt::format("no {} under any of the keys {}", what, joined(names, ", "))
                             : fmt::format("no {} under the key {}", what, chosen));
    }
    return *text;
  };
  return {label_of(field("label", options.label_column, label_names), source, number),
          field("text", options.text_column, text_names), number};
}

// ---- Columns -------------------------------------------------------------------------------------------------------

struct Record {
  std::vector<std::string> fields;
  std::int64_t line;
};

std::vector<Record> tsv_records(std::string_view contents) {
  std::vector<Record> records;
  for_each_line(contents, [&](std::string_view line, std::int64_t number) {
    Record record{{}, number};
    for (std::size_t begin = 0; begin <= line.size();) {
      const std::size_t end = std::min(line.find('\t', begin), line.size());
      record.fields.emplace_back(line.substr(begin, end - begin));
      begin = end + 1;
    }
    records.push_back(std::move(record));
  });
  return records;
}

// RFC 4180: fields in double quotes may hold commas, line ends and doubled quotes.
class CsvReader {
 public:
  CsvReader(std::string_view contents, const std::string& source) : contents_(contents), source_(source) {}

  bool next(Record& record) {
    skip_blank_lines();
    if (at_ == contents_.size()) return false;
    record = {{}, line_};
    do {
      record.fields.push_back(field());
    } while (take(','));
    take('\r');
    if (at_ < contents_.size() && !take('\n'))
      fail_at(source_, line_, "a quoted field goes on after its closing quote");
    return true;
  }

 private:
  void skip_blank_lines() {
    while (at_ < contents_.size() && (contents_[at_] == '\n' || contents_[at_] == '\r')) take(contents_[at_]);
  }
  bool take(char c) {
    if (at_ == contents_.size() || contents_[at_] != c) return false;
    if (c == '\n') ++line_;
    ++at_;
    return true;
  }
  std::string field() {
    if (take('"')) return quoted_field();
    const std::size_t end = std::min(contents_.find_first_of(",\n", at_), contents_.size());
    std::string_view text = contents_.substr(at_, end - at_);
    if (text.ends_with('\r') && (end == contents_.size() || contents_[end] == '\n')) text.remove_suffix(1);
    at_ += text.size();
    return std::string(text);
  }
  std::string quoted_field() {
    const std::int64_t opened = line_;
    std::string text;
    while (at_ < contents_.size()) {
      if (take('"')) {
        if (!take('"')) return text;
        text += '"';
      } else {
        text += contents_[at_];
        take(contents_[at_]);
      }
    }
    fail_at(source_, opened, "a quoted field does not end");
  }

  std::string_view contents_;
  const std::string& source_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1;
};

std::vector<Record> csv_records(std::string_view contents, const std::string& source) {
  std::vector<Record> records;
  CsvReader reader(contents, source);
  for (Record record; reader.next(record);) records.push_back(std::move(record));
  return records;
}

struct Columns {
  std::size_t label, text;
  bool header;
};

std::optional<std::size_t> named_column(const Record& header, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    for (std::size_t i = 0; i < header.fields.size(); ++i) {
      if (lower_case(trim(header.fields[i])) == lower_case(name)) return i;
    }
  }
  return {};
}

// A column that the user chose: a number from 1, or a name of the header.
std::size_t chosen_column(const Record& first, const std::string& chosen, const std::string& source, bool& header) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(chosen.data(), chosen.data() + chosen.size(), number);
  if (error == std::errc() && end == chosen.data() + chosen.size()) {
    check(number >= 1 && number <= first.fields.size(), "{}: no column {}, there are {}", source, number,
          first.fields.size());
    return number - 1;
  }
  const std::optional<std::size_t> column = named_column(first, {chosen});
  if (!column.has_value()) fail("{}: no column '{}' in the header: {}", source, chosen, joined(first.fields, ", "));
  header = true;
  return *column;
}

// Without names to go by: the label is what takes the fewest values, the text what is longest.
Columns guessed_columns(const std::vector<Record>& records) {
  const std::size_t count = records.front().fields.size(), looked_at = std::min<std::size_t>(records.size(), 1000);
  std::vector<std::set<std::string_view>> values(count);
  std::vector<std::size_t> length(count, 0);
  for (std::size_t r = 0; r < looked_at; ++r) {
    for (std::size_t c = 0; c < std::min(count, records[r].fields.size()); ++c) {
      values[c].insert(records[r].fields[c]);
      length[c] += records[r].fields[c].size();
    }
  }
  const auto text = static_cast<std::size_t>(std::max_element(length.begin(), length.end()) - length.begin());
  std::size_t label = text == 0 ? 1 : 0;
  for (std::size_t c = 0; c < count; ++c) {
    if (c != text && values[c].size() < values[label].size()) label = c;
  }
  return {label, text, false};
}

// A first row without names to go by is a header where its label is no other row's, in data whose labels all repeat.
bool looks_like_header(const std::vector<Record>& records, std::size_t label) {
  constexpr std::size_t fewest_rows = 10;
  if (records.size() <= fewest_rows) return false;
  std::map<std::string_view, int> counts;
  for (const Record& record : records) {
    if (label < record.fields.size()) ++counts[trim(record.fields[label])];
  }
  const std::string_view first = trim(records.front().fields[label]);
  return std::all_of(counts.begin(), counts.end(),
                     [&](const auto& entry) { return (entry.second == 1) == (entry.first == first); });
}

Columns find_columns(const std::vector<Record>& records, const std::string& source, const ReadOptions& options) {
  const Record& first = records.front();
  check(first.fields.size() >= 2, "{}:{}: one column, where a label and a text are needed", source, first.line);
  std::optional<std::size_t> label = named_column(first, label_names), text = named_column(first, text_names);
  bool header = label && text && *label != *text;
  Columns columns = header ? Columns{*label, *text, true} : guessed_columns(records);
  // One known name, and the user tells the other.
  if (!options.label_column.empty()) columns.label = chosen_column(first, options.label_column, source, columns.header);
  if (!options.text_column.empty()) columns.text = chosen_column(first, options.text_column, source, columns.header);
  if (columns.header && options.label_column.empty() && label) columns.label = *label;
  if (columns.header && options.text_column.empty() && text) columns.text = *text;
  columns.header = columns.header || looks_like_header(records, columns.label);
  check(columns.label != columns.text, "{}: column {} cannot be both the label and the text", source, columns.text + 1);
  return columns;
}

std::string description(const Columns& columns, const Record& first) {
  const auto column = [&](std::size_t i) {
    return columns.header ? fmt::format("{} ({})", i + 1, nn::valid_utf8(first.fields[i])) : std::to_string(i + 1);
  };
  return fmt::format("labels from column {}, texts from column {}{}", column(columns.label), column(columns.text),
                     columns.header ? "" : ", no header");
}

Rows rows_of(std::vector<Record> records, const std::string& source, const ReadOptions& options) {
  if (records.empty()) return {};
  const Columns columns = find_columns(records, source, options);
  std::vector<Row> rows;
  const std::string taken = description(columns, records.front());
  for (std::size_t r = columns.header ? 1 : 0; r < records.size(); ++r) {
    Record& record = records[r];
    const std::size_t expected = records.front().fields.size();
    if (record.fields.size() != expected) {
      fail_at(source, record.line,
              fmt::format("{} fields, where the first line has {}", record.fields.size(), expected));
    }
    rows.push_back({label_of(record.fields[columns.label], source, record.line), std::move(record.fields[columns.text]),
                    record.line});
  }
  return {std::move(rows), taken};
}

std::string detected_format(std::string_view contents, const std::string& source) {
  const std::size_t begin = std::min(contents.find_first_not_of(" \t\r\n"), contents.size());
  const std::string_view line = contents.substr(begin, contents.find('\n', begin) - begin);
  if (line.starts_with('{')) return "jsonl";
  if (line.starts_with(fasttext_mark)) return "fasttext";
  if (source.ends_with(".csv")) return "csv";
  if (source.ends_with(".tsv") || line.find('\t') != std::string_view::npos) return "tsv";
  return "lines";
}

}  // namespace

const std::vector<std::string>& formats() {
  static const std::vector<std::string> names = {"tsv", "csv", "fasttext", "lines", "jsonl"};
  return names;
}

Rows read_rows(std::string_view contents, const std::string& source, const ReadOptions& options) {
  if (contents.starts_with("\xef\xbb\xbf")) contents.remove_prefix(3);
  const std::string format = options.format == "auto" ? detected_format(contents, source) : options.format;
  check(std::find(formats().begin(), formats().end(), format) != formats().end(), "format '{}' is none of auto, {}",
        format, joined(formats(), ", "));
  if (format == "csv") return rows_of(csv_records(contents, source), source, options);
  if (format == "tsv") return rows_of(tsv_records(contents), source, options);
  std::vector<Row> rows;
  for_each_line(contents, [&](std::string_view line, std::int64_t number) {
    rows.push_back(format == "jsonl"
                       ? json_row(line, source, number, options)
                       : line_row(line, source, number, format == "fasttext" ? fasttext_mark : std::string_view()));
  });
  return {std::move(rows), ""};
}

}  // namespace heed::examples::classifier
