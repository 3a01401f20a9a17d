// Which queries and keys a task handles, and their copies in the order in which products read them. Included once per
// instruction set (Highway's foreach_target), hence the unusual guard.
#if defined(HEED_KERNELS_ATTENTION_BLOCKS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEED_KERNELS_ATTENTION_BLOCKS_INL_H
#undef HEED_KERNELS_ATTENTION_BLOCKS_INL_H
#else
#define HEED_KERNELS_ATTENTION_BLOCKS_INL_H
#endif

#include "kernels/attention/scores-inl.h"
#include "kernels/attention/scratch.h"
#include "kernels/attention/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heed::kernels::HWY_NAMESPACE {

// Columns of a block whose operands, `width` floats a column, take a quarter of a megabyte.
constexpr std::int64_t block_columns(std::int64_t width, std::int64_t most) {
  return std::clamp(round_down((1 << 16) / width, panel_width), panel_width, most);
}

// Sequence s without the keys at its end that a mask forbids to all its queries, as masks for padding do.
HWY_INLINE AttentionSequence visible_part(const Problem& problem, std::int64_t s) {
  AttentionSequence sequence = problem.sequence(s);
  const View& mask = problem.options.mask;
  if (mask.data == nullptr || mask.dtype != Dtype::boolean || mask.strides[1] != 0 || mask.strides[2] != 0)
    return sequence;
  const bool* const allowed =
      mask.as<const bool>() + sequence.batch * mask.strides[0] + sequence.first_key * mask.strides[3];
  while (sequence.keys > 0 && !allowed[(sequence.keys - 1) * mask.strides[3]]) --sequence.keys;
  return sequence;
}

HWY_INLINE AttentionSpan keys_of(const Problem& problem, const AttentionSequence& sequence, std::int64_t i) {
  return keys_of_query(problem.options.causal, problem.options.window, sequence.shift, sequence.keys, i);
}

// The queries that share a key head count as one row of rows, head after head. `count` of them, from `first` on.
HWY_INLINE std::int64_t strip_of(const Problem& problem, const AttentionSequence& sequence, std::int64_t g,
                                 std::int64_t first, std::int64_t count, QueryRow* rows) {
  std::int64_t head = problem.group() == 1 ? 0 : first / sequence.queries, i = first - head * sequence.queries;
  for (std::int64_t r = 0; r < count; ++r, ++i) {
    if (i == sequence.queries) ++head, i = 0;
    rows[r] = {g * problem.group() + head, i, keys_of(problem, sequence, i)};
  }
  return count;
}

// The keys that any of those rows may look at: both ends of a query's keys only ever move on.
HWY_INLINE AttentionSpan keys_of_chunk(const Problem& problem, const AttentionSequence& sequence, std::int64_t first,
                                       std::int64_t count) {
  const std::int64_t last = first + count - 1;
  const bool is_one_head = first / sequence.queries == last / sequence.queries;
  const std::int64_t from = is_one_head ? first % sequence.queries : 0;
  const std::int64_t to = is_one_head ? last % sequence.queries : sequence.queries - 1;
  return {keys_of(problem, sequence, from).begin, keys_of(problem, sequence, to).end};
}

// to [count, padded(dim)] = those rows of x, which is query or like it.
HWY_INLINE void gather_queries(const Problem& problem, const View& x, const AttentionSequence& sequence, std::int64_t g,
                               std::int64_t first, std::int64_t count, float* to) {
  const std::int64_t width = padded(x.shape[3]);
  while (count > 0) {
    const std::int64_t head = first / sequence.queries, i = first % sequence.queries;
    const std::int64_t n = std::min(count, sequence.queries - i);
    gather_rows(Head(x, sequence.batch, g * problem.group() + head, sequence.first_query), i, n, 1, to);
    first += n, count -= n, to += n * width;
  }
}

// The rows of one head that belong to one sequence, times a factor.
struct HeadRows {
  Head head;
  float factor = 1;

  // Rows [first, first + n), filled up to whole vectors: where they lie, or in `copy` [n, padded(dim)]. Rows far apart
  // are copied too, because they would crowd into few sets of a cache.
  Right rows(std::int64_t first, std::int64_t n, float* copy) const {
    const View& x = head.view;
    if (can_be_read() && x.shape[3] % vector_floats == 0 && x.strides[2] <= 256)
      return {x.as<const float>() + head.row(first), x.strides[2]};
    gather_rows(head, first, n, factor, copy);
    return {copy, padded(x.shape[3])};
  }

  // The same rows as panels; `copy` as above.
  void panels(std::int64_t first, std::int64_t n, float* copy, float* to) const {
    const View& x = head.view;
    if (can_be_read()) {
      transpose_to_panels(x.as<const float>() + head.row(first), x.strides[2], n, x.shape[3], to);
    } else {
      gather_rows(head, first, n, factor, copy);
      transpose_to_panels(copy, padded(x.shape[3]), n, x.shape[3], to);
    }
  }

 private:
  bool can_be_read() const { return head.view.dtype == Dtype::f32 && head.view.strides[3] == 1 && factor == 1; }
};

}  // namespace heed::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
