#include "engine/row_gradient.h"

#include <algorithm>
#include <numeric>

#include "engine/operation.h"
#include "engine/ops.h"
#include "kernels/gather/gather.h"

namespace heed {
namespace {

void add_at(const Tensor& table, const Tensor& index, const Tensor& values) {
  kernels::index_add(table.view(), 0, index.view(), values.view(), Stream{table.device(), nullptr});
}

}  // namespace

RowGradient sum_rows(const Tensor& index, const Tensor& values, std::optional<std::int64_t> without) {
  const std::vector<std::int64_t> row = index.to_vector<std::int64_t>();
  std::vector<std::int64_t> order(row.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::ranges::stable_sort(order, {}, [&](std::int64_t i) { return row[static_cast<std::size_t>(i)]; });

  std::vector<std::int64_t> rows, slot(row.size(), -1);  // values[i] is added to slot[i]
  for (const std::int64_t i : order) {
    const std::int64_t r = row[static_cast<std::size_t>(i)];
    if (r == without) continue;
    if (rows.empty() || rows.back() != r) rows.push_back(r);
    slot[static_cast<std::size_t>(i)] = static_cast<std::int64_t>(rows.size()) - 1;
  }
  // One slot more takes what is left out.
  const auto count = static_cast<std::int64_t>(rows.size());
  std::ranges::replace(slot, std::int64_t{-1}, count);
  const NoGrad no_grad;
  Shape shape = values.shape();
  shape[0] = count + 1;
  const Tensor sums = zeros(shape, values.options());
  add_at(sums, from_vector(slot, {values.size(0)}, values.device()), values);
  return {from_vector(rows, {count}, values.device()), sums.slice(0, 0, count)};
}

RowGradient merge(const RowGradient& a, const RowGradient& b) {
  const NoGrad no_grad;
  return sum_rows(cat({a.rows, b.rows}), cat({a.values, b.values}));
}

Tensor add_rows(Tensor dense, const RowGradient& gradient) {
  const Tensor result = solely_owned(dense) ? dense : dense.detach().clone();
  add_at(result, gradient.rows, gradient.values);
  return result;
}

Tensor to_dense(const RowGradient& gradient, const Shape& shape) {
  return add_rows(zeros(shape, gradient.values.options()), gradient);
}

}  // namespace heed
