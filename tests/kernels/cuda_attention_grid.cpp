// The grid of sizes and features on the GPU. A simulator has to run it, so of the full product of dimensions, lengths and
// features only as much is taken as makes every pair of them meet; which is counted. Not part of the usual run:
// tools/attention_grid --device cuda runs it, with its progress.
#include <doctest/doctest.h>

#include <cstdio>
#include <limits>
#include <set>

#include "engine/ops.h"
#include "kernels/attention/attention.h"
#include "tests/harness/examine.h"
#include "tests/kernels/cuda_arrays.h"
#include "tests/kernels/cuda_attention_problem.h"

namespace heed::test {
namespace {

struct Lengths {
  std::int64_t queries, keys;
};

// FlashAttention's own.
const std::vector<Lengths> all_lengths{{113, 203},   {128, 217},   {113, 211},   {108, 256},   {256, 512}, {512, 256},
                                       {1024, 1024}, {1023, 1024}, {1024, 1023}, {2048, 2048}, {1, 239},   {3, 799},
                                       {127, 512},   {127, 513},   {239, 1},     {799, 3},     {512, 127}, {513, 127}};
const std::vector<std::int64_t> head_dims{32, 40, 59, 64, 80, 96, 111, 128, 160, 192, 224, 256};
const std::vector<Causal> alignments{Causal::none, Causal::top_left, Causal::bottom_right};

enum Feature { shared_heads, window, alibi, dropout, softcap, features };

// Eight sets of features in which any two of them occur in all four combinations; the first is empty.
bool has_feature(int set, int feature) {
  constexpr int columns[features] = {1, 2, 4, 3, 5};
  return __builtin_parity(static_cast<unsigned>(set & columns[feature])) != 0;
}

std::int64_t area(const Lengths& l) {
  return l.queries * l.keys;
}

// Which problems have been, and which pairs of their properties.
class Progress {
 public:
  // Of the properties, each a number of its own kind, all pairs have now met.
  void meet(const std::vector<int>& properties) {
    for (std::size_t i = 0; i < properties.size(); ++i)
      for (std::size_t j = i + 1; j < properties.size(); ++j)
        pairs_.insert({static_cast<int>(i), properties[i], static_cast<int>(j), properties[j]});
  }
  std::size_t pairs() const { return pairs_.size(); }

  void done(const AttentionProblem& p, std::size_t variants) {
    ++problems_, runs_ += variants;
    std::fprintf(stderr, "\r%5zu problems, %5zu runs, last: dim %3d, %4d queries, %4d keys, %-4s ", problems_, runs_,
                 static_cast<int>(p.head_dim), static_cast<int>(p.queries), static_cast<int>(p.keys), name_of(p.dtype));
  }
  ~Progress() {
    std::fprintf(stderr, "\n%zu problems, each forward and backward; %zu runs of a variant\n", problems_, runs_);
  }

 private:
  std::set<std::array<int, 4>> pairs_;
  std::size_t problems_ = 0, runs_ = 0;
};

AttentionProblem problem_of(std::int64_t dim, const Lengths& l, Causal causal, Dtype dtype, int set) {
  const bool is_large = area(l) > 1000 * 1000;
  const std::int64_t heads = is_large ? 1 : 2;
  AttentionProblem p{.heads = heads,
                     .key_heads = has_feature(set, shared_heads) ? 1 : heads,
                     .queries = l.queries,
                     .keys = l.keys,
                     .head_dim = dim,
                     .value_dim = dim,
                     .options = {.causal = causal},
                     .transposed = dim % 64 == 0,
                     .dtype = dtype};
  if (has_feature(set, window)) p.options.window = l.keys / 3;
  if (has_feature(set, alibi)) p.options.alibi_slopes = uniform({heads}, 0, 0.3, {}, 8);
  if (has_feature(set, dropout)) p.options.dropout = 0.17;
  if (has_feature(set, softcap)) p.options.softcap = 50;
  return p;
}

}  // namespace

// Small lengths: for every dimension, alignment and dtype once without any feature and once with a set of them. Large ones:
// for every dimension once, everything else in turn.
TEST_CASE("attention grid on the GPU" * doctest::skip()) {
  if (no_gpu()) return;
  Progress progress;
  int turn = 0;
  const auto verify = [&](int dim, int lengths, int causal, Dtype dtype, int set) {
    const Lengths& l = all_lengths[static_cast<std::size_t>(lengths)];
    const AttentionProblem p = problem_of(head_dims[static_cast<std::size_t>(dim)], l,
                                          alignments[static_cast<std::size_t>(causal)], dtype, set);
    std::vector<std::string> variants{"mma"};
    if (dtype == Dtype::f32 && set == 0) variants.emplace_back("tf32x3");
    verify_attention_on_gpu("", p, variants);
    std::vector<int> properties{dim, lengths, causal, static_cast<int>(dtype)};
    for (int f = 0; f < features; ++f) properties.push_back(has_feature(set, f));
    progress.meet(properties);
    progress.done(p, variants.size());
  };
  const int dims = static_cast<int>(head_dims.size()), sizes = static_cast<int>(all_lengths.size());
  for (int dim = 0; dim < dims; ++dim) {
    for (int lengths = 0; lengths < sizes; ++lengths) {
      if (area(all_lengths[static_cast<std::size_t>(lengths)]) > 1000 * 1000) {
        verify(dim, lengths, (dim + lengths) % 3, (dim + lengths) % 2 == 0 ? Dtype::f32 : Dtype::bf16,
               (dim + 3 * lengths) % 8);
        continue;
      }
      for (int causal = 0; causal < 3; ++causal) {
        for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
          verify(dim, lengths, causal, dtype, 0);
          verify(dim, lengths, causal, dtype, 1 + turn++ % 7);
        }
      }
    }
    ++turn;  // or every dimension would meet the same
  }
  // 12 dimensions, 18 lengths, 3 alignments, 2 dtypes, 5 features.
  const std::vector<std::size_t> counts{12, 18, 3, 2, 2, 2, 2, 2, 2};
  std::size_t all = 0;
  for (std::size_t i = 0; i < counts.size(); ++i)
    for (std::size_t j = i + 1; j < counts.size(); ++j) all += counts[i] * counts[j];
  CHECK_EQ(progress.pairs(), all);
}

TEST_CASE("attention grid on the GPU: all variants" * doctest::skip()) {
  if (no_gpu()) return;
  Progress progress;
  int turn = 0;
  for (const std::int64_t dim : head_dims) {
    for (const Lengths& l : {Lengths{113, 203}, Lengths{127, 513}, Lengths{512, 127}}) {
      for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
        const AttentionProblem p =
            problem_of(dim, l, alignments[static_cast<std::size_t>(turn % 3)], dtype, turn / 2 % 8);
        verify_attention_on_gpu("all variants", p, attention_variants_on_gpu());
        progress.done(p, attention_variants_on_gpu().size());
        ++turn;
      }
    }
  }
}

TEST_CASE("attention grid on the GPU: large numbers, masks, a band of -inf, negative scale, repeats" *
          doctest::skip()) {
  if (no_gpu()) return;
  Progress progress;
  const auto verify = [&](const std::string& name, AttentionProblem p, const std::vector<std::string>& variants) {
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
      p.dtype = dtype;
      verify_attention_on_gpu(name, p, variants);
      progress.done(p, variants.size());
    }
  };
  for (const std::int64_t dim : {32, 64, 128}) {
    for (const Lengths& l : all_lengths) {
      if (area(l) > 100 * 1000) continue;
      const AttentionProblem p{.queries = l.queries, .keys = l.keys, .head_dim = dim, .value_dim = dim};
      AttentionProblem large = p, negative = p, scaled = p;
      large.query_magnitude = 5, large.magnitude = 3;
      verify("large", large, {"mma", "tf32x3"});
      negative.options.scale = -0.3;
      verify("negative scale", negative, {"mma", "tf32x3"});
      scaled.options.scale = 100.0;
      verify("scores of hundreds", scaled, {"mma", "tf32x3"});
    }
  }
  for (const Shape& shape : std::vector<Shape>{
           {203}, {113, 1}, {113, 203}, {1, 1, 203}, {2, 1, 203}, {2, 113, 203}, {2, 1, 1, 203}, {2, 2, 113, 203}}) {
    AttentionProblem p{.batch = 2, .queries = 113, .keys = 203, .head_dim = 64, .value_dim = 64};
    p.options.mask = greater(uniform(shape, -1, 1, {}, 6), scalar(-0.2));
    verify("boolean " + to_string(shape), p, {"mma", "tf32x3"});
    p.options.mask = uniform(shape, -2, 2, {}, 7);
    p.mask_gradient = true;
    verify("bias " + to_string(shape), p, {"mma", "tf32x3"});
  }
  const Tensor i = arange(0, 600).unsqueeze(1), j = arange(0, 600);
  const Tensor inside = less(abs(j - i), scalar(50, {Dtype::i64}));
  AttentionProblem band{.queries = 600, .keys = 600, .head_dim = 64, .value_dim = 64};
  band.options.mask = masked_fill(zeros({600, 600}), inside, -std::numeric_limits<double>::infinity());
  verify("band", band, {"mma", "tf32x3"});
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
    AttentionProblem p{
        .batch = 4, .heads = 4, .key_heads = 4, .queries = 130, .keys = 130, .head_dim = 64, .value_dim = 64};
    p.dtype = dtype;
    const auto bits = [&] {
      std::vector<std::vector<float>> all;
      for (const auto& [name, x] : run_on_gpu(p)) all.push_back(x.to(Dtype::f32).to_vector<float>());
      return all;
    };
    const auto first = bits();
    for (int repeat = 0; repeat < 10; ++repeat) REQUIRE(bits() == first);
  }
}

}  // namespace heed::test
