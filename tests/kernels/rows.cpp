// Reductions, softmax, normalisation and losses: what every instruction set computes against the reference, over odd
// lengths, strides and numbers. The references themselves are held against independent ones in tests/cases.
#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>
#include <functional>
#include <string>

#include "kernels/bfloat16.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/reduce/reduce.h"
#include "kernels/softmax/softmax.h"
#include "tests/kernels/arrays.h"
#include "tests/kernels/instruction_sets.h"

using namespace heed;
using namespace heed::kernels;
using namespace heed::test;

namespace {

using Floats = std::vector<float>;
using Run = std::function<Floats()>;  // launches a kernel and returns all that it wrote

// NaN agrees with NaN alone, an infinity with itself.
std::int64_t count_differences(const Floats& got, const Floats& expected, float tolerance) {
  std::int64_t different = got.size() == expected.size() ? 0 : 1;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(got[i]) && std::isnan(expected[i])) continue;
    if (got[i] == expected[i]) continue;
    if (!(std::abs(got[i] - expected[i]) <= tolerance * (1 + std::abs(expected[i])))) ++different;
  }
  return different;
}

// Every variant on every instruction set against the reference, and one thread against several, bit for bit.
void compare(const KernelSlot& slot, const Run& run, float tolerance) {
  INFO(std::string(slot.name()));
  Floats expected;
  {
    const ScopedVariant scope(slot, DeviceType::cpu, "reference");
    expected = run();
  }
  for (const Variant& variant : slot.variants()) {
    if (variant.device != DeviceType::cpu) continue;
    INFO(std::string(variant.name));
    const ScopedVariant scope(slot, DeviceType::cpu, variant.name);
    on_each_instruction_set([&] {
      const int threads = omp_get_max_threads();
      omp_set_num_threads(1);
      const Floats alone = run();
      omp_set_num_threads(3);
      const Floats together = run();
      omp_set_num_threads(threads);
      CHECK(count_differences(alone, expected, tolerance) == 0);
      CHECK(count_differences(together, alone, 0) == 0);
    });
  }
}

// [rows, n] in memory with a gap after each row, or column by column.
std::vector<std::int64_t> strides_of(std::int64_t rows, std::int64_t n, bool transposed) {
  if (transposed) return {1, rows + 1};
  return {n + 3, 1};
}
std::int64_t room_for(std::int64_t rows, std::int64_t n) {
  return (rows + 1) * (n + 3) + (n + 1) * (rows + 1);
}

struct Numbers {
  const char* kind;
  float scale, offset;
  float odd;  // stands in place of some
  int every;  // of that many; 0: none
};
const Numbers numbers[] = {{"plain", 3, 0, 0, 0},
                           {"far from 0", 1, 500, 0, 0},
                           {"mostly masked", 5, 0, -INFINITY, 1},
                           {"some NaN", 1, 0, NAN, 90},
                           {"some infinite", 1, 0, INFINITY, 90}};

Floats make(std::int64_t count, const Numbers& kind, unsigned seed) {
  Floats x = random_numbers<float>(count, seed);
  std::mt19937 random(seed);
  for (float& value : x) {
    value = value * kind.scale + kind.offset;
    const unsigned draw = random();
    if (kind.every == 1 ? draw % 8 != 0 : kind.every > 1 && draw % kind.every == 0) value = kind.odd;
  }
  return x;
}

// Calls body(rows, n, transposed, kind) for many of each.
void sweep(const std::function<void(std::int64_t, std::int64_t, bool, const Numbers&)>& body) {
  const std::pair<std::int64_t, std::int64_t> shapes[] = {{0, 5},   {1, 1},    {3, 4},  {5, 7},
                                                          {70, 33}, {2, 1100}, {90, 16}};
  for (const auto& [rows, n] : shapes) {
    for (const bool transposed : {false, true}) {
      for (const Numbers& kind : numbers) {
        CAPTURE(rows);
        CAPTURE(n);
        CAPTURE(transposed);
        INFO(std::string(kind.kind));
        body(rows, n, transposed, kind);
      }
    }
  }
}

}  // namespace

TEST_CASE("reductions over rows, columns and all, on every instruction set") {
  sweep([](std::int64_t rows, std::int64_t n, bool transposed, const Numbers& kind) {
    Floats x = make(room_for(rows, n), kind, 1);
    const View in = view_of(x, {rows, n}, strides_of(rows, n, transposed));
    for (const auto* kernel : {&reduce_sum, &reduce_sum_of_squares, &reduce_max, &reduce_min, &reduce_log_sum_exp}) {
      const bool empty_fits = kernel != &reduce_max && kernel != &reduce_min;
      for (const auto& shape : {std::vector<std::int64_t>{rows, 1}, {1, n}, {1, 1}}) {
        if (rows == 0 && shape[0] == 1 && !empty_fits) continue;
        const auto run = [&] {
          Floats y(shape[0] * shape[1]);
          (*kernel)(in, view_of(y, shape), Stream{});
          return y;
        };
        compare(*kernel, run, kind.offset == 0 ? 1e-5f : 1e-6f);
      }
    }
    for (const auto* kernel : {&reduce_argmax, &reduce_argmin}) {
      const auto run = [&] {
        std::vector<std::int64_t> y(rows);
        (*kernel)(in, view_of(y, {rows, 1}), Stream{});
        return Floats(y.begin(), y.end());
      };
      compare(*kernel, run, 0);
    }
  });
}

TEST_CASE("a long sum keeps its digits and its bits") {
  std::vector<float> x = random_numbers<float>(3'000'000, 5);
  double exact = 0;
  for (float& value : x) exact += value = std::abs(value);
  const auto run = [&] {
    Floats y(1 + 1000 + 3);
    View whole = view_of(y, {1}), columns = view_of(y, {1, 1000}), few = view_of(y, {1, 3});
    columns.data = y.data() + 1;
    few.data = y.data() + 1001;
    reduce_sum(view_of(x, {3'000'000}), whole, Stream{});
    reduce_sum(view_of(x, {3000, 1000}), columns, Stream{});
    reduce_sum(view_of(x, {1'000'000, 3}), few, Stream{});
    return y;
  };
  compare(reduce_sum, run, 1e-6f);
  CHECK(std::abs(run()[0] / exact - 1) < 1e-6);
}

TEST_CASE("softmax and its kin on every instruction set, out of place and in place") {
  sweep([](std::int64_t rows, std::int64_t n, bool transposed, const Numbers& kind) {
    const auto strides = strides_of(rows, n, transposed);
    Floats x = make(room_for(rows, n), kind, 1);
    for (const auto* kernel : {&softmax_forward, &log_softmax_forward}) {
      for (const bool in_place : {false, true}) {
        const auto run = [&] {
          Floats y = in_place ? x : Floats(x.size());
          (*kernel)(view_of(in_place ? y : x, {rows, n}, strides), view_of(y, {rows, n}, strides), 1, Stream{});
          return y;
        };
        compare(*kernel, run, 3e-6f);
      }
    }
  });
  sweep([](std::int64_t rows, std::int64_t n, bool transposed, const Numbers& kind) {
    if (kind.every != 0 || kind.offset != 0) return;
    const auto strides = strides_of(rows, n, transposed);
    Floats y = make(room_for(rows, n), {"", 0.5f, -0.6f, 0, 0}, 1), dy = random_numbers<float>(room_for(rows, n), 2);
    for (const auto* kernel : {&softmax_backward, &log_softmax_backward}) {
      const auto run = [&] {
        Floats dx(y.size());
        (*kernel)(view_of(y, {rows, n}, strides), view_of(dy, {rows, n}, strides), view_of(dx, {rows, n}, strides), 1,
                  Stream{});
        return dx;
      };
      compare(*kernel, run, 2e-5f);
    }
  });
}

TEST_CASE("softmax of bf16 is rounded once") {
  std::vector<BFloat16> x, y(300);
  for (const float value : random_numbers<float>(300, 3)) x.push_back(BFloat16(4 * value));
  std::vector<BFloat16>& out = y;
  View from = view_of(x, {1, 300}), to = view_of(out, {1, 300});
  from.dtype = to.dtype = Dtype::bf16;
  softmax_forward(from, to, 1, Stream{});
  double sum = 0;
  for (const BFloat16 value : x) sum += std::exp(static_cast<float>(value));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(static_cast<float>(x[i])) / sum;
    CHECK(std::abs(static_cast<float>(y[i]) / exact - 1) <= 0x1p-8 + 1e-6);
  }
}

TEST_CASE("normalisations on every instruction set") {
  sweep([](std::int64_t rows, std::int64_t n, bool transposed, const Numbers& kind) {
    if (kind.every != 0) return;
    const auto strides = strides_of(rows, n, transposed);
    Floats x = make(room_for(rows, n), kind, 1), dy = random_numbers<float>(room_for(rows, n), 2);
    Floats weight = random_numbers<float>(n, 3), bias = random_numbers<float>(n, 4), mean(rows, 0.1f), rstd(rows, 0.7f);
    Floats workspace(norm_workspace_size(rows, n));
    const View in = view_of(x, {rows, n}, strides), w = view_of(weight, {n}), b = view_of(bias, {n});
    for (const bool parameters : {true, false}) {
      const View w_or_not = parameters ? w : View{}, b_or_not = parameters ? b : View{};
      const auto forward = [&](bool centred) {
        Floats y(x.size()), statistics(2 * rows);
        View m = view_of(statistics, {rows}), r = m;
        r.data = statistics.data() + rows;
        const View out = view_of(y, {rows, n}, strides);
        if (centred) layer_norm_forward(in, w_or_not, b_or_not, out, m, r, 1e-3, Stream{});
        if (!centred) rms_norm_forward(in, w_or_not, out, r, 1e-3, Stream{});
        y.insert(y.end(), statistics.begin(), statistics.end());
        return y;
      };
      compare(
          layer_norm_forward, [&] { return forward(true); }, 2e-5f);
      compare(
          rms_norm_forward, [&] { return forward(false); }, 2e-5f);
      if (kind.offset != 0) continue;
      const auto backward = [&](bool centred, bool into_parameters) {
        Floats dx(x.size()), dweight(n), dbias(n);
        const View out = view_of(dx, {rows, n}, strides), cotangent = view_of(dy, {rows, n}, strides);
        const View dw = into_parameters ? view_of(dweight, {n}) : View{},
                   db = into_parameters ? view_of(dbias, {n}) : View{};
        const View m = view_of(mean, {rows}), r = view_of(rstd, {rows}),
                   space = view_of(workspace, {norm_workspace_size(rows, n)});
        if (centred) layer_norm_backward(in, w_or_not, cotangent, m, r, out, dw, db, space, Stream{});
        if (!centred) rms_norm_backward(in, w_or_not, cotangent, r, out, dw, space, Stream{});
        dx.insert(dx.end(), dweight.begin(), dweight.end());
        dx.insert(dx.end(), dbias.begin(), dbias.end());
        return dx;
      };
      for (const bool into_parameters : {true, false}) {
        compare(
            layer_norm_backward, [&] { return backward(true, into_parameters); }, 5e-5f);
        compare(
            rms_norm_backward, [&] { return backward(false, into_parameters); }, 5e-5f);
      }
    }
  });
}

TEST_CASE("cross_entropy on every instruction set; targets that are no class make NaN") {
  sweep([](std::int64_t rows, std::int64_t n, bool transposed, const Numbers& kind) {
    const auto strides = strides_of(rows, n, transposed);
    Floats logits = make(room_for(rows, n), kind, 1), weight = random_numbers<float>(n, 3),
           dloss = random_numbers<float>(rows, 4);
    Floats lse(rows), ignored(rows);
    std::vector<std::int32_t> target(rows);
    for (std::int64_t i = 0; i < rows; ++i)
      target[i] = static_cast<std::int32_t>(i % 5 == 1 ? -100 : i % 7 == 6 ? n : i * 3 % n);
    const View x = view_of(logits, {rows, n}, strides), t = view_of(target, {rows});
    cross_entropy_forward(x, t, View{}, view_of(ignored, {rows}), view_of(lse, {rows}), 0, -100, Stream{});
    for (const double smoothing : {0.0, 0.1}) {
      const View w = smoothing > 0 ? view_of(weight, {n}) : View{};
      compare(
          cross_entropy_forward,
          [&] {
            Floats results(2 * rows);
            View losses = view_of(results, {rows}), sums = losses;
            sums.data = results.data() + rows;
            cross_entropy_forward(x, t, w, losses, sums, smoothing, -100, Stream{});
            for (std::int64_t i = 6; i < rows; i += 35) CHECK((i % 5 == 1 || std::isnan(results[i])));
            return results;
          },
          1e-5f);
      compare(
          cross_entropy_backward,
          [&] {
            Floats dx(logits.size());
            cross_entropy_backward(x, t, w, view_of(lse, {rows}), view_of(dloss, {rows}),
                                   view_of(dx, {rows, n}, strides), smoothing, -100, Stream{});
            return dx;
          },
          3e-5f);
    }
  });
}

TEST_CASE("bce_with_logits on every instruction set") {
  sweep([](std::int64_t rows, std::int64_t n, bool transposed, const Numbers& kind) {
    if (kind.every == 1) return;
    const auto strides = strides_of(rows, n, transposed);
    const std::int64_t room = room_for(rows, n);
    Floats logits = make(room, kind, 1), target = make(room, {"", 0.5f, 0.5f, 0, 0}, 2),
           weight = random_numbers<float>(n, 3);
    Floats dloss = random_numbers<float>(room, 4);
    const View x = view_of(logits, {rows, n}, strides), t = view_of(target, {rows, n}, strides);
    const View w = view_of(weight, {rows, n}, {0, 1});
    for (const View& weights : {View{}, w}) {
      const auto run = [&](bool forward) {
        Floats y(room);
        const View out = view_of(y, {rows, n}, strides), cotangent = view_of(dloss, {rows, n}, strides);
        if (forward) bce_with_logits_forward(x, t, weights, weights, out, Stream{});
        if (!forward) bce_with_logits_backward(x, t, weights, weights, cotangent, out, Stream{});
        return y;
      };
      compare(
          bce_with_logits_forward, [&] { return run(true); }, 1e-5f);
      compare(
          bce_with_logits_backward, [&] { return run(false); }, 1e-5f);
    }
  });
}
