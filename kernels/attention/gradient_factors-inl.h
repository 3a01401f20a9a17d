// What the products of a gradient multiply: a block of keys and values of one head, and a block of queries and doutput of
// one that shares it, copied into the order in which the products read them; in floats, and in pairs of bf16. Included
// once per instruction set (Highway's foreach_target), hence the unusual guard.
#if defined(HEED_KERNELS_ATTENTION_GRADIENT_FACTORS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEED_KERNELS_ATTENTION_GRADIENT_FACTORS_INL_H
#undef HEED_KERNELS_ATTENTION_GRADIENT_FACTORS_INL_H
#else
#define HEED_KERNELS_ATTENTION_GRADIENT_FACTORS_INL_H
#endif

#include "kernels/attention/blocks-inl.h"
#include "kernels/attention/pairs-inl.h"
#include "kernels/attention/scratch.h"
#include "kernels/attention/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

inline constexpr std::int64_t gradient_rows = 48;      // queries of a block
inline constexpr std::int64_t gradient_columns = 128;  // keys of a block, most; and the step from row to row

// Weights and dscores are [gradient_rows, gradient_columns]. Rows are counted from the block's first query, columns from
// its first key; stretches of columns are whole vectors, but for the last one of a block.
struct FloatGradientFactors {
  const Problem& problem;
  const AttentionSequence& sequence;
  const View& doutput_view;
  HeadRows signed_keys, keys, values;
  std::int64_t depth = padded(problem.head_dim()), width = padded(problem.value_dim());
  float *key_panels, *value_panels, *key_copy, *copy, *query_copy, *doutput_copy;
  Right key_rows{}, query{}, doutput{};

  // key_block: keys of a block, most.
  FloatGradientFactors(const Problem& problem, const AttentionSequence& sequence, std::int64_t g, const View& doutput,
                       std::int64_t key_block, Arena& arena)
      : problem(problem),
        sequence(sequence),
        doutput_view(doutput),
        signed_keys{{problem.key, sequence.batch, g, sequence.first_key}, problem.key_factor()},
        keys{{problem.key, sequence.batch, g, sequence.first_key}},
        values{{problem.value, sequence.batch, g, sequence.first_key}},
        key_panels(arena.take(key_block * problem.head_dim())),
        value_panels(arena.take(key_block * problem.value_dim())),
        key_copy(arena.take(key_block * depth)),
        copy(arena.take(key_block * std::max(depth, width))),
        query_copy(arena.take(gradient_rows * depth)),
        doutput_copy(arena.take(gradient_rows * width)) {}
  static std::int64_t size(const Problem& p, std::int64_t key_block) {
    const std::int64_t depth = padded(p.head_dim()), width = padded(p.value_dim());
    return key_block * (2 * depth + width + std::max(depth, width)) + gradient_rows * (depth + width);
  }

  void load_keys(std::int64_t j, std::int64_t n) {
    signed_keys.panels(j, n, copy, key_panels);
    values.panels(j, n, copy, value_panels);
    key_rows = keys.rows(j, n, key_copy);
  }
  void load_queries(std::int64_t head, std::int64_t i, std::int64_t n) {
    query = HeadRows{{problem.query, sequence.batch, head, sequence.first_query}}.rows(i, n, query_copy);
    doutput = HeadRows{{doutput_view, sequence.batch, head, sequence.first_query}}.rows(i, n, doutput_copy);
  }

  // Rows [row, row + height), at most strip_rows, of the products of queries and keys, and of doutput and values.
  void multiply_keys(std::int64_t row, std::int64_t height, const Columns& columns, float* products) const {
    multiply_panels(float_tiles, {query.data + row * query.row_step, query.row_step, 1}, height, key_panels,
                    problem.head_dim(), columns.begin, columns.end, products + row * gradient_columns,
                    gradient_columns);
  }
  void multiply_values(std::int64_t row, std::int64_t height, const Columns& columns, float* products) const {
    multiply_panels(float_tiles, {doutput.data + row * doutput.row_step, doutput.row_step, 1}, height, value_panels,
                    problem.value_dim(), columns.begin, columns.end, products + row * gradient_columns,
                    gradient_columns);
  }

  // What the three sums below take, out of rows [first, last) of floats: themselves.
  void prepare(float*, float*, std::int64_t, std::int64_t, const Columns&) const {}

  // dquery [height, depth] += dscores keys, of keys [begin, end)
  void add_dquery(const float* dscores, std::int64_t row, std::int64_t height, std::int64_t begin, std::int64_t end,
                  float* dquery) const {
    add_product(float_tiles, {dscores + row * gradient_columns + begin, gradient_columns, 1}, height,
                {key_rows.data + begin * key_rows.row_step, key_rows.row_step}, depth, end - begin, dquery, depth);
  }
  // dkey and dvalue, one row for each of the keys [begin, end), += of queries [first, last)
  void add_dkey(const float* dscores, std::int64_t first, std::int64_t last, std::int64_t begin, std::int64_t end,
                float* dkey) const {
    add_product(float_tiles, {dscores + first * gradient_columns + begin, 1, gradient_columns}, end - begin,
                {query.data + first * query.row_step, query.row_step}, depth, last - first, dkey, depth);
  }
  void add_dvalue(const float* weights, std::int64_t first, std::int64_t last, std::int64_t begin, std::int64_t end,
                  float* dvalue) const {
    add_product(float_tiles, {weights + first * gradient_columns + begin, 1, gradient_columns}, end - begin,
                {doutput.data + first * doutput.row_step, doutput.row_step}, width, last - first, dvalue, width);
  }
};

#if HEED_HAS_PAIRS
// The same in pairs of bf16: along the coordinates for scores and dweights, along the keys for dquery, along the queries
// for dkey and dvalue.
struct PairGradientFactors {
  const Problem& problem;
  const AttentionSequence& sequence;
  const View& doutput_view;
  Head keys, values;
  std::int64_t depth = padded(problem.head_dim()), width = padded(problem.value_dim());
  std::int64_t depth_pairs = pairs(problem.head_dim()), width_pairs = pairs(problem.value_dim());
  std::int64_t depth_step = padded(depth_pairs), width_step = padded(width_pairs);
  float *key_panels, *value_panels, *rows, *two, *key_pairs, *query_rows, *doutput_rows, *query_pairs, *doutput_pairs;
  float* dscore_rows;  // [gradient_rows, gradient_columns / 2]: in pairs along the keys

  PairGradientFactors(const Problem& problem, const AttentionSequence& sequence, std::int64_t g, const View& doutput,
                      std::int64_t key_block, Arena& arena)
      : problem(problem),
        sequence(sequence),
        doutput_view(doutput),
        keys{problem.key, sequence.batch, g, sequence.first_key},
        values{problem.value, sequence.batch, g, sequence.first_key},
        key_panels(arena.take(key_block * depth_pairs)),
        value_panels(arena.take(key_block * width_pairs)),
        rows(arena.take(key_block * std::max(depth_step, width_step))),
        two(arena.take(two_rows(std::max(depth, width)))),
        key_pairs(arena.take(pairs(key_block) * depth)),
        query_rows(arena.take(gradient_rows * depth_step)),
        doutput_rows(arena.take(gradient_rows * width_step)),
        query_pairs(arena.take(pairs(gradient_rows) * depth)),
        doutput_pairs(arena.take(pairs(gradient_rows) * width)),
        dscore_rows(arena.take(gradient_rows * gradient_columns / 2)) {}
  static std::int64_t size(const Problem& p, std::int64_t key_block) {
    const std::int64_t depth = padded(p.head_dim()), width = padded(p.value_dim());
    const std::int64_t depth_step = padded(pairs(p.head_dim())), width_step = padded(pairs(p.value_dim()));
    return key_block * (depth_step + width_step + std::max(depth_step, width_step)) + two_rows(std::max(depth, width)) +
           pairs(key_block) * depth + gradient_rows * (depth_step + width_step + gradient_columns / 2) +
           pairs(gradient_rows) * (depth + width);
  }

  void load_keys(std::int64_t j, std::int64_t n) {
    const std::uint32_t signs = problem.key_factor() < 0 ? 0x80008000u : 0;
    gather_pair_rows(keys, j, n, depth_step, signs, rows);
    transpose_to_panels(rows, depth_step, n, depth_pairs, key_panels);
    gather_pair_rows(values, j, n, width_step, 0, rows);
    transpose_to_panels(rows, width_step, n, width_pairs, value_panels);
    interleave_rows(keys, j, n, two, key_pairs);
  }
  void load_queries(std::int64_t head, std::int64_t i, std::int64_t n) {
    const Head queries(problem.query, sequence.batch, head, sequence.first_query);
    const Head doutput(doutput_view, sequence.batch, head, sequence.first_query);
    gather_pair_rows(queries, i, n, depth_step, 0, query_rows);
    gather_pair_rows(doutput, i, n, width_step, 0, doutput_rows);
    interleave_rows(queries, i, n, two, query_pairs);
    interleave_rows(doutput, i, n, two, doutput_pairs);
  }

  void multiply_keys(std::int64_t row, std::int64_t height, const Columns& columns, float* products) const {
    multiply_panels(pair_tiles, {query_rows + row * depth_step, depth_step, 1}, height, key_panels, depth_pairs,
                    columns.begin, columns.end, products + row * gradient_columns, gradient_columns);
  }
  void multiply_values(std::int64_t row, std::int64_t height, const Columns& columns, float* products) const {
    multiply_panels(pair_tiles, {doutput_rows + row * width_step, width_step, 1}, height, value_panels, width_pairs,
                    columns.begin, columns.end, products + row * gradient_columns, gradient_columns);
  }

  // Rows first + 2 i and first + 2 i + 1 become pairs in the place of the former; `first` is even. dscores also become
  // dscore_rows.
  void prepare(float* weights, float* dscores, std::int64_t first, std::int64_t last, const Columns& columns) const {
    const std::int64_t begin = columns.begin, n = columns.end - columns.begin;
    for (std::int64_t row = first; row < last; row += 2) {
      float *const w = weights + row * gradient_columns + begin, *const ds = dscores + row * gradient_columns + begin;
      if (row + 1 == last) {  // the block ends here, and a query that is none weighs nothing
        fill(w + gradient_columns, n, 0);
        fill(ds + gradient_columns, n, 0);
      }
      float* const rounded = dscore_rows + (row * gradient_columns + begin) / 2;
      round_to_pairs(ds, n, rounded);
      round_to_pairs(ds + gradient_columns, n, rounded + gradient_columns / 2);
      interleave_rounded(ds, ds + gradient_columns, n, ds);
      interleave_rounded(w, w + gradient_columns, n, w);
    }
  }

  void add_dquery(const float*, std::int64_t row, std::int64_t height, std::int64_t begin, std::int64_t end,
                  float* dquery) const {
    add_product(pair_tiles, {dscore_rows + (row * gradient_columns + begin) / 2, gradient_columns / 2, 1}, height,
                {key_pairs + begin / 2 * depth, depth}, depth, pairs(end - begin), dquery, depth);
  }
  void add_dkey(const float* dscores, std::int64_t first, std::int64_t last, std::int64_t begin, std::int64_t end,
                float* dkey) const {
    add_product(pair_tiles, {dscores + first * gradient_columns + begin, 1, 2 * gradient_columns}, end - begin,
                {query_pairs + first / 2 * depth, depth}, depth, pairs(last - first), dkey, depth);
  }
  void add_dvalue(const float* weights, std::int64_t first, std::int64_t last, std::int64_t begin, std::int64_t end,
                  float* dvalue) const {
    add_product(pair_tiles, {weights + first * gradient_columns + begin, 1, 2 * gradient_columns}, end - begin,
                {doutput_pairs + first / 2 * width, width}, width, pairs(last - first), dvalue, width);
  }
};
#endif

// Calls f<Factors>() for the factors that a problem is multiplied by.
template <class F>
HWY_INLINE void with_gradient_factors([[maybe_unused]] const View& query, const F& f) {
#if HEED_HAS_PAIRS
  if (multiplies_pairs(query)) return f.template operator()<PairGradientFactors>();
#endif
  f.template operator()<FloatGradientFactors>();
}

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
