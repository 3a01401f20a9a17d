// The gradient of an added mask: the gradient of the scores once more, by two products, and summed along the axes that
// the mask was broadcast along. A task owns what it adds to: rows of the mask if those differ, else columns.
#include <algorithm>
#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/attention/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_mask_gradient_simd.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include "kernels/attention/blocks-inl.h"
#include "kernels/attention/gradients-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {
namespace {

constexpr std::int64_t task_rows = 4 * gradient_rows;

// Which axes are summed, and how the rest is cut into tasks.
struct MaskPlan {
  bool sums_rows, sums_columns;
  std::int64_t sequences, heads;  // that differ; 1: summed within a task
  std::int64_t row_chunks, column_chunks;
  std::int64_t key_block;

  MaskPlan(const Problem& p, const View& dmask)
      : sums_rows(dmask.strides[2] == 0), sums_columns(dmask.strides[3] == 0) {
    const bool sums_sequences = p.options.packed() ? sums_rows && sums_columns : dmask.strides[0] == 0;
    sequences = sums_sequences ? 1 : p.sequences();
    heads = dmask.strides[1] == 0 ? 1 : p.heads();
    key_block = block_columns(2 * (p.head_dim() + p.value_dim()), gradient_columns);
    row_chunks = sums_rows ? 1 : (p.longest_queries() + task_rows - 1) / task_rows;
    column_chunks = sums_rows && !sums_columns ? (p.longest_keys() + key_block - 1) / key_block : 1;
  }
  std::int64_t tasks() const { return sequences * heads * row_chunks * column_chunks; }
};

// The part of the mask that one task owns, and its sums.
struct MaskPart {
  const MaskPlan& plan;
  const View& dmask;
  double* sums;  // by row or column, whichever is not summed; where neither is, the mask itself is added to

  float& element(const AttentionSequence& sequence, std::int64_t h, std::int64_t i, std::int64_t j) const {
    return dmask
        .as<float>()[sequence.batch * dmask.strides[0] + h * dmask.strides[1] +
                     (sequence.first_query + i) * dmask.strides[2] + (sequence.first_key + j) * dmask.strides[3]];
  }

  // dscores of a block of queries and keys; rows and columns counted from the task's first.
  template <class Factors>
  void add(const GradientBlock<Factors>& block, std::int64_t h, std::int64_t first_row,
           std::int64_t first_column) const {
    const std::int64_t begin = block.columns.begin, end = std::min(block.columns.end, block.keys);
    for (std::int64_t r = block.first_row; r < block.last_row; ++r) {
      const float* const ds = block.dscores + r * gradient_columns;
      if (plan.sums_columns) {
        double sum = 0;
        for (std::int64_t c = begin; c < end; ++c) sum += static_cast<double>(ds[c]);
        sums[plan.sums_rows ? 0 : block.first_query + r - first_row] += sum;
      } else if (plan.sums_rows) {
        for (std::int64_t c = begin; c < end; ++c)
          sums[block.first_key - first_column + c] += static_cast<double>(ds[c]);
      } else {
        float* const to = &element(block.sequence, h, block.first_query + r, block.first_key);
        const std::int64_t step = dmask.strides[3];
        for (std::int64_t c = begin; c < end; ++c) to[c * step] += ds[c];
      }
    }
  }
};

template <class Factors>
void gradient_of_part(const Problem& problem, const GradientViews& views, const MaskPlan& plan, const View& dmask,
                      std::int64_t task, Arena arena) {
  const std::int64_t column_chunk = task % plan.column_chunks, row_chunk = task / plan.column_chunks % plan.row_chunks;
  const std::int64_t sh = task / plan.column_chunks / plan.row_chunks;
  const std::int64_t s_begin = plan.sequences == 1 ? 0 : sh / plan.heads;
  const std::int64_t s_end = plan.sequences == 1 ? problem.sequences() : s_begin + 1;
  const std::int64_t h_begin = plan.heads == 1 ? 0 : sh % plan.heads;
  const std::int64_t h_end = plan.heads == 1 ? problem.heads() : h_begin + 1;
  const std::int64_t row = row_chunk * task_rows, column = column_chunk * plan.key_block;

  auto* const sums = reinterpret_cast<double*>(arena.take(2 * task_rows));
  std::fill_n(sums, task_rows, 0.0);
  const MaskPart part{plan, dmask, sums};
  RowStatistics statistics(plan.sums_rows ? problem.longest_queries() : task_rows, arena);
  const AttentionSequence first = problem.sequence(s_begin);
  const std::int64_t own_rows = plan.sums_rows ? 1 : std::clamp<std::int64_t>(first.queries - row, 0, task_rows);
  for (std::int64_t i = row; i < row + own_rows && !plan.sums_rows && !plan.sums_columns; ++i) {
    for (std::int64_t j = 0; j < dmask.shape[3]; ++j) part.element(first, h_begin, i, j - first.first_key) = 0;
  }
  for (std::int64_t s = s_begin; s < s_end; ++s) {
    const AttentionSequence sequence = visible_part(problem, s);
    const std::int64_t i_end = plan.sums_rows ? sequence.queries : std::min(sequence.queries, row + task_rows);
    const std::int64_t j_end =
        plan.column_chunks == 1 ? sequence.keys : std::min(sequence.keys, column + plan.key_block);
    if (row >= i_end) continue;
    for (std::int64_t h = h_begin; h < h_end; ++h) {
      Arena space = arena;
      GradientBlock<Factors> block(problem, sequence, s, h / problem.group(), views.doutput, GradientOf::scores,
                                   plan.key_block, space);
      statistics.load(sequence, h, row, i_end - row, views, 0);
      for (std::int64_t j = column; j < j_end; j += plan.key_block) {
        block.load_keys(j, std::min(plan.key_block, j_end - j));
        const AttentionSpan queries = queries_of_block(problem, sequence, j, block.keys);
        for (std::int64_t i = std::max(row, queries.begin); i < std::min(i_end, queries.end); i += gradient_rows) {
          block.load_queries(h, i, std::min({gradient_rows, i_end - i, queries.end - i}));
          if (block.compute(statistics, i - row)) part.add(block, h, row, column);
        }
      }
    }
  }
  if (plan.sums_columns) {
    for (std::int64_t r = 0; r < own_rows; ++r) part.element(first, h_begin, row + r, 0) = static_cast<float>(sums[r]);
  } else if (plan.sums_rows) {
    const std::int64_t own_columns = std::min(plan.key_block, rows_of_keys(problem, s_begin) - column);
    for (std::int64_t c = 0; c < own_columns; ++c)
      part.element(first, h_begin, 0, column + c) = static_cast<float>(sums[c]);
  }
}

void mask_gradient(const View& query, const View& key, const View& value, const AttentionOptions& options,
                   const View& output, const View& log_sum_exp, const View& doutput, const View& dlog_sum_exp,
                   const View& dmask, const AttentionWorkspace& workspace) {
  const Problem problem{query, key, value, options};
  const GradientViews views{output, log_sum_exp, doutput, dlog_sum_exp};
  const MaskPlan plan(problem, dmask);
  const std::int64_t statistics = RowStatistics::size(plan.sums_rows ? problem.longest_queries() : task_rows);
  const std::int64_t all =
      query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2] * (problem.head_dim() + problem.value_dim());
  with_gradient_factors(query, [&]<class Factors>() {
    const std::int64_t scratch = 2 * task_rows + statistics + GradientBlock<Factors>::size(problem, plan.key_block);
    for_each_task(
        plan.tasks(), all / std::max<std::int64_t>(plan.tasks(), 1), scratch, workspace,
        [&](std::int64_t task, Arena arena) { gradient_of_part<Factors>(problem, views, plan, dmask, task, arena); });
  });
}

}  // namespace
}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {

HWY_EXPORT(mask_gradient);

void mask_gradient_fused(View query, View key, View value, const AttentionOptions& options, View output,
                         View log_sum_exp, View doutput, View dlog_sum_exp, View dmask,
                         const AttentionWorkspace& workspace, Stream) {
  HWY_DYNAMIC_DISPATCH(mask_gradient)
  (query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dmask, workspace);
}

const Register fused{attention_mask_gradient, DeviceType::cpu, "fused", &mask_gradient_fused, is_default};

}  // namespace
}  // namespace heed::kernels
#endif
