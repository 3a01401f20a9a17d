// Softmax, log_softmax, masked_softmax and their gradients on the GPU: every rung of the ladder on every kind of row.
#include "kernels/softmax/masked_softmax.h"
#include "kernels/softmax/softmax.h"
#include "tests/kernels/cuda_arrays.h"

using namespace heed;
using namespace heed::kernels;
using namespace heed::test;

namespace {

const std::vector<Precision> precisions = {
    {Dtype::f32, 3e-6}, {Dtype::bf16, 0x1p-7}, {Dtype::f16, 0x1p-10}, {Dtype::f64, 1e-12}};

// Rows somewhere in an array, and where the results go, which may be aligned otherwise.
struct Layout {
  const char* name;
  Extents shape;
  int axis;
  Extents strides = {}, out_strides = {};
  std::int64_t offset = 0, out_offset = 0;

  // An array large enough for either.
  std::int64_t room() const {
    std::int64_t last = 0;
    for (const Extents& s : {strides, out_strides}) {
      std::int64_t end = 1;
      for (std::size_t i = 0; i < s.size(); ++i) end += std::max<std::int64_t>(shape[i] - 1, 0) * s[i];
      if (s.empty()) {
        for (const std::int64_t length : shape) end *= std::max<std::int64_t>(length, 1);
      }
      last = std::max(last, end);
    }
    return last + std::max(offset, out_offset);
  }
};

std::vector<Layout> layouts() {
  std::vector<Layout> all;
  for (const std::int64_t n : {0, 1, 2, 7, 8, 31, 32, 33, 64, 255, 256, 257, 1023, 1024, 1025}) {
    all.push_back({"rows", {3, n}, 1});
  }
  all.push_back({"no rows", {0, 9}, 1});
  all.push_back({"one row in registers of a block", {1, 5000}, 1});
  all.push_back({"one row, longer than registers", {1, 17'001}, 1});
  all.push_back({"many short rows", {70, 5}, 1});
  all.push_back({"a gap after each row", {5, 33}, 1, {36, 1}, {36, 1}});
  all.push_back({"an odd gap", {5, 33}, 1, {35, 1}, {35, 1}});
  all.push_back({"from an odd place to an even one", {4, 100}, 1, {101, 1}, {100, 1}, 1, 0});
  all.push_back({"both at odd places", {2, 300}, 1, {}, {}, 3, 3});
  all.push_back({"columns", {33, 70}, 0});
  all.push_back({"few columns, and long", {300, 3}, 0});
  all.push_back({"an axis in the middle", {4, 33, 5}, 1});
  all.push_back({"the first of three axes", {4, 33, 5}, 0});
  all.push_back({"permuted", {6, 5, 40}, 2, {40, 240, 1}, {200, 40, 1}});
  all.push_back({"every other element", {3, 50}, 1, {100, 2}, {50, 1}});
  return all;
}

struct Numbers {
  const char* kind;
  double scale, offset, odd;
  int every;  // element of that many is odd; 0: none; 1: most
};
const Numbers numbers[] = {{"plain", 3, 0, 0, 0},
                           {"far from 0", 1, 500, 0, 0},
                           {"mostly masked", 5, 0, -INFINITY, 1},
                           {"some NaN", 1, 0, NAN, 90},
                           {"some infinite", 1, 0, INFINITY, 90}};

Values make(std::int64_t count, const Numbers& kind, unsigned seed) {
  Values x = random_values(count, seed, kind.scale, kind.offset);
  std::mt19937 random(seed);
  for (double& value : x) {
    const unsigned draw = random();
    if (kind.every == 1 ? draw % 8 != 0 : kind.every > 1 && draw % static_cast<unsigned>(kind.every) == 0)
      value = kind.odd;
  }
  return x;
}

}  // namespace

TEST_CASE("softmax and log_softmax on the GPU") {
  if (no_gpu()) return;
  for (const Layout& layout : layouts()) {
    INFO(std::string(layout.name));
    CAPTURE(layout.shape.back());
    for (const Numbers& kind : numbers) {
      if (kind.every != 0 && layout.room() > 4000) continue;
      INFO(std::string(kind.kind));
      const Values x = make(layout.room(), kind, 1), before(x.size(), 7);
      for (const auto* kernel : {&softmax_forward, &log_softmax_forward}) {
        compare_on_gpu(*kernel, precisions, [&](Arrays& arrays, Dtype dtype) {
          const View from = arrays.put(dtype, x, layout.shape, layout.strides, layout.offset);
          const View to = arrays.put(dtype, before, layout.shape, layout.out_strides, layout.out_offset);
          (*kernel)(from, to, layout.axis, arrays.stream());
          return arrays.read(to);
        });
      }
    }
  }
}

TEST_CASE("softmax on the GPU, in place") {
  if (no_gpu()) return;
  for (const Layout& layout : layouts()) {
    INFO(std::string(layout.name));
    const Values x = random_values(layout.room(), 2, 4);
    for (const auto* kernel : {&softmax_forward, &log_softmax_forward}) {
      compare_on_gpu(*kernel, {{Dtype::f32, 3e-6}, {Dtype::bf16, 0x1p-7}, {Dtype::f16, 0x1p-10}},
                     [&](Arrays& arrays, Dtype dtype) {
                       const View view = arrays.put(dtype, x, layout.shape, layout.strides, layout.offset);
                       (*kernel)(view, view, layout.axis, arrays.stream());
                       return arrays.read(view);
                     });
    }
  }
}

TEST_CASE("gradients of softmax and log_softmax on the GPU, in place too") {
  if (no_gpu()) return;
  for (const Layout& layout : layouts()) {
    INFO(std::string(layout.name));
    CAPTURE(layout.shape.back());
    const Values y = random_values(layout.room(), 3, 0.5, -0.6), dy = random_values(layout.room(), 4),
                 before(y.size(), 7);
    for (const auto* kernel : {&softmax_backward, &log_softmax_backward}) {
      for (const int in_place : {0, 1, 2}) {
        CAPTURE(in_place);
        compare_on_gpu(*kernel, {{Dtype::f32, 3e-5}, {Dtype::bf16, 0x1p-5}, {Dtype::f16, 0x1p-8}, {Dtype::f64, 1e-11}},
                       [&](Arrays& arrays, Dtype dtype) {
                         const View of_y = arrays.put(dtype, y, layout.shape, layout.strides, layout.offset);
                         const View of_dy = arrays.put(dtype, dy, layout.shape, layout.strides, layout.offset);
                         const View of_dx = in_place == 1   ? of_y
                                            : in_place == 2 ? of_dy
                                                            : arrays.put(dtype, before, layout.shape,
                                                                         layout.out_strides, layout.out_offset);
                         (*kernel)(of_y, of_dy, of_dx, layout.axis, arrays.stream());
                         return arrays.read(of_dx);
                       });
      }
    }
  }
}

TEST_CASE("masked softmax and its gradient on the GPU") {
  if (no_gpu()) return;
  struct Shape {
    std::int64_t batch, heads, queries, keys;
  };
  for (const auto& [batch, heads, queries, keys] :
       {Shape{1, 1, 1, 1}, Shape{2, 3, 4, 33}, Shape{1, 2, 33, 31}, Shape{1, 1, 5, 1030}, Shape{0, 2, 3, 4},
        Shape{1, 2, 3, 0}, Shape{2, 1, 40, 40}}) {
    const Extents shape = {batch, heads, queries, keys};
    const std::int64_t room = batch * heads * queries * keys;
    CAPTURE(queries);
    CAPTURE(keys);
    Values x = random_values(room, 5, 3), added = random_values(batch * keys, 6, 2), allowed(added.size());
    for (std::size_t i = 0; i < added.size(); ++i) {
      if (i % 5 == 1) added[i] = -INFINITY;
      allowed[i] = i % 3 != 1;
    }
    const Values y = random_values(room, 7), dy = random_values(room, 8), before(x.size(), 7);
    for (const bool causal : {false, true}) {
      for (const std::int64_t shift : {keys - queries, std::int64_t{0}, std::int64_t{-2}}) {
        if (!causal && shift != 0) continue;
        for (const int mask : {0, 1, 2}) {
          CAPTURE(causal);
          CAPTURE(shift);
          CAPTURE(mask);
          const auto options_on = [&](Arrays& arrays, Dtype dtype) {
            MaskedSoftmaxOptions options{.scale = -0.3, .causal = causal, .shift = shift};
            const Extents strides = {keys, 0, 0, 1};  // one mask per batch, for all heads and queries
            const Dtype of_added = is_half(dtype) ? Dtype::f32 : dtype;
            if (mask == 1) options.mask = arrays.put(of_added, added, shape, strides);
            if (mask == 2) options.mask = arrays.put(Dtype::boolean, allowed, shape, strides);
            return options;
          };
          compare_on_gpu(masked_softmax_forward, precisions, [&](Arrays& arrays, Dtype dtype) {
            const View from = arrays.put(dtype, x, shape), to = arrays.put(dtype, before, shape);
            masked_softmax_forward(from, options_on(arrays, dtype), to, arrays.stream());
            return arrays.read(to);
          });
          if (mask != 0) continue;
          compare_on_gpu(masked_softmax_backward,
                         {{Dtype::f32, 3e-5}, {Dtype::bf16, 0x1p-5}, {Dtype::f16, 0x1p-8}, {Dtype::f64, 1e-11}},
                         [&](Arrays& arrays, Dtype dtype) {
                           const View of_y = arrays.put(dtype, y, shape), of_dy = arrays.put(dtype, dy, shape),
                                      of_dx = arrays.put(dtype, before, shape);
                           masked_softmax_backward(of_y, of_dy, options_on(arrays, dtype), of_dx, arrays.stream());
                           return arrays.read(of_dx);
                         });
        }
      }
    }
  }
}

TEST_CASE("masked softmax does not look where a query may not") {
  if (no_gpu()) return;
  // NaN behind the causal limit and under the mask; the last row looks at one and becomes NaN.
  const Values x = {1, NAN, NAN, 2, 3, NAN, 4, 5, NAN}, allowed = {1, 1, 1, 1, 1, 1, 0, 1, 1};
  compare_on_gpu(masked_softmax_forward, precisions, [&](Arrays& arrays, Dtype dtype) {
    const View from = arrays.put(dtype, x, {1, 1, 3, 3}), to = arrays.put(dtype, Values(9), {1, 1, 3, 3});
    const View mask = arrays.put(Dtype::boolean, allowed, {1, 1, 3, 3});
    masked_softmax_forward(from, {.causal = true, .mask = mask}, to, arrays.stream());
    const Values got = arrays.read(to);
    CHECK_EQ(got[0], 1);
    CHECK_EQ(got[5], 0);
    CHECK(std::isnan(got[8]));
    return got;
  });
}

// The reference itself, on the CPU: the definition by hand, and the gradient against differences under a random cotangent.
TEST_CASE("masked softmax on the CPU") {
  const std::int64_t batch = 2, heads = 2, queries = 4, keys = 5, shift = -1;
  const Extents shape = {batch, heads, queries, keys};
  const std::int64_t room = batch * heads * queries * keys;
  const Values x = random_values(room, 1, 2), cotangent = random_values(room, 2);
  Values added = random_values(room, 3);
  for (std::size_t i = 0; i < added.size(); i += 3) added[i] = -INFINITY;
  for (const bool boolean : {false, true}) {
    CAPTURE(boolean);
    Values allowed(added.size());
    for (std::size_t i = 0; i < added.size(); ++i) allowed[i] = added[i] != -INFINITY;
    const auto softmax_of = [&](const Values& numbers, const Values& dy) {
      Arrays arrays(DeviceType::cpu);
      MaskedSoftmaxOptions options{.scale = 0.7, .causal = true, .shift = shift};
      options.mask = arrays.put(boolean ? Dtype::boolean : Dtype::f64, boolean ? allowed : added, shape);
      const View in = arrays.put(Dtype::f64, numbers, shape), out = arrays.put(Dtype::f64, Values(room, 7), shape);
      masked_softmax_forward(in, options, out, arrays.stream());
      const Values y = arrays.read(out);
      if (dy.empty()) return y;
      masked_softmax_backward(out, arrays.put(Dtype::f64, dy, shape), options, in, arrays.stream());
      return arrays.read(in);
    };
    Values expected(x.size());
    for (std::int64_t row = 0; row < room / keys; ++row) {
      double sum = 0;
      for (const bool sums : {true, false}) {
        for (std::int64_t j = 0; j < keys; ++j) {
          const auto at = static_cast<std::size_t>(row * keys + j);
          const bool seen = j <= row % queries + shift && added[at] != -INFINITY;
          const double power = seen ? std::exp(0.7 * x[at] + (boolean ? 0 : added[at])) : 0;
          if (sums) sum += power;
          if (!sums && sum > 0) expected[at] = power / sum;
        }
      }
    }
    CHECK_EQ(difference(softmax_of(x, {}), expected, 1e-14), "");

    Values differences(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      for (const double step : {1e-5, -1e-5}) {
        Values near = x;
        near[i] += step;
        const Values y = softmax_of(near, {});
        for (std::size_t j = 0; j < y.size(); ++j) differences[i] += cotangent[j] * y[j] / (2 * step);
      }
    }
    CHECK_EQ(difference(softmax_of(x, cotangent), differences, 1e-9), "");
  }
}
