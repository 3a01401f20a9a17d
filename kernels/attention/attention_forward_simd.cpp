// Rung 5, fused, forward. A task is a chunk of the queries that share a key head. It takes the keys block by block,
// copies them into panels, and leads strips of six queries past the block: product, scores, running softmax, product.
// The scores of a strip, 12 KB, never leave the first-level cache; the block and the chunk's outputs stay in the second.
// NOTES.md has the picture.
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_forward_simd.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include "kernels/attention/blocks-inl.h"
#include "kernels/attention/pairs-inl.h"
#include "kernels/attention/scores-inl.h"
#include "kernels/attention/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {
namespace {

// How the work is cut: by the sizes alone, so that bits do not depend on the number of threads.
struct ForwardPlan {
  std::int64_t rows;       // of a chunk, most
  std::int64_t chunks;     // of the queries that share a key head
  std::int64_t key_block;  // keys at a time
  std::int64_t splits;     // parts that the keys are cut into, where there are few queries
  std::int64_t split_keys;

  explicit ForwardPlan(const Problem& p) {
    constexpr std::int64_t most_rows = 64 * strip_rows, enough_tasks = 16, fewest_keys = 1024;
    const std::int64_t all_rows = p.group() * p.longest_queries(), heads = p.sequences() * p.key_heads();
    const std::int64_t wanted = std::clamp<std::int64_t>(heads * all_rows / 64, 16 * strip_rows, most_rows);
    chunks = std::max<std::int64_t>((all_rows + wanted - 1) / wanted, 1);
    rows = round_up((all_rows + chunks - 1) / chunks, strip_rows);
    key_block = block_columns(p.head_dim() + p.value_dim(), most_columns);
    splits = std::clamp<std::int64_t>(enough_tasks / std::max<std::int64_t>(heads * chunks, 1), 1,
                                      std::max<std::int64_t>(p.longest_keys() / fewest_keys, 1));
    split_keys = round_up((p.longest_keys() + splits - 1) / splits, panel_width);
  }
};

// What a chunk knows of the keys it has met: for each row the sum of exp2(score - max) value, the largest score, and the
// sum of exp2(score - max).
struct Running {
  float *output, *max, *sum;  // [rows, padded(value_dim)], [rows], [rows]

  Running(Arena& arena, std::int64_t rows, std::int64_t width)
      : output(arena.take(rows * width)), max(arena.take(rows + 16)), sum(arena.take(rows + 16)) {}
  static std::int64_t size(std::int64_t rows, std::int64_t width) { return round_up(rows * (width + 2) + 5 * 16, 16); }

  void clear(std::int64_t rows, std::int64_t width) const {
    fill(output, rows * width, 0);
    fill(max, rows + 16, minus_infinity);
    fill(sum, rows + 16, 0);
  }
};

// Scores of a strip to weights, in place; what the strip's rows have of `running` is brought up to date.
void take_strip(const Problem& problem, const AttentionSequence& sequence, const QueryRow* rows, std::int64_t count,
                const Columns& columns, float* scores, const Running& running, std::int64_t row, std::int64_t width,
                DropoutWords* dropout) {
  const hn::CappedTag<float, 8> d;
  constexpr std::int64_t lanes = std::min<std::int64_t>(8, vector_floats);
  const std::int64_t n = columns.end - columns.begin;
  alignas(32) float largest[8] = {}, before[8] = {}, from[8], correction[8];
  const float factor = problem.factor();
  for (std::int64_t r = 0; r < count; ++r) {
    before[r] = running.max[row + r];
    largest[r] = max_of(scores + r * most_columns + columns.begin, n) * factor;
  }
  for (std::int64_t r = 0; r < 8; r += lanes) {
    const auto old = hn::Load(d, before + r), grown = hn::Max(old, hn::Load(d, largest + r));
    const auto nothing = hn::Eq(grown, hn::Set(d, minus_infinity));
    hn::Store(grown, d, largest + r);
    hn::Store(hn::IfThenElse(nothing, hn::Zero(d), grown), d, from + r);
    hn::Store(hn::Sub(old, hn::IfThenElse(nothing, hn::Zero(d), grown)), d, correction + r);
  }
  const bool is_first = std::all_of(before, before + count, [](float x) { return x == minus_infinity; });
  for (std::int64_t r = 0; r < count; ++r) {
    float* const s = scores + r * most_columns + columns.begin;
    if (!is_first && largest[r] != before[r]) {
      const float shrink = std::exp2(correction[r]);
      running.sum[row + r] *= shrink;
      scale_row(running.output + (row + r) * width, width, shrink);
    }
    running.max[row + r] = largest[r];
    running.sum[row + r] +=
        dropout == nullptr ? exp2_row<false>(s, n, factor, from[r], nullptr, 0)
                           : exp2_row<true>(s, n, factor, from[r], dropout->draw(problem, sequence, rows[r], columns),
                                            dropout->threshold);
  }
}

// What a chunk multiplies: its queries, and a block of keys and values, copied into the order in which the products read
// them.
struct FloatFactors {
  const Problem& problem;
  const AttentionSequence& sequence;
  std::int64_t g, width = padded(problem.value_dim());
  HeadRows keys{{problem.key, sequence.batch, g, sequence.first_key}, problem.key_factor()};
  HeadRows values{{problem.value, sequence.batch, g, sequence.first_key}};
  float *query, *panels, *copy;
  Right key_rows{}, value_rows{};
  std::int64_t key_count = 0;
  bool has_few_queries = false;  // then the keys are read where they lie, and not copied into panels

  FloatFactors(const Problem& problem, const AttentionSequence& sequence, const ForwardPlan& plan, std::int64_t g,
               Arena& arena)
      : problem(problem),
        sequence(sequence),
        g(g),
        query(arena.take(plan.rows * padded(problem.head_dim()))),
        panels(arena.take(plan.key_block * padded(problem.head_dim()))),
        copy(arena.take(plan.key_block * std::max(padded(problem.head_dim()), width))) {}
  static std::int64_t size(const Problem& p, const ForwardPlan& plan) {
    const std::int64_t depth = padded(p.head_dim());
    return plan.rows * depth + plan.key_block * (depth + std::max(depth, padded(p.value_dim())));
  }

  void load_queries(std::int64_t first, std::int64_t count) {
    gather_queries(problem, problem.query, sequence, g, first, count, query);
    has_few_queries = count <= strip_rows;
  }
  void load_keys(std::int64_t j, std::int64_t n) {
    key_count = n;
    if (has_few_queries) {
      key_rows = keys.rows(j, n, panels);
    } else {
      keys.panels(j, n, copy, panels);
    }
    value_rows = values.rows(j, n, copy);
  }
  // scores = queries [row, row + height) of the chunk times the keys of the block in `columns`
  void multiply_keys(std::int64_t row, std::int64_t height, const Columns& columns, float* scores) const {
    const std::int64_t depth = padded(problem.head_dim());
    const Left rows{query + row * depth, depth, 1};
    if (has_few_queries) {
      multiply_rows(rows, height, key_rows, depth, columns.begin, std::min(columns.end, key_count), scores,
                    most_columns);
    } else {
      multiply_panels(float_tiles, rows, height, panels, problem.head_dim(), columns.begin, columns.end, scores,
                      most_columns);
    }
  }
  // output [height, width] += weights times the values in `columns`, of which there are n
  void add_values(float* weights, std::int64_t height, const Columns& columns, std::int64_t n, float* output) const {
    add_product(float_tiles, {weights + columns.begin, most_columns, 1}, height,
                {value_rows.data + columns.begin * value_rows.row_step, value_rows.row_step}, width,
                std::min(columns.end, n) - columns.begin, output, width);
  }
};

#if HEED_HAS_PAIRS
// The same in pairs of bf16: queries and keys along their coordinates, weights and values along the keys.
struct PairFactors {
  const Problem& problem;
  const AttentionSequence& sequence;
  std::int64_t g, depth = pairs(problem.head_dim()), step = padded(depth), width = padded(problem.value_dim());
  Head keys{problem.key, sequence.batch, g, sequence.first_key};
  Head values{problem.value, sequence.batch, g, sequence.first_key};
  float *query, *panels, *key_rows, *value_pairs, *value_copy;
  std::int64_t key_count = 0;
  bool has_few_queries = false;

  PairFactors(const Problem& problem, const AttentionSequence& sequence, const ForwardPlan& plan, std::int64_t g,
              Arena& arena)
      : problem(problem),
        sequence(sequence),
        g(g),
        query(arena.take(plan.rows * step)),
        panels(arena.take(plan.key_block * depth)),
        key_rows(arena.take(plan.key_block * step)),
        value_pairs(arena.take(pairs(plan.key_block) * width)),
        value_copy(arena.take(two_rows(width))) {}
  static std::int64_t size(const Problem& p, const ForwardPlan& plan) {
    const std::int64_t depth = pairs(p.head_dim()), width = padded(p.value_dim());
    return (plan.rows + plan.key_block) * padded(depth) + plan.key_block * depth + pairs(plan.key_block) * width +
           two_rows(width);
  }

  void load_queries(std::int64_t first, std::int64_t count) {
    for (std::int64_t r = 0; r < count; ++r) {
      const std::int64_t head = (first + r) / sequence.queries, i = (first + r) % sequence.queries;
      const Head rows(problem.query, sequence.batch, g * problem.group() + head, sequence.first_query);
      gather_pair_row(problem.query, rows.row(i), step, 0, query + r * step);
    }
    has_few_queries = count <= strip_rows;
  }
  void load_keys(std::int64_t j, std::int64_t n) {
    key_count = n;
    const std::uint32_t signs = problem.key_factor() < 0 ? 0x80008000u : 0;
    gather_pair_rows(keys, j, n, step, signs, key_rows);
    if (!has_few_queries) transpose_to_panels(key_rows, step, n, depth, panels);
    interleave_rows(values, j, n, value_copy, value_pairs);
  }
  void multiply_keys(std::int64_t row, std::int64_t height, const Columns& columns, float* scores) const {
    const Left rows{query + row * step, step, 1};
    if (has_few_queries) {
      multiply_pair_rows(rows, height, {key_rows, step}, step, columns.begin, std::min(columns.end, key_count), scores,
                         most_columns);
    } else {
      multiply_panels(pair_tiles, rows, height, panels, depth, columns.begin, columns.end, scores, most_columns);
    }
  }
  void add_values(float* weights, std::int64_t height, const Columns& columns, std::int64_t n, float* output) const {
    for (std::int64_t r = 0; r < height; ++r) {
      float* const row = weights + r * most_columns + columns.begin;
      round_to_pairs(row, columns.end - columns.begin, row);
    }
    add_product(pair_tiles, {weights + columns.begin, most_columns, 1}, height,
                {value_pairs + pairs(columns.begin) * width, width}, width,
                pairs(std::min(columns.end, n) - columns.begin), output, width);
  }
};
#endif

// Rows [first, first + count) of the queries that share key head g, against the keys [begin, end) of sequence s.
template <class Factors>
void forward_chunk(const Problem& problem, const ForwardPlan& plan, std::int64_t s, std::int64_t g, std::int64_t first,
                   std::int64_t count, std::int64_t begin, std::int64_t end, const Running& running, Arena arena) {
  const AttentionSequence sequence = visible_part(problem, s);
  const std::int64_t width = padded(problem.value_dim());
  Factors factors(problem, sequence, plan, g, arena);
  float* const scores = arena.take(strip_rows * most_columns);
  DropoutWords dropout(problem.options);
  running.clear(count, width);
  factors.load_queries(first, count);

  const AttentionSpan keys = keys_of_chunk(problem, sequence, first, count);
  begin = std::max(begin, round_down(keys.begin, vector_floats));
  end = std::min(end, keys.end);
  for (std::int64_t j = begin; j < end; j += plan.key_block) {
    const std::int64_t n = std::min(plan.key_block, end - j);
    factors.load_keys(j, n);
    for (std::int64_t row = 0; row < count; row += strip_rows) {
      QueryRow rows[strip_rows];
      const std::int64_t height = strip_of(problem, sequence, g, first + row, std::min(strip_rows, count - row), rows);
      const Columns columns = columns_of(rows, height, j, n);
      if (columns.is_empty()) continue;
      factors.multiply_keys(row, height, columns, scores);
      for (std::int64_t r = 0; r < height; ++r)
        finish_scores(problem, s, sequence, rows[r], columns, scores + r * most_columns);
      take_strip(problem, sequence, rows, height, columns, scores, running, row, width,
                 problem.options.dropout > 0 ? &dropout : nullptr);
      factors.add_values(scores, height, columns, n, running.output + row * width);
    }
  }
}

// log(x) = exponent log(2) + logarithm, of a vector of x: apart, because a float that holds the sum of both is rounded
// once more than the log-sum-exp needs to be.
HWY_INLINE void split_log(const float* x, float* exponent, float* logarithm) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const auto whole = hn::LoadU(d, x);
  const auto bits = hn::BitCast(di, whole);
  const auto mantissa = hn::BitCast(d, hn::Or(hn::And(bits, hn::Set(di, 0x7fffff)), hn::Set(di, 0x3f800000)));
  hn::StoreU(hn::ConvertTo(d, hn::Sub(hn::ShiftRight<23>(bits), hn::Set(di, 127))), d, exponent);
  hn::StoreU(vector_log(d, hn::IfThenElse(hn::IsFinite(whole), mantissa, whole)), d, logarithm);
}

// Writes a chunk's rows of output and log_sum_exp.
void finish_chunk(const Problem& problem, std::int64_t s, std::int64_t g, std::int64_t first, std::int64_t count,
                  const Running& running, const View& output, const View& log_sum_exp) {
  const AttentionSequence sequence = problem.sequence(s);
  const std::int64_t width = padded(problem.value_dim());
  const double dropout = problem.options.dropout;
  const float kept = dropout < 1 ? static_cast<float>(1 / (1 - dropout)) : 0;
  for (std::int64_t row = 0; row < count; row += strip_rows) {
    QueryRow rows[strip_rows];
    const std::int64_t height = strip_of(problem, sequence, g, first + row, std::min(strip_rows, count - row), rows);
    float exponent[round_up(strip_rows, vector_floats)], logarithm[round_up(strip_rows, vector_floats)];
    for (std::int64_t c = 0; c < strip_rows; c += vector_floats)
      split_log(running.sum + row + c, exponent + c, logarithm + c);
    for (std::int64_t r = 0; r < height; ++r) {
      const float sum = running.sum[row + r], max = running.max[row + r];
      const std::int64_t i = sequence.first_query + rows[r].query, h = rows[r].head;
      scatter_row(running.output + (row + r) * width, problem.value_dim(), sum == 0 ? 0 : kept / sum, output,
                  Head(output, sequence.batch, h, 0).row(i));
      log_sum_exp.as<float>()[sequence.batch * log_sum_exp.strides[0] + h * log_sum_exp.strides[1] +
                              i * log_sum_exp.strides[2]] =
          max == -minus_infinity
              ? max
              : static_cast<float>((static_cast<double>(max) + static_cast<double>(exponent[r])) / log2_e +
                                   static_cast<double>(logarithm[r]));
    }
  }
}

// The parts of a chunk, each of which has met some of the keys, become the first of them.
void join_parts(const Running* parts, std::int64_t count, std::int64_t rows, std::int64_t width) {
  const hn::ScalableTag<float> d;
  for (std::int64_t r = 0; r < rows; ++r) {
    float largest = minus_infinity;
    for (std::int64_t k = 0; k < count; ++k)
      if (!(parts[k].max[r] <= largest)) largest = parts[k].max[r];
    const float from = largest == minus_infinity ? 0 : largest;
    for (std::int64_t k = 0; k < count; ++k) {
      const float weight = std::exp2(parts[k].max[r] - from);
      float* const to = parts[0].output + r * width;
      const float* const part = parts[k].output + r * width;
      for (std::int64_t c = 0; c < width; c += vector_floats) {
        const auto scaled = hn::Mul(hn::LoadU(d, part + c), hn::Set(d, weight));
        hn::StoreU(k == 0 ? scaled : hn::Add(hn::LoadU(d, to + c), scaled), d, to + c);
      }
      parts[0].sum[r] = parts[k].sum[r] * weight + (k == 0 ? 0 : parts[0].sum[r]);
    }
    parts[0].max[r] = largest;
  }
}

template <class Factors>
void forward_with(const View& query, const View& key, const View& value, const AttentionOptions& options,
                  const View& output, const View& log_sum_exp, const AttentionWorkspace& workspace) {
  const Problem problem{query, key, value, options};
  const ForwardPlan plan(problem);
  const std::int64_t chunks = problem.sequences() * problem.key_heads() * plan.chunks;
  const std::int64_t depth = padded(problem.head_dim()), width = padded(problem.value_dim());
  const std::int64_t running_size = Running::size(plan.rows, width);
  const std::int64_t scratch = running_size + strip_rows * most_columns + Factors::size(problem, plan);
  float* const parts = plan.splits == 1 ? nullptr
                                        : static_cast<float*>(workspace(chunks * plan.splits * running_size *
                                                                        static_cast<std::int64_t>(sizeof(float))));
  const auto part = [&](std::int64_t task) {
    Arena arena(parts + task * running_size);
    return Running(arena, plan.rows, width);
  };
  struct Chunk {
    std::int64_t s, g, first, count;
  };
  const auto chunk = [&](std::int64_t at) {
    const std::int64_t sg = at / plan.chunks, s = sg / problem.key_heads(), first = at % plan.chunks * plan.rows;
    const std::int64_t rows = problem.group() * problem.sequence(s).queries;
    return Chunk{s, sg % problem.key_heads(), first, std::min(plan.rows, rows - first)};
  };
  const std::int64_t multiplications = plan.rows * (problem.longest_keys() / plan.splits + 1) * (depth + width);
  for_each_task(chunks * plan.splits, multiplications, scratch, workspace, [&](std::int64_t task, Arena arena) {
    const Chunk c = chunk(task / plan.splits);
    if (c.count <= 0) return;
    const std::int64_t begin = task % plan.splits * plan.split_keys;
    const Running running = plan.splits == 1 ? Running(arena, plan.rows, width) : part(task);
    forward_chunk<Factors>(problem, plan, c.s, c.g, c.first, c.count, begin, begin + plan.split_keys, running, arena);
    if (plan.splits == 1) finish_chunk(problem, c.s, c.g, c.first, c.count, running, output, log_sum_exp);
  });
  if (plan.splits == 1) return;
  parallel_for(chunks, 1, [&](std::int64_t at, std::int64_t end) {
    for (; at < end; ++at) {
      const Chunk c = chunk(at);
      if (c.count <= 0) continue;
      std::vector<Running> running;
      for (std::int64_t k = 0; k < plan.splits; ++k) running.push_back(part(at * plan.splits + k));
      join_parts(running.data(), plan.splits, c.count, width);
      finish_chunk(problem, c.s, c.g, c.first, c.count, running[0], output, log_sum_exp);
    }
  });
}

void forward(const View& query, const View& key, const View& value, const AttentionOptions& options, const View& output,
             const View& log_sum_exp, const AttentionWorkspace& workspace) {
#if HEED_HAS_PAIRS
  if (multiplies_pairs(query))
    return forward_with<PairFactors>(query, key, value, options, output, log_sum_exp, workspace);
#endif
  forward_with<FloatFactors>(query, key, value, options, output, log_sum_exp, workspace);
}

}  // namespace
}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heed::kernels {
namespace {

HWY_EXPORT(forward);

void forward_fused(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                   const AttentionWorkspace& workspace, Stream) {
  if (log_sum_exp.size() == 0) return;
  HWY_DYNAMIC_DISPATCH(forward)(query, key, value, options, output, log_sum_exp, workspace);
}

const Register fused{attention_forward, DeviceType::cpu, "fused", &forward_fused, is_default};

}  // namespace
}  // namespace heed::kernels
#endif
