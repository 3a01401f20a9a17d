// What the kernels on tensor cores for the general case share, forward and backward: how the rows of the other side pass
// by, which weights dropout keeps, and how products become scores, a feature at a time for all of a thread's elements, so
// that a feature that is not wanted costs one branch and not one for each element.
#pragma once

#include "kernels/attention/cuda/scores.cuh"
#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/mma.cuh"

namespace heed::kernels::attention {

// Calls take(step, stage) for each step once load(step, stage) has filled its stage, which with two stages happens meanwhile.
// Afterwards nothing is on its way any more, and no thread reads what was loaded.
template <int stages, class Load, class Take>
__device__ inline void walk(int first, int end, Load&& load, Take&& take) {
  if (first < end) load(first, 0);
  for (int step = first, stage = 0; step < end; ++step) {
    cuda::wait_copies<0>();
    __syncthreads();
    if (stages == 2 && step + 1 < end) load(step + 1, stage ^ 1);
    take(step, stage);
    if (stages == 2) {
      stage ^= 1;
    } else if (step + 1 < end) {
      __syncthreads();
      load(step + 1, 0);
    }
  }
  cuda::wait_copies<0>();
  __syncthreads();
}

// A bit for each weight of a block of queries and keys, from (i, j) on: whether dropout keeps it, kept [queries, keys / 32];
// behind those, at kept + allowed_bits, whether a boolean mask lets the query look at the key.
template <int queries, int keys>
struct WeightBits {
  static constexpr int words = keys / 32, allowed_bits = queries * words, bytes = 2 * allowed_bits * 4;

  template <int threads>
  __device__ static void load(std::uint32_t* kept, const Head& head, int i, int j) {
    const Problem& p = head.problem;
    for (int index = threadIdx.x; p.dropout && index < queries * words; index += threads)
      kept[index] = kept_weights(head, i + index / words, j + index % words * 32);
    if (p.mask == nullptr || !p.mask_is_boolean) return;
    auto* const allowed =
        reinterpret_cast<std::uint16_t*>(kept + allowed_bits);  // so that a thread has 16 bytes to read
    for (int index = threadIdx.x; index < queries * words * 2; index += threads)
      allowed[index] = allowed_keys(head, i + index / (2 * words), j + index % (2 * words) * 16);
  }
};

// Calls visit(n, e, i, j) for each of a thread's elements of a product of 16 rows: element (n, e) is that of row `row` +
// e / 2 * 8 and column `column` + 8 n + e % 2, which are query i and key j, or with keys_are_rows a key and a query.
template <bool keys_are_rows, int n_, class Visit>
__device__ inline void each_pair(int row, int column, Visit&& visit) {
#pragma unroll
  for (int n = 0; n < n_; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int r = row + e / 2 * 8, c = column + 8 * n + e % 2;
      visit(n, e, keys_are_rows ? c : r, keys_are_rows ? r : c);
    }
  }
}

// Adds an added mask to scores.
template <bool keys_are_rows, bool from_first, int n_>
__device__ inline void add_mask(float (&scores)[1][n_][4], const Head& head, int row, int column) {
  const Sequence& q = head.sequence;
  const auto* const mask = static_cast<const float*>(head.problem.mask);
  if (!keys_are_rows && head.problem.mask_has_pairs) {
#pragma unroll
    for (int n = 0; n < n_; ++n) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int i = row + 8 * r, j = column + 8 * n;
        if (i >= q.queries || j >= q.keys) continue;  // if one of a pair is there, so is the other, at least in memory
        const float2 added = *reinterpret_cast<const float2*>(mask + head.mask_place(i, j));
        scores[0][n][2 * r] = Head::biased(scores[0][n][2 * r], added.x);
        scores[0][n][2 * r + 1] = Head::biased(scores[0][n][2 * r + 1], added.y);
      }
    }
    return;
  }
  each_pair<keys_are_rows, n_>(row, column, [&](int n, int e, int i, int j) {
    const bool begun = from_first || (i >= 0 && j >= 0);
    if (begun && i < q.queries && j < q.keys)
      scores[0][n][e] = Head::biased(scores[0][n][e], mask[head.mask_place(i, j)]);
  });
}

// Products become scores, as Head::score makes them one at a time; on_slope(n, e, slope) is told the derivative of a
// softcap, is_allowed(n, e) tells whether a boolean mask lets the query look at the key. `open`: all of the queries and keys
// exist and may look. from_first: none of them lies before the sequence's first.
template <bool keys_are_rows, bool from_first, int n_, class OnSlope, class IsAllowed>
__device__ inline void scores_of_products(float (&products)[1][n_][4], const Head& head, int row, int column, bool open,
                                          OnSlope&& on_slope, IsAllowed&& is_allowed) {
  const Problem& p = head.problem;
  const auto each = [&](auto&& visit) { each_pair<keys_are_rows, n_>(row, column, visit); };
  each([&](int n, int e, int, int) { products[0][n][e] *= p.scale; });
  if (p.softcap > 0) {
    const float inverse = 1 / p.softcap;
    each([&](int n, int e, int, int) {
      const float t = tanhf(products[0][n][e] * inverse);
      products[0][n][e] = p.softcap * t;
      on_slope(n, e, 1 - t * t);
    });
  }
  if (p.alibi_slopes != nullptr) {
    each([&](int n, int e, int i, int j) { products[0][n][e] -= head.distance_penalty(i, j); });
  }
  if (p.mask != nullptr && p.mask_is_boolean) {
    each([&](int n, int e, int, int) {
      if (!is_allowed(n, e)) products[0][n][e] = -INFINITY;
    });
  } else if (p.mask != nullptr) {
    add_mask<keys_are_rows, from_first>(products, head, row, column);
  }
  if (!open) {
    each([&](int n, int e, int i, int j) {
      if (!head.may_look(i, j)) products[0][n][e] = -INFINITY;
    });
  }
}

}  // namespace heed::kernels::attention
