#include "examples/recommender/readers.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>

#include "engine/joined.h"
#include "examples/recommender/formats.h"
#include "examples/recommender/table.h"
#include "kernels/error.h"

namespace heed::examples::recommender {

namespace {

using Names = std::vector<std::string_view>;
const Names user_names = {"user", "user_id", "userId"};
const Names item_names = {"item", "item_id", "itemId", "movieId", "movie_id"};

std::optional<std::size_t> find_column(const Table& table, const Names& usual, const std::string& given) {
  return given.empty() ? table.find_column(usual) : table.find_column({given});
}

std::size_t need_column(const Table& table, const Names& usual, const std::string& given, const std::string& path) {
  const auto column = find_column(table, usual, given);
  if (column) return *column;
  throw Error(fmt::format("{}:1: no column {}; the columns are {}", path,
                          given.empty() ? joined(usual, " or ") : excerpt(given), joined(table.columns(), ", ")));
}

std::optional<std::size_t> optional_column(const Table& table, const Names& usual, const std::string& given,
                                           const std::string& path) {
  if (given.empty()) return table.find_column(usual);
  return need_column(table, usual, given, path);
}

// Ids as UTF-8. Nearly all are; the others need room of their own.
std::string_view utf8_id(std::string_view id, std::string& room) {
  if (is_utf8(id)) return id;
  room = to_utf8(id);
  return room;
}

InteractionsBuilder read_events(const TableFile& file, const ReadOptions& options) {
  Table table(file.path, file.layout);
  const std::size_t user = need_column(table, user_names, options.user_column, file.path);
  const std::size_t item = need_column(table, item_names, options.item_column, file.path);
  const auto rating = optional_column(table, {"rating"}, options.rating_column, file.path);
  const auto timestamp = optional_column(table, {"timestamp"}, options.timestamp_column, file.path);
  InteractionsBuilder builder(rating.has_value(), timestamp.has_value());
  std::string user_room, item_room;
  std::int64_t rows = 0;
  for (; table.next(); ++rows) {
    builder.add(utf8_id(table.id(user), user_room), utf8_id(table.id(item), item_room),
                rating ? static_cast<float>(table.number(*rating)) : 1.0F, timestamp ? table.number(*timestamp) : 0.0);
  }
  if (rows == 0) throw Error(fmt::format("{}: a header and no events", file.path));
  return builder;
}

// The year of "01-Jan-1995", "1995-12-31" or "1995"; 0 where there is none.
int year_of_date(std::string_view date) {
  const auto year = [](std::string_view digits) {
    const bool four = digits.size() == 4 && std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
    return four ? std::stoi(std::string(digits)) : 0;
  };
  date = trim(date);
  if (date.size() < 4) return 0;
  const int last = year(date.substr(date.size() - 4));
  return last != 0 ? last : year(date.substr(0, 4));
}

// The year of "Heat (1995)".
int year_of_title(std::string_view title) {
  const bool ends_so = title.size() > 6 && title[title.size() - 6] == '(' && title.ends_with(')');
  return ends_so ? year_of_date(title.substr(title.size() - 5, 4)) : 0;
}

std::vector<std::string> split_genres(std::string_view text, char separator) {
  std::vector<std::string> genres;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    const std::string_view genre = trim(text.substr(0, end));
    if (!genre.empty() && genre != "(no genres listed)") genres.push_back(to_utf8(genre));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return genres;
}

struct ItemColumns {
  std::size_t id = 0;
  std::optional<std::size_t> title, genres, year;
  std::size_t first_flag = 0, last_flag = 0;  // u.item: a column of 0 or 1 per genre, [first, last)
  char genre_separator = '|';
};

ItemInfo read_item(const Table& table, const ItemColumns& columns) {
  ItemInfo info;
  info.title = to_utf8(trim(columns.title ? table.field(*columns.title) : table.id(columns.id)));
  if (columns.genres) info.genres = split_genres(table.field(*columns.genres), columns.genre_separator);
  for (std::size_t flag = columns.first_flag; flag < columns.last_flag; ++flag) {
    if (table.number(flag) != 0) info.genres.push_back(table.columns()[flag]);
  }
  if (columns.year) info.year = year_of_date(table.field(*columns.year));
  if (info.year == 0) info.year = year_of_title(info.title);
  return info;
}

void read_items(const TableFile& file, const std::string& format, const IdTable& items, std::vector<ItemInfo>& result) {
  Table table(file.path, file.layout);
  ItemColumns columns;
  columns.id = table.find_column(item_names).value_or(0);
  columns.title = table.find_column({"title", "movie_title", "name", "item_name"});
  columns.genres = table.find_column({"genres", "genre", "class", "categories"});
  columns.year = table.find_column({"year", "release_year", "release_date"});
  if (format == "recbole" && file.layout.separator == "\t") columns.genre_separator = ' ';
  if (format == "movielens-100k" && !file.layout.names.empty()) {
    columns.first_flag = *table.find_column({"url"}) + 1;
    columns.last_flag = table.columns().size();
  }
  std::vector<bool> known(items.ids().size());
  std::string room;
  while (table.next()) {
    const auto item = items.find(utf8_id(table.id(columns.id), room));
    ItemInfo info = read_item(table, columns);
    if (!item) continue;
    if (known[*item]) table.fail(fmt::format("item {} is listed a second time", excerpt(items.ids()[*item])));
    known[*item] = true;
    result[*item] = std::move(info);
  }
}

std::vector<UserColumn> read_users(const TableFile& file, const IdTable& users) {
  Table table(file.path, file.layout);
  const std::size_t id = table.find_column(user_names).value_or(0);
  std::vector<UserColumn> columns;
  for (const std::string& name : table.columns()) {
    columns.push_back({name, std::vector<std::string>(users.ids().size())});
  }
  std::vector<bool> known(users.ids().size());
  std::string room;
  while (table.next()) {
    const auto user = users.find(utf8_id(table.id(id), room));
    if (!user) continue;
    if (known[*user]) table.fail(fmt::format("user {} is listed a second time", excerpt(users.ids()[*user])));
    known[*user] = true;
    for (std::size_t i = 0; i < columns.size(); ++i) columns[i].values[*user] = to_utf8(trim(table.field(i)));
  }
  columns.erase(columns.begin() + static_cast<std::ptrdiff_t>(id));
  return columns;
}

}  // namespace

Interactions read_interactions(const std::string& path, const ReadOptions& options) {
  const Sources sources = find_sources(path, options);
  InteractionsBuilder builder = read_events(sources.events, options);
  std::vector<ItemInfo> info;
  for (const std::string& id : builder.items().ids()) info.push_back({id, {}, 0});
  if (!sources.items.path.empty()) read_items(sources.items, sources.format, builder.items(), info);
  std::vector<UserColumn> columns;
  if (!sources.users.path.empty()) columns = read_users(sources.users, builder.users());
  Interactions result = builder.build(path);
  result.item_info = std::move(info);
  result.user_columns = std::move(columns);
  return result;
}

}  // namespace heed::examples::recommender
