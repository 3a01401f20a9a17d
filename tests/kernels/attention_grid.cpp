// The whole grid of sizes and features: minutes rather than seconds, so not part of the usual run. tools/attention_grid
// runs it, with its progress. Variants whose products are plain loops take part where a problem is small.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <limits>

#include "tests/harness/examine.h"
#include "tests/kernels/attention_problem.h"

namespace heed::test {
namespace {

using Lengths = std::vector<std::pair<std::int64_t, std::int64_t>>;

// FlashAttention's own, and those around the sizes of our blocks.
const Lengths general_lengths{{113, 203}, {128, 217},   {113, 211},   {108, 256},   {256, 512},
                              {512, 256}, {1024, 1024}, {1023, 1024}, {1024, 1023}, {2048, 2048}};
const Lengths causal_lengths{{1, 239}, {3, 799}, {127, 512}, {127, 513}, {239, 1}, {799, 3}, {512, 127}, {513, 127}};
const std::vector<std::int64_t> head_dims{32, 40, 59, 64, 80, 96, 111, 128, 160, 192, 224, 256};

// One (dim, lengths, causal) with the other features crossed; how many that were.
int verify_cell(std::int64_t dim, std::int64_t queries, std::int64_t keys, Causal causal) {
  int count = 0;
  const bool is_large = queries * keys > 300 * 300, is_crossed = !is_large && (dim == 59 || dim == 64);
  const bool is_fast = queries * keys * dim > (1 << 21);
  for (const std::int64_t key_heads : {2, 1}) {
    for (const std::int64_t window : {std::int64_t{-1}, keys / 3}) {
      for (const bool alibi : {false, true}) {
        for (const double dropout : {0.0, 0.17}) {
          for (const double softcap : {0.0, 50.0}) {
            // Every pair of features for two dimensions and moderate sizes, else each by itself and all of them.
            const int features = (key_heads == 1) + (window >= 0) + alibi + (dropout > 0) + (softcap > 0);
            if (!is_crossed && features > 1 && features < 5) continue;
            verify_attention("",
                             {.heads = 2,
                              .key_heads = key_heads,
                              .queries = queries,
                              .keys = keys,
                              .head_dim = dim,
                              .value_dim = dim,
                              .options = {.causal = causal,
                                          .window = window,
                                          .softcap = softcap,
                                          .alibi_slopes = alibi ? uniform({2}, 0, 0.3, {}, 8) : Tensor(),
                                          .dropout = dropout},
                              .transposed = dim % 64 == 0},
                             is_fast ? Variants::fast : Variants::all);
            ++count;
          }
        }
      }
    }
  }
  return count;
}

}  // namespace

TEST_CASE("attention grid" * doctest::skip()) {
  const auto start = std::chrono::steady_clock::now();
  int count = 0;
  for (const std::int64_t dim : head_dims) {
    for (const auto& [queries, keys] : general_lengths) {
      if (queries * keys > 1000 * 1000 && dim != 64 && dim != 128) continue;  // the largest: for two dimensions
      for (const Causal causal : {Causal::none, Causal::bottom_right}) count += verify_cell(dim, queries, keys, causal);
    }
    for (const auto& [queries, keys] : causal_lengths) {
      for (const Causal causal : {Causal::top_left, Causal::bottom_right})
        count += verify_cell(dim, queries, keys, causal);
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::fprintf(stderr, "up to head_dim %3d: %5d problems, %4.0f s\n", static_cast<int>(dim), count, seconds.count());
  }
}

TEST_CASE("attention grid: bf16" * doctest::skip()) {
  for (const std::int64_t dim : head_dims) {
    for (const auto& [queries, keys] : Lengths{{113, 203}, {108, 256}, {127, 513}}) {
      for (const Causal causal : {Causal::none, Causal::bottom_right})
        verify_attention("",
                         {.queries = queries,
                          .keys = keys,
                          .head_dim = dim,
                          .value_dim = dim,
                          .options = {.causal = causal},
                          .dtype = Dtype::bf16},
                         queries * keys * dim > (1 << 21) ? Variants::fast : Variants::all);
    }
  }
}

TEST_CASE("attention grid: large numbers, a band of -inf, repeats" * doctest::skip()) {
  for (const std::int64_t dim : {32, 64, 128}) {
    for (const auto& [queries, keys] : general_lengths) {
      if (queries * keys > 600 * 600) continue;
      verify_attention("large",
                       {.queries = queries, .keys = keys, .head_dim = dim, .query_magnitude = 5, .magnitude = 3},
                       queries * keys * dim > (1 << 21) ? Variants::fast : Variants::all);
    }
  }
  const Tensor i = arange(0, 600).unsqueeze(1), j = arange(0, 600);
  const Tensor inside = less(abs(j - i), scalar(50, {Dtype::i64}));
  AttentionProblem band{.queries = 600, .keys = 600, .head_dim = 64, .value_dim = 64};
  band.options.mask = masked_fill(zeros({600, 600}), inside, -std::numeric_limits<double>::infinity());
  verify_attention("band", band);
  const AttentionProblem p{.batch = 4, .heads = 4, .key_heads = 4, .queries = 300, .keys = 300, .head_dim = 64};
  const auto bits = [&] {
    std::vector<std::vector<float>> all;
    for (const auto& [name, x] : run_attention(p, Dtype::f32, AttentionPath::fused))
      all.push_back(x.to_vector<float>());
    return all;
  };
  const auto first = bits();
  for (int repeat = 0; repeat < 200; ++repeat) REQUIRE(bits() == first);
}

}  // namespace heed::test
