// The gradient of a table of which few rows were looked up: those rows, and nothing for the others. embedding() makes
// one, so that a step through a table of a million rows costs what the thousand rows used cost.
#pragma once

#include <optional>

#include "engine/tensor.h"

namespace heed {

struct RowGradient {
  Tensor rows;    // i64 [n], increasing
  Tensor values;  // [n, ...]: values[i] belongs to row rows[i] of the table
};

// What values [n, ...] at the rows index [n] (i64 or i32, any order, may repeat) come to: equal rows are added up in
// the order in which they stand, and row `without` is left out.
RowGradient sum_rows(const Tensor& index, const Tensor& values, std::optional<std::int64_t> without = {});

// The sum of two of the same table.
RowGradient merge(const RowGradient& a, const RowGradient& b);

// dense [length, ...] with the rows added; in place when nobody else holds its memory.
Tensor add_rows(Tensor dense, const RowGradient& gradient);

// The whole gradient, of `shape` [length, ...].
Tensor to_dense(const RowGradient& gradient, const Shape& shape);

}  // namespace heed
