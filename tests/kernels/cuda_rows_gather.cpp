// Reading and adding by index, the k best, and the optimisers on the GPU.
#include <numeric>

#include "kernels/gather/gather.h"
#include "kernels/optimizer/optimizer.h"
#include "tests/kernels/cuda_arrays.h"

using namespace heed;
using namespace heed::kernels;
using namespace heed::test;

namespace {

struct Shape3 {
  std::int64_t outer, length, inner, n;
};
const Shape3 shapes[] = {{1, 5, 64, 40}, {3, 7, 33, 20},    {2, 4, 1, 9},     {1, 6, 7, 6},
                         {0, 3, 4, 5},   {2, 3, 0, 5},      {2, 3, 4, 0},     {1, 9, 8, 1},
                         {1, 1, 1, 70},  {2, 50, 100, 300}, {1, 40, 16, 1100}};

const std::vector<Precision> exact = {{Dtype::f32, 0}, {Dtype::f64, 0}, {Dtype::bf16, 0},
                                      {Dtype::f16, 0}, {Dtype::i32, 0}, {Dtype::i64, 0}};

// [outer, length, inner] with gaps, dense, or permuted so that the inner axis is not the one without gaps.
Extents strides_of(int kind, std::int64_t outer, std::int64_t length, std::int64_t inner) {
  if (kind == 0) return {(length + 1) * (inner + 2), inner + 2, 1};
  if (kind == 1) return {length * inner, inner, 1};
  return {length, 1, outer * length};
}
std::int64_t room_for(std::int64_t outer, std::int64_t length, std::int64_t inner) {
  return (outer + 1) * (length + 2) * (inner + 3);
}
Values whole_values(std::int64_t count, unsigned seed) {  // which every dtype adds without rounding
  Values numbers = random_values(count, seed, 8);
  for (double& number : numbers) number = std::round(number);
  return numbers;
}

}  // namespace

TEST_CASE("index_select and index_add on the GPU") {
  if (no_gpu()) return;
  for (const auto& [outer, length, inner, n] : shapes) {
    const Values x = whole_values(room_for(outer, length, inner), 1), y = whole_values(room_for(outer, n, inner), 2);
    Values index = random_indices(n, length, 3);
    for (std::size_t i = 0; i < index.size(); i += 3) index[i] = 0;  // one that is named often
    for (const int kind : {0, 1, 2}) {
      for (const Dtype of_index : {Dtype::i64, Dtype::i32}) {
        CAPTURE(length);
        CAPTURE(inner);
        CAPTURE(n);
        CAPTURE(kind);
        const Extents table = strides_of(kind, outer, length, inner), rows = strides_of(kind, outer, n, inner);
        std::vector<Precision> all = exact;
        all.push_back({Dtype::u8, 0});
        all.push_back({Dtype::boolean, 0});
        compare_on_gpu(index_select, all,
                       [&, n = n, length = length, inner = inner, outer = outer](Arrays& arrays, Dtype dtype) {
                         const bool sign = dtype != Dtype::u8 && dtype != Dtype::boolean;
                         Values numbers = x;
                         for (double& number : numbers) number = sign ? number : number > 0;
                         const View from = arrays.put(dtype, numbers, {outer, length, inner}, table);
                         const View to = arrays.put(dtype, Values(y.size(), 1), {outer, n, inner}, rows);
                         index_select(from, 1, arrays.put(of_index, index, {n}), to, arrays.stream());
                         return arrays.read(to);
                       });
        compare_on_gpu(index_add, exact,
                       [&, n = n, length = length, inner = inner, outer = outer](Arrays& arrays, Dtype dtype) {
                         const View to = arrays.put(dtype, x, {outer, length, inner}, table);
                         const View from = arrays.put(dtype, y, {outer, n, inner}, rows);
                         index_add(to, 1, arrays.put(of_index, index, {n}), from, arrays.stream());
                         return arrays.read(to);
                       });
      }
    }
  }
}

TEST_CASE("index_add and scatter_add on the GPU add in the order of the index, to the CPU's bits") {
  if (no_gpu()) return;
  const std::int64_t n = 500, length = 7, columns = 9;
  const Values index = random_indices(n * columns, length, 1), first(index.begin(), index.begin() + n);
  const Values source = random_values(n * columns, 2, 100), start = random_values(length * columns, 3);
  const auto run = [&](DeviceType type, Dtype dtype, bool scatter, bool transposed) {
    Arrays arrays(type);
    const Extents of_y = transposed ? Extents{1, length} : Extents{columns, 1};
    const Extents of_s = transposed ? Extents{1, n} : Extents{columns, 1};
    View y = arrays.put(dtype, start, {length, columns}, of_y), s = arrays.put(dtype, source, {n, columns}, of_s);
    const View i = scatter ? arrays.put(Dtype::i64, index, {n, columns}, of_s) : arrays.put(Dtype::i64, first, {n});
    const auto add = [&] {
      scatter ? scatter_add(y, 0, i, s, arrays.stream()) : index_add(y, 0, i, s, arrays.stream());
    };
    if (type == DeviceType::cuda) {
      add();
      return arrays.read(y);
    }
    // In the dtype itself on the CPU too: what is compared is how it rounds.
    Values result;
    with_floating_type(dtype, [&]<class T>(T) {
      std::vector<T> sums, terms;
      for (const double value : start) sums.emplace_back(static_cast<Compute<T>>(value));
      for (const double value : source) terms.emplace_back(static_cast<Compute<T>>(value));
      y.dtype = s.dtype = dtype, y.data = sums.data(), s.data = terms.data();
      add();
      for (const T sum : sums) result.push_back(static_cast<Compute<T>>(sum));
    });
    return result;
  };
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16, Dtype::f16}) {
    for (const bool transposed : {false, true}) {
      for (const bool scatter : {false, true}) {
        const KernelSlot& slot = scatter ? static_cast<const KernelSlot&>(scatter_add) : index_add;
        const Values expected = run(DeviceType::cpu, dtype, scatter, transposed);
        for (const Variant& variant : slot.variants()) {
          if (variant.device != DeviceType::cuda) continue;
          INFO(std::string(variant.name));
          const ScopedVariant scope(slot, DeviceType::cuda, variant.name);
          CHECK_EQ(difference(run(DeviceType::cuda, dtype, scatter, transposed), expected, 0), "");
        }
      }
    }
  }
}

TEST_CASE("gather and scatter_add on the GPU") {
  if (no_gpu()) return;
  for (const auto& [outer, length, inner, n] : shapes) {
    const Values x = whole_values(room_for(outer, length, inner), 1), y = whole_values(room_for(outer, n, inner), 2);
    const Values index = random_indices(room_for(outer, n, inner), std::max<std::int64_t>(length, 1), 3);
    for (const int kind : {0, 1, 2}) {
      for (const int axis : {0, 1, 2}) {
        // The axis of three that is indexed; the shapes' second one.
        const auto turned = [&, axis = axis](Extents e) {
          std::swap(e[1], e[static_cast<std::size_t>(axis)]);
          return e;
        };
        CAPTURE(length);
        CAPTURE(inner);
        CAPTURE(n);
        CAPTURE(kind);
        CAPTURE(axis);
        const Extents table = turned({outer, length, inner}), picked = turned({outer, n, inner});
        const Extents of_table = turned(strides_of(kind, outer, length, inner)),
                      of_picked = turned(strides_of(kind, outer, n, inner));
        compare_on_gpu(gather, exact, [&](Arrays& arrays, Dtype dtype) {
          const View from = arrays.put(dtype, x, table, of_table), to = arrays.put(dtype, y, picked, of_picked);
          gather(from, axis, arrays.put(Dtype::i64, index, picked, of_picked), to, arrays.stream());
          return arrays.read(to);
        });
        compare_on_gpu(scatter_add, exact, [&](Arrays& arrays, Dtype dtype) {
          const View to = arrays.put(dtype, x, table, of_table), from = arrays.put(dtype, y, picked, of_picked);
          scatter_add(to, axis, arrays.put(Dtype::i32, index, picked, of_picked), from, arrays.stream());
          return arrays.read(to);
        });
      }
    }
  }
}

TEST_CASE("index_range on the GPU") {
  if (no_gpu()) return;
  for (const std::int64_t n : {0, 1, 31, 33, 1025, 3000}) {
    Values index = random_indices(2 * n + 1, 1000, 1);
    for (double& i : index) i -= 500;
    for (const Dtype dtype : {Dtype::i64, Dtype::i32}) {
      compare_on_gpu(index_range, {{Dtype::i64, 0}}, [&](Arrays& arrays, Dtype) {
        const View range = arrays.put(Dtype::i64, Values(4, 7), {2}, {2});
        index_range(arrays.put(dtype, index, {n}, {2}), range, arrays.stream());
        return arrays.read(range);
      });
    }
  }
}

TEST_CASE("top_k on the GPU") {
  if (no_gpu()) return;
  for (const auto& [lines, n, k] : std::initializer_list<std::tuple<std::int64_t, std::int64_t, std::int64_t>>{
           {0, 3, 2}, {2, 1, 1}, {3, 5, 0}, {3, 33, 7}, {2, 300, 300}, {4, 257, 1}, {1, 1025, 20}, {2, 700, 33}}) {
    CAPTURE(n);
    CAPTURE(k);
    for (const bool few_values : {false, true}) {  // so that there are many ties
      for (const bool transposed : {false, true}) {
        Values x = few_values ? whole_values(lines * n, 1) : random_values(lines * n, 1, 100);
        if (few_values) {
          for (double& value : x) value = std::round(value / 4);
        }
        Values odd = x;
        for (std::size_t i = 0; i < x.size(); ++i)
          odd[i] = i % 11 == 3 ? NAN : i % 13 == 5 ? -INFINITY : i % 7 == 1 ? -0.0 : x[i];
        for (const bool largest : {true, false}) {
          compare_on_gpu(top_k, exact, [&, lines = lines, n = n, k = k](Arrays& arrays, Dtype dtype) {
            const Extents of_x = transposed ? Extents{1, lines} : Extents{n, 1};
            const Extents of_best = transposed ? Extents{1, lines} : Extents{k, 1};
            const View from = arrays.put(dtype, is_floating(dtype) ? odd : x, {lines, n}, of_x);
            const View values = arrays.put(dtype, Values(lines * k, 7), {lines, k}, of_best);
            const View indices = arrays.put(Dtype::i64, Values(lines * k, 7), {lines, k}, of_best);
            top_k(from, values, indices, largest, arrays.stream());
            Values got = arrays.read(values);
            const Values places = arrays.read(indices);
            got.insert(got.end(), places.begin(), places.end());
            return got;
          });
        }
      }
    }
  }
}

namespace {

// Parameters, gradients and state of a model of many tensors, some of which only have gradients for a few rows.
struct Model {
  Extents rows = {1, 3, 64, 33, 40, 1, 5};
  Extents columns = {1, 7, 16, 33, 200, 5000, 9};

  template <class Slice, class Fill>
  std::vector<Slice> slices(Arrays& arrays, Dtype dtype, std::vector<View>& written, Fill&& fill) const {
    std::vector<Slice> all;
    for (std::size_t copy = 0; copy < 40; ++copy) {  // more tensors than one launch can take
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if (copy > 1 && rows[i] * columns[i] > 100) continue;
        const std::int64_t size = rows[i] * columns[i];
        const auto put = [&](unsigned seed, double offset) {
          return arrays.put(dtype, random_values(size, seed + static_cast<unsigned>(i), 1, offset),
                            {rows[i], columns[i]});
        };
        Slice slice;
        slice.parameter = put(1, 0);
        const bool sparse = i % 3 == 1, strided = i == 3;
        const std::int64_t some = sparse ? rows[i] / 2 + 1 : rows[i];
        slice.gradient = arrays.put(dtype, random_values(some * columns[i], 20 + static_cast<unsigned>(i)),
                                    {some, columns[i]}, strided ? Extents{1, some} : Extents{});
        if (sparse) {
          Values which(static_cast<std::size_t>(some));
          for (std::int64_t row = 0; row < some; ++row)
            which[static_cast<std::size_t>(row)] = static_cast<double>((row * 2) % rows[i]);
          if (rows[i] % 2 == 0) std::iota(which.begin(), which.end(), 1 % rows[i]);
          for (double& row : which) row = std::min(row, static_cast<double>(rows[i] - 1));
          std::sort(which.begin(), which.end());
          which.erase(std::unique(which.begin(), which.end()), which.end());
          slice.gradient.shape[0] = static_cast<std::int64_t>(which.size());
          slice.rows = arrays.put(Dtype::i64, which, {static_cast<std::int64_t>(which.size())});
        }
        written.push_back(slice.parameter);
        fill(slice, put, written);
        all.push_back(slice);
      }
    }
    all.push_back(all.front());
    all.back().parameter.shape[0] = all.back().gradient.shape[0] = 0;  // an empty tensor
    return all;
  }
};

Values all_of(const Arrays& arrays, const std::vector<View>& views) {
  Values all;
  for (const View& view : views) {
    const Values numbers = arrays.read(view);
    all.insert(all.end(), numbers.begin(), numbers.end());
  }
  return all;
}

}  // namespace

TEST_CASE("adam on the GPU, all tensors together") {
  if (no_gpu()) return;
  for (const bool decoupled : {true, false}) {
    compare_on_gpu(adam, {{Dtype::f32, 2e-6}, {Dtype::f64, 1e-13}}, [&](Arrays& arrays, Dtype dtype) {
      std::vector<View> written;
      const auto slices =
          Model().slices<AdamSlice>(arrays, dtype, written, [](AdamSlice& slice, auto&& put, auto& written) {
            slice.exp_avg = put(40, 0);
            slice.exp_avg_sq = put(60, 1.5);
            slice.step = 3 + static_cast<std::int64_t>(slice.gradient.shape[1]) % 5;
            written.push_back(slice.exp_avg);
            written.push_back(slice.exp_avg_sq);
          });
      const AdamOptions options{.lr = 0.01, .weight_decay = 0.1, .decoupled = decoupled, .gradient_scale = 0.5};
      adam(slices, options, arrays.stream());
      return all_of(arrays, written);
    });
  }
}

TEST_CASE("sgd on the GPU, all tensors together") {
  if (no_gpu()) return;
  for (const SgdOptions& options : {SgdOptions{.lr = 0.1}, SgdOptions{.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01},
                                    SgdOptions{.lr = 0.1, .momentum = 0.9, .nesterov = true, .gradient_scale = 0.3}}) {
    compare_on_gpu(sgd, {{Dtype::f32, 2e-6}, {Dtype::f64, 1e-13}}, [&](Arrays& arrays, Dtype dtype) {
      std::vector<View> written;
      const auto slices =
          Model().slices<SgdSlice>(arrays, dtype, written, [&](SgdSlice& slice, auto&& put, auto& written) {
            if (options.momentum == 0) return;
            slice.momentum = put(40, 0);
            written.push_back(slice.momentum);
          });
      sgd(slices, options, arrays.stream());
      return all_of(arrays, written);
    });
  }
}

TEST_CASE("sum_of_squares on the GPU") {
  if (no_gpu()) return;
  for (const int kind : {0, 1, 2}) {
    compare_on_gpu(sum_of_squares, {{Dtype::f32, 1e-12}, {Dtype::f64, 1e-12}}, [&](Arrays& arrays, Dtype dtype) {
      std::vector<View> tensors;
      for (std::int64_t i = 0; i < (kind == 0 ? 0 : 1500); ++i) {
        const std::int64_t n = i == 7 ? 30'000 : i % 5;
        tensors.push_back(arrays.put(dtype, random_values(2 * n, static_cast<unsigned>(i)), {2, n},
                                     i % 4 == 1 ? Extents{1, 2} : Extents{}));
      }
      if (kind == 2) tensors.push_back(arrays.put(dtype, {NAN}, {1}));
      const View workspace = arrays.put(Dtype::f64, Values(sum_of_squares_workspace), {sum_of_squares_workspace});
      const View result = arrays.put(Dtype::f64, {7}, {1});
      sum_of_squares(tensors, workspace, result, arrays.stream());
      return arrays.read(result);
    });
  }
}
