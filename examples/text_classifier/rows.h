// Texts and labels as they stand in a file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "examples/text_classifier/data.h"

namespace heed::examples::classifier {

struct Row {
  std::string label, text;
  std::int64_t line = 0;  // that it begins on, from 1
};

struct Rows {
  std::vector<Row> rows;
  std::string columns;  // which columns were taken; "" where there are none
};

Rows read_rows(std::string_view contents, const std::string& source, const ReadOptions& options);

}  // namespace heed::examples::classifier
