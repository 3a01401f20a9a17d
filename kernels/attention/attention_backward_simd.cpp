// Rung 5, fused, backward: five products. A task is a stretch of the keys of one head. It takes them block by block, and
// leads all queries past the block, 48 at a time: scores and their gradient come out of two products, strip by strip,
// and go into three more while they are in cache. dkey and dvalue of the block stay in cache until the queries are
// through; dquery is the task's own, and where a head has several tasks they are added up in order at the end.
#include <cmath>
#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/attention/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_backward_simd.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include "kernels/attention/blocks-inl.h"
#include "kernels/attention/gradients-inl.h"
#include "kernels/attention/scores-inl.h"
#include "kernels/attention/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {
namespace {

// How the work is cut: by the sizes alone, so that bits do not depend on the number of threads.
struct BackwardPlan {
  std::int64_t key_block;
  std::int64_t chunks;  // tasks of a key head
  std::int64_t chunk;   // keys of a task, most

  explicit BackwardPlan(const Problem& p) {
    constexpr std::int64_t enough_tasks = 16, fewest_keys = 256;
    const std::int64_t heads = std::max<std::int64_t>(p.sequences() * p.key_heads(), 1), keys = p.longest_keys();
    key_block = block_columns(2 * (p.head_dim() + p.value_dim()), gradient_columns);
    chunks = std::clamp<std::int64_t>(enough_tasks / heads, 1, std::max<std::int64_t>(keys / fewest_keys, 1));
    chunk = std::max<std::int64_t>(round_up((keys + chunks - 1) / chunks, key_block), 1);
  }
};

// What a task reads and writes.
struct BackwardTask {
  const Problem& problem;
  std::int64_t s, g;
  AttentionSequence sequence;
  const RowStatistics& statistics;  // of the queries of all heads of the group
  float* dquery;                    // [group, queries, padded(head_dim)]
};

// Adds what one block of queries and one block of keys have to say: to the block's dkey and dvalue, and to dquery.
template <class Factors>
void backward_block(const BackwardTask& task, const GradientBlock<Factors>& block, std::int64_t head, float* dkey,
                    float* dvalue) {
  const Factors& factors = block.factors;
  const std::int64_t first = block.first_row, last = block.last_row;
  factors.prepare(block.weights, block.dscores, first, last, block.columns);
  float* const dquery = task.dquery + (head * task.sequence.queries + block.first_query) * factors.depth;
  for (std::int64_t r = first; r < last; r += strip_rows) {
    const Columns& columns = block.strips[r / strip_rows];
    factors.add_dquery(block.dscores, r, std::min(strip_rows, last - r), columns.begin,
                       std::min(columns.end, block.keys), dquery + r * factors.depth);
  }
  const std::int64_t begin = block.columns.begin, end = std::min(block.columns.end, block.keys);
  factors.add_dvalue(block.weights, first, last, begin, end, dvalue + begin * factors.width);
  factors.add_dkey(block.dscores, first, last, begin, end, dkey + begin * factors.depth);
}

// dkey and dvalue of the keys [begin, end) of the task's sequence, and their part of dquery.
template <class Factors>
void backward_keys(const BackwardTask& task, const BackwardPlan& plan, std::int64_t begin, std::int64_t end,
                   const View& doutput, const View& dkey, const View& dvalue, Arena arena) {
  const Problem& problem = task.problem;
  const AttentionSequence& sequence = task.sequence;
  const std::int64_t depth = padded(problem.head_dim()), width = padded(problem.value_dim());
  float* const dk = arena.take(plan.key_block * depth);
  float* const dv = arena.take(plan.key_block * width);
  GradientBlock<Factors> block(problem, sequence, task.s, task.g, doutput, GradientOf::products, plan.key_block, arena);
  const double dropout = problem.options.dropout;
  const auto scale = static_cast<float>(problem.options.scale);
  const float kept = dropout < 1 ? static_cast<float>(1 / (1 - dropout)) : 0;
  for (std::int64_t j = begin; j < end; j += plan.key_block) {
    const std::int64_t n = std::min(plan.key_block, end - j), live = std::clamp<std::int64_t>(sequence.keys - j, 0, n);
    fill(dk, n * depth, 0);
    fill(dv, n * width, 0);
    if (live > 0) block.load_keys(j, live);
    const AttentionSpan queries = queries_of_block(problem, sequence, j, live);
    for (std::int64_t head = 0; head < problem.group(); ++head) {
      for (std::int64_t i = queries.begin; i < queries.end; i += gradient_rows) {
        block.load_queries(task.g * problem.group() + head, i, std::min(gradient_rows, queries.end - i));
        if (block.compute(task.statistics, head * sequence.queries + i)) backward_block(task, block, head, dk, dv);
      }
    }
    scatter_rows(dk, n, scale, Head(dkey, sequence.batch, task.g, sequence.first_key + j));
    scatter_rows(dv, n, kept, Head(dvalue, sequence.batch, task.g, sequence.first_key + j));
  }
}

template <class Factors>
void backward_with(const View& query, const View& key, const View& value, const AttentionOptions& options,
                   const View& output, const View& log_sum_exp, const View& doutput, const View& dlog_sum_exp,
                   const View& dquery, const View& dkey, const View& dvalue, const AttentionWorkspace& workspace) {
  const Problem problem{query, key, value, options};
  const GradientViews views{output, log_sum_exp, doutput, dlog_sum_exp};
  const BackwardPlan plan(problem);
  const std::int64_t depth = padded(problem.head_dim()), width = padded(problem.value_dim());
  const std::int64_t group = problem.group(), rows = group * problem.longest_queries();
  const std::int64_t heads = problem.sequences() * problem.key_heads();
  const std::int64_t part_size = round_up(rows * depth, 16);
  const std::int64_t scratch = part_size + plan.key_block * (depth + width) + RowStatistics::size(rows) +
                               GradientBlock<Factors>::size(problem, plan.key_block);
  float* const parts =
      plan.chunks == 1
          ? nullptr
          : static_cast<float*>(workspace(heads * plan.chunks * part_size * static_cast<std::int64_t>(sizeof(float))));
  // The sum of `count` parts, times scale.
  const auto write_dquery = [&](std::int64_t sg, float* first, std::int64_t count) {
    const std::int64_t s = sg / problem.key_heads(), g = sg % problem.key_heads();
    const AttentionSequence sequence = problem.sequence(s);
    for (std::int64_t r = 0; r < group * sequence.queries; ++r) {
      float* const sum = first + r * depth;
      for (std::int64_t k = 1; k < count; ++k) add_row(first + k * part_size + r * depth, sum, depth);
      const Head to(dquery, sequence.batch, g * group + r / sequence.queries, sequence.first_query);
      scatter_row(sum, problem.head_dim(), static_cast<float>(options.scale), dquery, to.row(r % sequence.queries));
    }
  };
  const std::int64_t multiplications = rows * (plan.chunk + 1) * (3 * depth + 2 * width);
  for_each_task(heads * plan.chunks, multiplications, scratch, workspace, [&](std::int64_t at, Arena arena) {
    const std::int64_t sg = at / plan.chunks, s = sg / problem.key_heads(), g = sg % problem.key_heads();
    const AttentionSequence sequence = visible_part(problem, s);
    float* const dq = plan.chunks == 1 ? arena.take(part_size) : parts + at * part_size;
    fill(dq, group * sequence.queries * depth, 0);
    RowStatistics statistics(rows, arena);
    for (std::int64_t h = 0; h < group; ++h)
      statistics.load(sequence, g * group + h, 0, sequence.queries, views, h * sequence.queries);
    const BackwardTask task{problem, s, g, sequence, statistics, dq};
    const std::int64_t begin = at % plan.chunks * plan.chunk;
    backward_keys<Factors>(task, plan, begin, std::min(begin + plan.chunk, rows_of_keys(problem, s)), doutput, dkey,
                           dvalue, arena);
    if (plan.chunks == 1) write_dquery(sg, dq, 1);
  });
  if (plan.chunks == 1) return;
  parallel_for(heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t sg = begin; sg < end; ++sg) write_dquery(sg, parts + sg * plan.chunks * part_size, plan.chunks);
  });
}

void backward(const View& query, const View& key, const View& value, const AttentionOptions& options,
              const View& output, const View& log_sum_exp, const View& doutput, const View& dlog_sum_exp,
              const View& dquery, const View& dkey, const View& dvalue, const AttentionWorkspace& workspace) {
  with_gradient_factors(query, [&]<class Factors>() {
    backward_with<Factors>(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue,
                           workspace);
  });
}

}  // namespace
}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {

HWY_EXPORT(backward);

void backward_fused(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                    View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                    const AttentionWorkspace& workspace, Stream) {
  if (key.shape[0] * key.shape[1] == 0) return;
  HWY_DYNAMIC_DISPATCH(backward)
  (query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue, workspace);
}

const Register fused{attention_backward, DeviceType::cpu, "fused", &backward_fused, is_default};

}  // namespace
}  // namespace heed::kernels
#endif
