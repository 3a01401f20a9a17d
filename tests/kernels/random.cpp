#include "kernels/random/random.h"

#include <doctest/doctest.h>
#include <hwy/highway.h>
#include <omp.h>

#include <cmath>
#include <numbers>

#include "tests/kernels/arrays.h"
#include "tests/kernels/instruction_sets.h"

using namespace heed;
using namespace heed::kernels;
using namespace heed::test;

namespace {

double unit24(std::uint32_t word) {
  return (word >> 8) * 0x1p-24;
}
double unit53(std::uint32_t low, std::uint32_t high) {
  return ((std::uint64_t{high} << 32 | low) >> 11) * 0x1p-53;
}

const std::uint64_t offsets[] = {0, 7, 0xfffffffd};  // the last carries into the second word of the counter
const std::int64_t counts[] = {0, 1, 2, 3, 4, 5, 31, 33, 1025, 40001};

}  // namespace

TEST_SUITE("random kernels") {
  TEST_CASE("Philox gives the published answers") {  // kat_vectors of Random123
    CHECK(philox({0, 0, 0, 0}, {0, 0}) == PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    CHECK(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
          PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  }

  TEST_CASE("a threshold decides as the comparison it stands for") {
    for (const double p : {0.0, 1e-9, 0.1, 0.3, 0.5, 1 - 1e-9, 1.0}) {
      const std::uint32_t threshold = bernoulli_threshold(p);
      for (const std::int64_t word : {std::int64_t{0}, std::int64_t{threshold} - 1, std::int64_t{threshold},
                                      std::int64_t{threshold} + 1, std::int64_t{0xffffff}}) {
        if (word < 0 || word > 0xffffff) continue;
        CHECK((word < threshold) == (static_cast<double>(word) * 0x1p-24 < p));
      }
    }
  }

  TEST_CASE("every number is the function of its index that the contract states") {
    on_each_instruction_set([] {
      for_each_variant({&uniform, &normal, &bernoulli, &dropout}, [] {
        for (const std::uint64_t offset : offsets) {
          for (const std::int64_t n : counts) {
            std::vector<float> single(n), x(n, 2.0f);
            std::vector<double> wide(n);
            std::vector<std::int32_t> coins(n);
            const View y = view_of(single, {n}), yd = view_of(wide, {n});
            const std::uint64_t seed = 0x123456789abcdef0;
            const auto block = [&](std::int64_t i) { return philox(i / 2 + offset, seed); };

            uniform(y, seed, offset, Stream{});
            uniform(yd, seed, offset, Stream{});
            bool agrees = true;
            for (std::int64_t i = 0; i < n; ++i) {
              agrees &= single[i] == unit24(philox_word(i, seed, offset));
              agrees &= wide[i] == unit53(block(i)[2 * (i % 2)], block(i)[2 * (i % 2) + 1]);
            }
            CHECK(agrees);

            bernoulli(view_of(coins, {n}), 0.3, seed, offset, Stream{});
            dropout(view_of(x, {n}), y, 0.3, seed, offset, Stream{});
            for (std::int64_t i = 0; i < n; ++i) {
              const bool coin = unit24(philox_word(i, seed, offset)) < 0.3;
              agrees &= coins[i] == coin && single[i] == (coin ? 0.0f : 2.0f * static_cast<float>(1 / 0.7));
            }
            CHECK(agrees);

            normal(y, seed, offset, Stream{});
            normal(yd, seed, offset, Stream{});
            double worst = 0, worst_wide = 0;
            const auto transform = [](double u, double v, bool odd) {
              const double angle = 2 * std::numbers::pi * v;
              return std::sqrt(-2 * std::log(u)) * (odd ? std::sin(angle) : std::cos(angle));
            };
            for (std::int64_t i = 0; i < n; ++i) {
              const std::int64_t first = i - i % 2;
              const auto u = static_cast<float>((philox_word(first, seed, offset) + 1.0) * 0x1p-32);
              const double expected = transform(u, unit24(philox_word(first + 1, seed, offset)), i % 2 != 0);
              worst = std::max(worst, std::abs(single[i] - expected));
              const PhiloxBlock b = block(i);
              const double expected_wide = transform(1 - unit53(b[0], b[1]), unit53(b[2], b[3]), i % 2 != 0);
              worst_wide = std::max(worst_wide, std::abs(wide[i] - expected_wide));
            }
            CHECK(worst <= 2e-6);
            CHECK(worst_wide <= 1e-13);
          }
        }
      });
    });
  }

  TEST_CASE("neither the layout nor the number of threads changes a number") {
    for_each_variant({&uniform, &normal, &dropout}, [] {
      for (const std::int64_t columns : {1, 3, 130}) {
        const std::int64_t rows = 301;
        std::vector<float> dense(rows * columns), transposed(rows * columns), x(rows * columns, 1.0f);
        const View y = view_of(dense, {rows, columns}), z = view_of(transposed, {rows, columns}, {1, rows});
        const auto agree = [&] {
          for (std::int64_t i = 0; i < rows * columns; ++i) {
            if (dense[i] != transposed[i / columns + i % columns * rows]) return false;
          }
          return true;
        };
        const int threads = omp_get_max_threads();
        const auto compare = [&](auto&& kernel) {
          kernel(y);
          omp_set_num_threads(threads == 1 ? 3 : 1);
          kernel(z);
          omp_set_num_threads(threads);
          CHECK(agree());
        };
        compare([](View y) { uniform(y, 1, 2, Stream{}); });
        compare([](View y) { normal(y, 1, 2, Stream{}); });
        compare([&](View y) { dropout(view_of(x, {rows, columns}), y, 0.5, 1, 2, Stream{}); });
      }
    });
  }
}
