// What read_interactions knows about each layout: which files, which columns. Data, no code that reads.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "examples/recommender/readers.h"
#include "examples/recommender/table.h"

namespace heed::examples::recommender {

struct TableFile {
  std::string path;  // empty: there is none
  TableLayout layout;
};

struct Sources {
  std::string format;
  TableFile events, items, users;
};

// Finds the files of `path` and how each is laid out. Throws heed::Error where it cannot tell.
Sources find_sources(const std::string& path, const ReadOptions& options);

}  // namespace heed::examples::recommender
