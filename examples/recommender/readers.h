// Readers for the layouts in which interaction data are published.
#pragma once

#include <string>
#include <vector>

#include "examples/recommender/data.h"

namespace heed::examples::recommender {

struct ReadOptions {
  // "auto", or one of format_names(). "auto" goes by the names of the files in a folder, and by the first line of a
  // file.
  std::string format = "auto";
  // Columns of a CSV file, where they have other names than user, user_id, userId, item, item_id, itemId, movieId,
  // rating, timestamp.
  std::string user_column, item_column, rating_column, timestamp_column;
  // Files that describe items and users, where they do not lie beside the events under their usual names. Headers
  // name their columns: an id first of all, then title, genres, year, or whatever is known about a user.
  std::string items_file, users_file;
};

// movielens-100k   u.data (tab), u.item and u.user (|)                    no headers
// movielens-1m     ratings.dat, movies.dat, users.dat (::)                no headers
// movielens-csv    ratings.csv, movies.csv (20M, 25M, latest)             headers
// recbole          NAME.inter, NAME.item, NAME.user (tab)                 headers "user_id:token"
// sasrec           "user item" a line, in order of time                   no header
// csv              any other file with a header, between commas, semicolons or tabs
const std::vector<std::string>& format_names();

// Reads events, and what lies beside them on items and users. `path` is a file or a folder. Every row counts, repeated
// ones too; only blank lines are skipped. A row about an item or a user without events is read and not kept. Text that
// is not UTF-8 is taken for Latin-1.
// Throws heed::Error: a path that is missing, a layout that cannot be told, and, naming file, line, reason and text, a
// row that does not hold what it should.
Interactions read_interactions(const std::string& path, const ReadOptions& options = {});

}  // namespace heed::examples::recommender
