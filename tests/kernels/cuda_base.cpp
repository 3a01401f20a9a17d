// Copies, elementwise functions, reductions, products and random numbers on the GPU against the CPU's references.
#include <bit>
#include <limits>

#include "kernels/copy/copy.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"
#include "kernels/random/random.h"
#include "kernels/reduce/reduce.h"
#include "tests/kernels/cuda_arrays.h"

using namespace heed;
using namespace heed::kernels;
using namespace heed::test;

namespace {

constexpr Dtype every_dtype[] = {Dtype::f32, Dtype::f64, Dtype::bf16, Dtype::f16,
                                 Dtype::i32, Dtype::i64, Dtype::u8,   Dtype::boolean};

// Of a result that is rounded once: half a unit in the last place, and a little.
double rounding_of(Dtype dtype) {
  return dtype == Dtype::bf16 ? 0x1p-8 : dtype == Dtype::f16 ? 0x1p-11 : dtype == Dtype::f32 ? 1e-6 : 0;
}

std::int64_t size_of_shape(const Extents& shape) {
  std::int64_t size = 1;
  for (const std::int64_t length : shape) size *= length;
  return size;
}

// Shapes with the strides of an input and of the result, all within an array of `room` elements.
struct Layout {
  const char* name;
  Extents shape, in, out;
  std::int64_t room;
  std::int64_t in_offset = 0, out_offset = 0;
};

const Layout layouts[] = {
    {"a single element", {}, {}, {}, 1},
    {"nothing", {0, 3}, {3, 1}, {3, 1}, 1},
    {"a vector", {1027}, {1}, {1}, 1027},
    {"from an odd place", {1027}, {1}, {1}, 1030, 3, 0},
    {"to an odd place", {64}, {1}, {1}, 65, 0, 1},
    {"expanded rows", {7, 33}, {0, 1}, {33, 1}, 231},
    {"expanded columns", {7, 33}, {1, 0}, {33, 1}, 231},
    {"one value", {7, 33}, {0, 0}, {33, 1}, 231},
    {"every other", {5, 20}, {40, 2}, {20, 1}, 200},
    {"a gap after each row of the result", {5, 33}, {33, 1}, {40, 1}, 200},
    {"a transpose", {65, 37}, {1, 65}, {37, 1}, 2405},
    {"both transposed", {65, 37}, {1, 65}, {1, 65}, 2405},
    {"a transpose of narrow matrices", {4, 3, 40}, {120, 1, 3}, {120, 40, 1}, 480},
    {"heads", {2, 3, 33, 9}, {891, 9, 27, 1}, {891, 297, 9, 1}, 1782},
    {"transposed batches", {3, 40, 33}, {1320, 1, 40}, {1320, 33, 1}, 3960},
    {"eight axes", {2, 2, 2, 2, 2, 2, 2, 3}, {1, 2, 4, 8, 16, 32, 64, 128}, {192, 96, 48, 24, 12, 6, 3, 1}, 384},
};

// Whole numbers, some negative where the dtype has them, zeros among them.
Values numbers_for(Dtype dtype, std::int64_t count, unsigned seed) {
  Values values = random_values(count, seed, 100);
  for (double& value : values) {
    if (!is_floating(dtype)) value = std::trunc(value);
    if (dtype == Dtype::u8) value = std::abs(value);
    if (dtype == Dtype::boolean) value = value > 0;
  }
  return values;
}

// Runs a kernel of one input in every layout.
template <class Launch>
void check_unary(const KernelSlot& slot, const std::vector<Precision>& precisions, Dtype result, const Launch& launch,
                 const std::function<Values(Dtype, std::int64_t)>& inputs) {
  for (const Layout& layout : layouts) {
    INFO(std::string(layout.name));
    compare_on_gpu(slot, precisions, [&](Arrays& arrays, Dtype dtype) {
      const View x = arrays.put(dtype, inputs(dtype, layout.room), layout.shape, layout.in, layout.in_offset);
      const Dtype to = result == Dtype::f64 ? dtype : result;
      const View y =
          arrays.put(to, Values(static_cast<std::size_t>(layout.room), 1), layout.shape, layout.out, layout.out_offset);
      launch(x, y, arrays.stream());
      return arrays.read(y);
    });
  }
}

}  // namespace

TEST_CASE("cuda: copies between all dtypes and layouts") {
  if (no_gpu()) return;
  for (const Dtype to : every_dtype) {
    for (const Dtype from : every_dtype) {
      const Layout& one = layouts[2];
      INFO(name_of(from));
      INFO(name_of(to));
      compare_on_gpu(copy, {{from, 0}}, [&](Arrays& arrays, Dtype) {
        Values x = numbers_for(from, one.room, 1);
        if (is_floating(from)) {
          x[0] = NAN;
          x[1] = INFINITY;
          x[2] = -INFINITY;
          x[3] = 3e38;
          x[4] = -3e38;
          x[5] = 2147483648.0;
        }
        if (from == Dtype::i64) x[0] = 9007199254740993.0, x[1] = -1e18;
        const View source = arrays.put(from, x, one.shape);
        const View target = arrays.put(to, Values(x.size(), 1), one.shape);
        copy(source, target, arrays.stream());
        Values y = arrays.read(target);  // f64 on the CPU: rounded here
        if (to == Dtype::bf16)
          for (double& value : y) value = static_cast<float>(BFloat16(static_cast<float>(value)));
        if (to == Dtype::f16)
          for (double& value : y) value = static_cast<float>(Float16(static_cast<float>(value)));
        if (to == Dtype::f32)
          for (double& value : y) value = static_cast<float>(value);
        return y;
      });
    }
  }
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16, Dtype::f16, Dtype::u8, Dtype::i64}) {
    check_unary(
        copy, {{dtype, 0}}, Dtype::f64, [](View x, View y, Stream stream) { copy(x, y, stream); },
        [](Dtype dtype, std::int64_t count) { return numbers_for(dtype, count, 2); });
  }
}

TEST_CASE("cuda: fill, iota, triangle") {
  if (no_gpu()) return;
  for (const Dtype dtype : every_dtype) {
    check_unary(
        fill, {{dtype, 0}}, Dtype::f64, [](View, View y, Stream stream) { fill(y, 2.75, stream); },
        [](Dtype dtype, std::int64_t count) { return numbers_for(dtype, count, 2); });
    if (dtype == Dtype::boolean) continue;
    check_unary(
        iota, {{dtype, rounding_of(dtype)}}, Dtype::f64,
        [](View, View y, Stream stream) { iota(y, -3.25, 0.1, stream); },
        [](Dtype dtype, std::int64_t count) { return numbers_for(dtype, count, 2); });
  }
  for (const bool upper : {false, true}) {
    for (const std::int64_t diagonal : {-40, -1, 0, 2, 50}) {
      for (const Layout& layout : layouts) {
        if (layout.shape.size() < 2) continue;
        INFO(std::string(layout.name));
        compare_on_gpu(
            triangle, {{Dtype::f32, 0}, {Dtype::bf16, 0}, {Dtype::f16, 0}}, [&](Arrays& arrays, Dtype dtype) {
              const View x = arrays.put(dtype, numbers_for(Dtype::i32, layout.room, 3), layout.shape, layout.in);
              const View y =
                  arrays.put(dtype, Values(static_cast<std::size_t>(layout.room), 1), layout.shape, layout.out);
              triangle(x, y, diagonal, upper, arrays.stream());
              return arrays.read(y);
            });
      }
    }
  }
}

TEST_CASE("cuda: functions of one number") {
  if (no_gpu()) return;
  const std::vector<Precision> precisions = {
      {Dtype::f32, 2e-6}, {Dtype::f64, 1e-13}, {Dtype::bf16, 0x1p-7}, {Dtype::f16, 0x1p-10}};
  const std::vector<const Kernel<Unary>*> functions = {
      &kernels::neg,     &kernels::abs,  &kernels::exp,      &kernels::log,  &kernels::sqrt,
      &kernels::rsqrt,   &kernels::tanh, &kernels::erf,      &kernels::relu, &kernels::silu,
      &kernels::sigmoid, &kernels::gelu, &kernels::gelu_tanh};
  for (const Kernel<Unary>* function : functions) {
    const auto numbers = [](Dtype, std::int64_t count) {
      Values x = random_values(count, 7, 6);
      const double special[] = {0, -0.0, NAN, INFINITY, -INFINITY, 80, -80, 1e-30};
      for (std::int64_t i = 0; i < std::min<std::int64_t>(count, 8); ++i) x[static_cast<std::size_t>(i)] = special[i];
      return x;
    };
    check_unary(
        *function, precisions, Dtype::f64, [&](View x, View y, Stream stream) { (*function)(x, y, stream); }, numbers);
  }
  for (const Dtype dtype : every_dtype) {
    check_unary(
        logical_not, {{dtype, 0}}, Dtype::boolean, [](View x, View y, Stream stream) { logical_not(x, y, stream); },
        [](Dtype dtype, std::int64_t count) { return numbers_for(dtype, count, 5); });
  }
}

TEST_CASE("cuda: functions of two numbers") {
  if (no_gpu()) return;
  const auto run = [](const Kernel<Binary>& function, Dtype dtype, double tolerance, bool predicate, double low) {
    for (const Layout& layout : layouts) {
      INFO(std::string(layout.name));
      compare_on_gpu(function, {{dtype, tolerance}}, [&](Arrays& arrays, Dtype) {
        Values a = numbers_for(dtype, layout.room, 1), b = numbers_for(dtype, layout.room, 2);
        if (is_floating(dtype)) {
          for (double& x : a) x = x / 40 + low;
          for (double& x : b) x /= 40;
          const double special[] = {NAN, 1, INFINITY, -INFINITY, 0, 2};
          for (std::int64_t i = 0; i < std::min<std::int64_t>(layout.room, 6); ++i) {
            a[static_cast<std::size_t>(i)] = special[i];
            b[static_cast<std::size_t>(i)] = special[(i * 5 + 1) % 6];
          }
        }
        const View x = arrays.put(dtype, a, layout.shape, layout.in, layout.in_offset);
        const View y = arrays.put(dtype, b, layout.shape, layout.out, layout.out_offset);
        const View result = arrays.put(predicate ? Dtype::boolean : dtype, Values(a.size(), 1), layout.shape,
                                       layout.out, layout.out_offset);
        function(x, y, result, arrays.stream());
        return arrays.read(result);
      });
    }
  };
  for (const Kernel<Binary>* function : {&add, &sub, &mul, &maximum, &minimum}) {
    for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16, Dtype::f16, Dtype::i32, Dtype::i64, Dtype::u8})
      run(*function, dtype, 2 * rounding_of(dtype), false, 0);
  }
  for (const Kernel<Binary>* function :
       {&kernels::equal, &kernels::not_equal, &kernels::less, &kernels::less_equal, &kernels::greater,
        &kernels::greater_equal, &kernels::logical_and, &kernels::logical_or}) {
    for (const Dtype dtype : every_dtype) run(*function, dtype, 0, true, 0);
  }
  for (const Kernel<Binary>* function : {&kernels::div, &kernels::pow, &relu_backward, &abs_backward, &silu_backward,
                                         &gelu_backward, &gelu_tanh_backward, &tanh_backward, &sigmoid_backward}) {
    for (const auto& [dtype, tolerance] : {Precision{Dtype::f32, 4e-6}, Precision{Dtype::f64, 1e-12},
                                           Precision{Dtype::bf16, 0x1p-6}, Precision{Dtype::f16, 0x1p-9}})
      run(*function, dtype, tolerance, false, function == &kernels::pow ? 4 : 0);
  }
}

TEST_CASE("cuda: where and clamp") {
  if (no_gpu()) return;
  for (const Layout& layout : layouts) {
    INFO(std::string(layout.name));
    const auto count = static_cast<std::size_t>(layout.room);
    for (const Dtype dtype : every_dtype) {
      compare_on_gpu(where, {{dtype, 0}}, [&](Arrays& arrays, Dtype) {
        const auto put = [&](Dtype type, unsigned seed, const Extents& strides, std::int64_t offset) {
          return arrays.put(type, numbers_for(type, layout.room, seed), layout.shape, strides, offset);
        };
        const View condition = put(Dtype::boolean, 1, layout.in, layout.in_offset);
        const View a = put(dtype, 2, layout.out, layout.out_offset), b = put(dtype, 3, layout.in, layout.in_offset);
        const View y = arrays.put(dtype, Values(count, 1), layout.shape, layout.out, layout.out_offset);
        where(condition, a, b, y, arrays.stream());
        return arrays.read(y);
      });
    }
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16, Dtype::f16, Dtype::i32, Dtype::i64}) {
      compare_on_gpu(clamp, {{dtype, 0}}, [&](Arrays& arrays, Dtype) {
        const View x = arrays.put(dtype, numbers_for(dtype, layout.room, 2), layout.shape, layout.in, layout.in_offset);
        const View y = arrays.put(dtype, Values(count, 1), layout.shape, layout.out, layout.out_offset);
        clamp(x, y, -20, std::numeric_limits<double>::infinity(), arrays.stream());
        return arrays.read(y);
      });
    }
    compare_on_gpu(clamp_backward, {{Dtype::f32, 0}}, [&](Arrays& arrays, Dtype dtype) {
      const View x = arrays.put(dtype, numbers_for(dtype, layout.room, 2), layout.shape, layout.in, layout.in_offset);
      const View dy =
          arrays.put(dtype, numbers_for(dtype, layout.room, 3), layout.shape, layout.out, layout.out_offset);
      const View dx = arrays.put(dtype, Values(count, 1), layout.shape, layout.out, layout.out_offset);
      clamp_backward(x, dy, dx, -20, 30, arrays.stream());
      return arrays.read(dx);
    });
  }
}

namespace {

struct Reduced {
  Extents shape, strides;
  std::vector<int> axes;
  std::int64_t room;
};

const Reduced reductions[] = {
    {{7}, {1}, {0}, 7},
    {{3, 0}, {0, 1}, {1}, 1},
    {{3, 1}, {1, 1}, {1}, 3},
    {{70, 5}, {5, 1}, {1}, 350},
    {{5, 70}, {70, 1}, {0}, 350},
    {{3, 1025}, {1025, 1}, {1}, 3075},
    {{300, 40}, {40, 1}, {0}, 12000},
    {{2, 9000}, {9000, 1}, {1}, 18000},
    {{9000, 3}, {3, 1}, {0}, 27000},
    {{1, 20001}, {20001, 1}, {0, 1}, 20001},
    {{4, 33, 5}, {165, 5, 1}, {1}, 660},
    {{4, 33, 5}, {165, 5, 1}, {0, 2}, 660},
    {{4, 33, 5}, {1, 4, 132}, {0, 1}, 660},
    {{6, 20}, {0, 2}, {0}, 40},
};

void check_reduction(const Kernel<Reduction>& kernel, const Reduced& how, Dtype dtype, Dtype result, double tolerance,
                     double odd) {
  compare_on_gpu(kernel, {{dtype, tolerance}}, [&](Arrays& arrays, Dtype) {
    Values values = numbers_for(dtype, how.room, 11);
    if (is_floating(dtype)) {
      for (double& value : values) value /= 20;
      if (odd != 0) values[static_cast<std::size_t>(how.room / 2)] = odd;
    }
    Extents kept = how.shape;
    for (const int axis : how.axes) kept[static_cast<std::size_t>(axis)] = 1;
    const View x = arrays.put(dtype, values, how.shape, how.strides);
    const View y = arrays.put(result == Dtype::f64 ? dtype : result,
                              Values(static_cast<std::size_t>(size_of_shape(kept)), 1), kept);
    kernel(x, y, arrays.stream());
    return arrays.read(y);
  });
}

}  // namespace

TEST_CASE("cuda: reductions") {
  if (no_gpu()) return;
  for (const Reduced& how : reductions) {
    INFO(how.shape[0]);
    INFO(how.axes.size());
    const bool empty = size_of_shape(how.shape) == 0;
    for (const double odd : {0.0, static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
      for (const auto& [dtype, tolerance] : {Precision{Dtype::f32, 1e-6}, Precision{Dtype::f64, 1e-13},
                                             Precision{Dtype::bf16, 0x1p-7}, Precision{Dtype::f16, 0x1p-10}}) {
        check_reduction(reduce_sum, how, dtype, Dtype::f64, tolerance, odd);
        check_reduction(reduce_sum_of_squares, how, dtype, Dtype::f64, tolerance, odd);
        check_reduction(reduce_log_sum_exp, how, dtype, Dtype::f64, tolerance, odd);
      }
      for (const Dtype dtype : every_dtype) {
        if (odd != 0 && !is_floating(dtype)) continue;
        check_reduction(reduce_any, how, dtype, Dtype::boolean, 0, odd);
        check_reduction(reduce_all, how, dtype, Dtype::boolean, 0, odd);
        if (empty) continue;
        check_reduction(reduce_max, how, dtype, Dtype::f64, 0, odd);
        check_reduction(reduce_min, how, dtype, Dtype::f64, 0, odd);
        if (how.axes.size() > 1) continue;
        check_reduction(reduce_argmax, how, dtype, Dtype::i64, 0, odd);
        check_reduction(reduce_argmin, how, dtype, Dtype::i64, 0, odd);
      }
    }
    for (const Dtype dtype : {Dtype::i32, Dtype::i64, Dtype::u8, Dtype::boolean})
      check_reduction(reduce_sum, how, dtype, Dtype::i64, 0, 0);
  }
}

TEST_CASE("cuda: matrix products") {
  if (no_gpu()) return;
  struct Product {
    const char* name;
    std::int64_t m, n, k;
    Extents batch, a, b, c;  // strides; empty: row-major
    double alpha = 1, beta = 0;
  };
  const Product products[] = {
      {"plain", 5, 7, 3, {}, {}, {}, {}},
      {"larger than a tile", 33, 40, 50, {}, {}, {}, {}},
      {"a transposed", 33, 40, 50, {}, {1, 33}, {}, {}},
      {"b transposed", 33, 40, 50, {}, {}, {1, 50}, {}},
      {"c transposed", 33, 40, 50, {}, {}, {}, {1, 33}},
      {"all transposed", 6, 5, 4, {}, {1, 6}, {1, 4}, {1, 6}},
      {"alpha and beta", 6, 5, 4, {}, {}, {}, {}, -0.5, 2},
      {"beta alone", 6, 5, 4, {}, {}, {}, {}, 0, 3},
      {"k is 0", 6, 5, 0, {}, {0, 1}, {5, 1}, {}, 1, 3},
      {"k is 0, c is not read", 6, 5, 0, {}, {0, 1}, {5, 1}, {}, 1, 0},
      {"a row", 1, 40, 30, {}, {}, {}, {}},
      {"a column", 40, 1, 30, {}, {}, {}, {}},
      {"no BLAS reads it", 6, 5, 4, {}, {8, 2}, {1, 0}, {}},
      {"batches", 6, 5, 4, {3}, {}, {}, {}},
      {"batches of one b", 6, 5, 4, {3}, {24, 4, 1}, {0, 5, 1}, {}},
      {"batches of one a", 6, 5, 4, {3}, {0, 4, 1}, {20, 5, 1}, {}},
      {"batches of two axes, in another order", 6, 5, 4, {2, 3}, {24, 48, 4, 1}, {20, 40, 5, 1}, {}},
      {"heads side by side", 9, 9, 4, {2, 3}, {108, 4, 12, 1}, {108, 4, 1, 12}, {}},
      {"no batch", 6, 5, 4, {0}, {24, 4, 1}, {20, 5, 1}, {30, 5, 1}},
  };
  for (const Product& p : products) {
    INFO(std::string(p.name));
    compare_on_gpu(matmul, {{Dtype::f32, 2e-6}, {Dtype::f64, 1e-13}, {Dtype::bf16, 0x1p-7}, {Dtype::f16, 0x1p-10}},
                   [&](Arrays& arrays, Dtype dtype) {
                     const auto operand = [&](std::int64_t rows, std::int64_t columns, const Extents& strides,
                                              unsigned seed, double scale) {
                       Extents shape = p.batch;
                       shape.push_back(rows);
                       shape.push_back(columns);
                       return arrays.put(dtype, random_values(3000, seed, scale), shape, strides);
                     };
                     const View a = operand(p.m, p.k, p.a, 1, 1), b = operand(p.k, p.n, p.b, 2, 1);
                     const View c = operand(p.m, p.n, p.c, 3, p.beta == 0 ? INFINITY : 1);
                     matmul(a, b, c, p.alpha, p.beta, arrays.stream());
                     return arrays.read(c);
                   });
  }
}

// The CPU's references compute f32 as f64 here, so random numbers are held against their definition instead.
TEST_CASE("cuda: random numbers are the words of Philox") {
  if (no_gpu()) return;
  const std::uint64_t seed = 0x123456789abcdefull;
  for (const std::uint64_t offset : {std::uint64_t{0}, (std::uint64_t{1} << 32) - 2}) {
    for (const Layout& layout : layouts) {
      INFO(std::string(layout.name));
      Arrays arrays(DeviceType::cuda);
      const std::int64_t n = size_of_shape(layout.shape);
      const auto result = [&](Dtype dtype) {
        return arrays.put(dtype, Values(static_cast<std::size_t>(layout.room), 9), layout.shape, layout.out,
                          layout.out_offset);
      };
      // Where element i of the logical order lies.
      const auto place = [&](std::int64_t i) {
        std::int64_t at = layout.out_offset;
        for (std::size_t axis = layout.shape.size(); axis-- > 0; i /= layout.shape[axis])
          at += i % layout.shape[axis] * layout.out[axis];
        return static_cast<std::size_t>(at);
      };
      const auto word = [&](std::int64_t i) { return philox_word(static_cast<std::uint64_t>(i), seed, offset); };
      const auto check = [&](const View& y, auto&& expected) {
        const Values values = arrays.read(y);
        Values wanted(values.size(), y.dtype == Dtype::boolean ? 1 : 9);
        for (std::int64_t i = 0; i < n; ++i) wanted[place(i)] = expected(i);
        CHECK_EQ(difference(values, wanted, 0), "");
      };
      View y = result(Dtype::f32);
      uniform(y, seed, offset, arrays.stream());
      check(y, [&](std::int64_t i) { return (word(i) >> 8) * 0x1p-24; });
      y = result(Dtype::bf16);
      uniform(y, seed, offset, arrays.stream());
      check(y, [&](std::int64_t i) { return (word(i) >> 24) * 0x1p-8; });
      y = result(Dtype::f64);
      uniform(y, seed, offset, arrays.stream());
      check(y, [&](std::int64_t i) {
        return static_cast<double>((std::uint64_t{word(2 * i + 1)} << 32 | word(2 * i)) >> 11) * 0x1p-53;
      });
      for (const Dtype dtype : {Dtype::f32, Dtype::boolean, Dtype::i64}) {
        y = result(dtype);
        bernoulli(y, 0.3, seed, offset, arrays.stream());
        check(y, [&](std::int64_t i) { return (word(i) >> 8) * 0x1p-24 < 0.3 ? 1.0 : 0.0; });
      }
      const View x = arrays.put(Dtype::f32, Values(static_cast<std::size_t>(layout.room), 3), layout.shape, layout.in,
                                layout.in_offset);
      y = result(Dtype::f32);
      dropout(x, y, 0.25, seed, offset, arrays.stream());
      check(y, [&](std::int64_t i) {
        return (word(i) >> 8) * 0x1p-24 < 0.25 ? 0.0 : static_cast<double>(3.0f * static_cast<float>(1 / 0.75));
      });
      y = result(Dtype::f32);
      normal(y, seed, offset, arrays.stream());
      const Values values = arrays.read(y);
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t pair = i / 2 * 2;
        const double radius = std::sqrt(-2 * std::log(double{static_cast<float>((word(pair) + 1.0) * 0x1p-32)}));
        const double angle = 2 * M_PI * ((word(pair + 1) >> 8) * 0x1p-24);
        const double expected = radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
        CHECK(std::abs(values[place(i)] - expected) <= 1e-6 * (1 + std::abs(expected)));
      }
    }
  }
}
