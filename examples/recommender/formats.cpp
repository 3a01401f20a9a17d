#include "examples/recommender/formats.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>

#include "engine/joined.h"
#include "kernels/error.h"

namespace heed::examples::recommender {

namespace {

namespace fs = std::filesystem;

struct Format {
  std::string name;
  // File names; "*.inter" stands for the one file that ends so. Beside NAME.inter lies NAME.item.
  std::string events, items, users;
  TableLayout events_layout, items_layout, users_layout;
};

const std::vector<Format>& formats() {
  static const std::vector<Format> all = {
      {"movielens-100k",
       "u.data",
       "u.item",
       "u.user",
       {"\t", false, {"user_id", "item_id", "rating", "timestamp"}},
       {"|", false, {"item_id",     "title",     "release_date", "video_release_date", "url",    "unknown",
                     "Action",      "Adventure", "Animation",    "Children's",         "Comedy", "Crime",
                     "Documentary", "Drama",     "Fantasy",      "Film-Noir",          "Horror", "Musical",
                     "Mystery",     "Romance",   "Sci-Fi",       "Thriller",           "War",    "Western"}},
       {"|", false, {"user_id", "age", "gender", "occupation", "zip_code"}}},
      {"movielens-1m",
       "ratings.dat",
       "movies.dat",
       "users.dat",
       {"::", false, {"user_id", "item_id", "rating", "timestamp"}},
       {"::", false, {"item_id", "title", "genres"}},
       {"::", false, {"user_id", "gender", "age", "occupation", "zip_code"}}},
      {"movielens-csv", "ratings.csv", "movies.csv", "users.csv", {",", true, {}}, {",", true, {}}, {",", true, {}}},
      {"recbole", "*.inter", "*.item", "*.user", {"\t", false, {}}, {"\t", false, {}}, {"\t", false, {}}},
      {"sasrec", "*.txt", "", "", {" ", false, {"user_id", "item_id"}}, {}, {}},
      {"csv", "*.csv", "", "", {",", true, {}}, {}, {}},
  };
  return all;
}

const Format& find_format(const std::string& name) {
  for (const Format& format : formats()) {
    if (format.name == name) return format;
  }
  throw Error(fmt::format("format '{}' is not known; there is auto, {}", name, joined(format_names(), ", ")));
}

// The separator that splits a header: the one that occurs most often.
TableLayout header_layout(std::string_view header) {
  std::string best = ",";
  for (const char candidate : {';', '\t'}) {
    if (std::ranges::count(header, candidate) > std::ranges::count(header, best[0])) best = candidate;
  }
  return {best, true, {}};
}

std::string first_line(const std::string& path) {
  LineReader lines(path);
  std::string_view line;
  if (!lines.next(line)) throw Error(fmt::format("{}: the file is empty", path));
  return std::string(line);
}

// A header has no numbers among its fields. Two fields could be two ids: then one must say what it is.
bool is_header(const std::string& line) {
  std::vector<std::string_view> fields;
  std::vector<std::string> unquoted;
  if (!split(line, header_layout(line), fields, unquoted) || fields.size() < 2) return false;
  const auto is_number = [number = 0.0](std::string_view field) mutable { return parse_number(field, number); };
  const auto says_user = [](std::string_view field) { return lower_case(field).find("user") != std::string::npos; };
  return std::ranges::none_of(fields, is_number) && (fields.size() > 2 || std::ranges::any_of(fields, says_user));
}

std::string recognise_file(const std::string& path, const ReadOptions& options) {
  if (!options.user_column.empty() || !options.item_column.empty()) return "csv";
  const std::string line = first_line(path);
  const auto fields = [&line](const std::string& separator) {
    std::vector<std::string_view> found;
    std::vector<std::string> unquoted;
    split(line, {separator, false, {}}, found, unquoted);
    return found.size();
  };
  if (line.find(":token") != std::string::npos && fields("\t") >= 2) return "recbole";
  if (fields("::") == 4) return "movielens-1m";
  if (is_header(line)) return fs::path(path).filename() == "ratings.csv" ? "movielens-csv" : "csv";
  if (fields("\t") == 4) return "movielens-100k";
  if (fields(" ") == 2) return "sasrec";
  throw Error(fmt::format("{}:1: cannot tell the layout of this file; name it (format {}): {}", path,
                          joined(format_names(), ", "), excerpt(line)));
}

// The files in the folder that fit a name of Format.
std::vector<std::string> matches(const fs::path& folder, const std::string& name) {
  std::vector<std::string> found;
  if (name.empty()) return found;
  if (!name.starts_with("*")) {
    if (fs::exists(folder / name)) found.push_back(folder / name);
    return found;
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().extension() == name.substr(1)) found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

std::string events_in_folder(const fs::path& folder, const ReadOptions& options) {
  std::vector<std::string> expected;
  for (const Format& format : formats()) {
    if (options.format != "auto" && options.format != format.name) continue;
    const std::vector<std::string> found = matches(folder, format.events);
    if (found.size() == 1) return found[0];
    if (found.size() > 1) {
      throw Error(fmt::format("{}: several files could hold the events: {}; name one of them", folder.string(),
                              joined(found, ", ")));
    }
    expected.push_back(format.events);
  }
  throw Error(
      fmt::format("{}: no file of events in this folder; looked for {}", folder.string(), joined(expected, ", ")));
}

TableFile beside(const fs::path& events, const std::string& name, const TableLayout& layout) {
  fs::path path = events.parent_path() / name;
  if (name.starts_with("*")) path = fs::path(events).replace_extension(name.substr(1));
  if (name.empty() || !fs::exists(path)) return {};
  return {path.string(), layout};
}

TableFile described_by_header(const std::string& path) {
  return {path, header_layout(first_line(path))};
}

}  // namespace

const std::vector<std::string>& format_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> result;
    for (const Format& format : formats()) result.push_back(format.name);
    return result;
  }();
  return names;
}

Sources find_sources(const std::string& path, const ReadOptions& options) try {
  if (options.format != "auto") find_format(options.format);
  if (!fs::exists(path)) throw Error(fmt::format("{}: no such file or folder", path));
  const std::string events = fs::is_directory(path) ? events_in_folder(path, options) : path;
  const Format& format = find_format(options.format == "auto" ? recognise_file(events, options) : options.format);
  Sources sources{format.name, {events, format.events_layout}, {}, {}};
  if (format.name == "csv") sources.events = described_by_header(events);
  sources.items = beside(events, format.items, format.items_layout);
  sources.users = beside(events, format.users, format.users_layout);
  if (!options.items_file.empty()) sources.items = described_by_header(options.items_file);
  if (!options.users_file.empty()) sources.users = described_by_header(options.users_file);
  return sources;
} catch (const fs::filesystem_error& error) {
  throw Error(fmt::format("{}: {}", path, error.code().message()));
}

}  // namespace heed::examples::recommender
