// Normalisations and losses on the GPU.
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/layer_norm/layer_norm.h"
#include "tests/kernels/cuda_arrays.h"

using namespace heed;
using namespace heed::kernels;
using namespace heed::test;

namespace {

// [rows, n] row by row with a gap, at an odd place, or column by column.
struct Matrix {
  std::int64_t rows, n;
  Extents strides;
  std::int64_t offset = 0;
  Extents shape() const { return {rows, n}; }
  std::int64_t room() const { return offset + (rows + 1) * strides[0] + (n + 1) * strides[1]; }
};

std::vector<Matrix> matrices() {
  std::vector<Matrix> all;
  for (const auto& [rows, n] : std::initializer_list<std::pair<std::int64_t, std::int64_t>>{
           {0, 5}, {1, 1}, {3, 2}, {5, 31}, {4, 32}, {70, 33}, {3, 255}, {2, 1023}, {2, 1025}, {130, 8}, {1, 17'000}}) {
    all.push_back({rows, n, {n, 1}});
    if (n > 5000) continue;
    all.push_back({rows, n, {n + 3, 1}, 1});
    all.push_back({rows, n, {1, rows + 1}});
  }
  return all;
}

Values joined(std::initializer_list<Values> parts) {
  Values all;
  for (const Values& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// mean, rstd and the like: f32 where the rest is halves.
Dtype statistics(Dtype dtype) {
  return is_half(dtype) ? Dtype::f32 : dtype;
}

}  // namespace

TEST_CASE("normalisations on the GPU") {
  if (no_gpu()) return;
  for (const Matrix& m : matrices()) {
    CAPTURE(m.rows);
    CAPTURE(m.n);
    CAPTURE(m.strides[0]);
    for (const double offset : {0.0, 1000.0}) {
      CAPTURE(offset);
      const Values x = random_values(m.room(), 1, 1, offset), weight = random_values(m.n, 2),
                   bias = random_values(m.n, 3);
      // With an offset halves have nothing left of the noise.
      const double f32 = offset == 0 ? 1e-5 : 1e-4;
      for (const bool parameters : {true, false}) {
        for (const bool centred : {true, false}) {
          std::vector<Precision> precisions = {{Dtype::f32, f32}, {Dtype::f64, 1e-9}};
          if (offset == 0) precisions.insert(precisions.end(), {{Dtype::bf16, 0x1p-6}, {Dtype::f16, 0x1p-9}});
          compare_on_gpu(centred ? static_cast<const KernelSlot&>(layer_norm_forward) : rms_norm_forward, precisions,
                         [&](Arrays& arrays, Dtype dtype) {
                           const View in = arrays.put(dtype, x, m.shape(), m.strides, m.offset);
                           const View out = arrays.put(dtype, Values(x.size(), 7), m.shape(), m.strides, m.offset);
                           const View w = parameters ? arrays.put(dtype, weight, {m.n}) : View{};
                           const View b = parameters ? arrays.put(dtype, bias, {m.n}) : View{};
                           const View mean = arrays.put(statistics(dtype), Values(m.rows, 7), {m.rows});
                           const View rstd = arrays.put(statistics(dtype), Values(m.rows, 7), {m.rows});
                           if (centred) layer_norm_forward(in, w, b, out, mean, rstd, 1e-3, arrays.stream());
                           if (!centred) rms_norm_forward(in, w, out, rstd, 1e-3, arrays.stream());
                           return joined({arrays.read(out), arrays.read(mean), arrays.read(rstd)});
                         });
        }
      }
    }
  }
}

TEST_CASE("gradients of normalisations on the GPU") {
  if (no_gpu()) return;
  for (const Matrix& m : matrices()) {
    CAPTURE(m.rows);
    CAPTURE(m.n);
    CAPTURE(m.strides[0]);
    const Values x = random_values(m.room(), 1), dy = random_values(m.room(), 2), weight = random_values(m.n, 3);
    const Values of_mean(m.rows, 0.125), of_rstd(m.rows, 0.75);
    for (const bool centred : {true, false}) {
      for (const bool parameters : {true, false}) {
        for (const int wanted : {0, 1, 2}) {  // everything, dx alone and in place of dy, the parameters' alone
          CAPTURE(wanted);
          compare_on_gpu(
              centred ? static_cast<const KernelSlot&>(layer_norm_backward) : rms_norm_backward,
              {{Dtype::f32, 3e-5}, {Dtype::bf16, 0x1p-5}, {Dtype::f16, 0x1p-8}, {Dtype::f64, 1e-11}},
              [&](Arrays& arrays, Dtype dtype) {
                const View in = arrays.put(dtype, x, m.shape(), m.strides, m.offset);
                const View gradient = arrays.put(dtype, dy, m.shape(), m.strides, m.offset);
                const View w = parameters ? arrays.put(dtype, weight, {m.n}) : View{};
                const View mean = arrays.put(statistics(dtype), of_mean, {m.rows});
                const View rstd = arrays.put(statistics(dtype), of_rstd, {m.rows});
                const std::int64_t space = norm_workspace_size(m.rows, m.n);
                const View workspace = arrays.put(statistics(dtype), Values(space), {space});
                const View dw = arrays.put(dtype, Values(m.n, 7), {m.n}), db = arrays.put(dtype, Values(m.n, 7), {m.n});
                View dx =
                    wanted == 1 ? gradient : arrays.put(dtype, Values(x.size(), 7), m.shape(), m.strides, m.offset);
                const View out = wanted == 2 ? View{} : dx;
                const View dweight = wanted == 1 ? View{} : dw, dbias = wanted == 1 ? View{} : db;
                if (centred)
                  layer_norm_backward(in, w, gradient, mean, rstd, out, dweight, dbias, workspace, arrays.stream());
                if (!centred) rms_norm_backward(in, w, gradient, rstd, out, dweight, workspace, arrays.stream());
                return joined({arrays.read(dx), arrays.read(dw), arrays.read(db)});
              });
        }
      }
    }
  }
}

TEST_CASE("cross_entropy on the GPU") {
  if (no_gpu()) return;
  for (const Matrix& m : matrices()) {
    CAPTURE(m.rows);
    CAPTURE(m.n);
    CAPTURE(m.strides[0]);
    for (const double odd : {0.0, -static_cast<double>(INFINITY)}) {
      Values logits = random_values(m.room(), 1, 3, odd == 0 ? 200 : 0);
      for (std::size_t i = 0; i < logits.size() && odd != 0; i += 5) logits[i] = odd;
      const Values weight = random_values(m.n, 2, 0.5, 1), dlosses = random_values(m.rows, 3);
      Values target = random_indices(m.rows, m.n, 4);
      for (std::int64_t i = 0; i < m.rows; ++i) {
        if (i % 5 == 1) target[static_cast<std::size_t>(i)] = -100;  // to be ignored
        if (i % 7 == 6) target[static_cast<std::size_t>(i)] = static_cast<double>(m.n);
      }
      for (const double smoothing : {0.0, 0.1}) {
        if (smoothing > 0 && odd != 0) continue;
        for (const Dtype index : {Dtype::i64, Dtype::i32}) {
          CAPTURE(smoothing);
          const auto weights = [&](Arrays& arrays, Dtype dtype) {
            return index == Dtype::i32 ? arrays.put(dtype, weight, {m.n}) : View{};
          };
          compare_on_gpu(cross_entropy_forward,
                         {{Dtype::f32, 2e-5}, {Dtype::bf16, 0x1p-6}, {Dtype::f16, 0x1p-9}, {Dtype::f64, 1e-11}},
                         [&](Arrays& arrays, Dtype dtype) {
                           const View x = arrays.put(dtype, logits, m.shape(), m.strides, m.offset);
                           const View t = arrays.put(index, target, {m.rows}), w = weights(arrays, dtype);
                           const View losses = arrays.put(dtype, Values(2 * m.rows, 7), {m.rows}, {2});
                           const View sums = arrays.put(statistics(dtype), Values(m.rows, 7), {m.rows});
                           cross_entropy_forward(x, t, w, losses, sums, smoothing, -100, arrays.stream());
                           return joined({arrays.read(losses), arrays.read(sums)});
                         });
          compare_on_gpu(cross_entropy_backward,
                         {{Dtype::f32, 1e-4}, {Dtype::bf16, 0x1p-6}, {Dtype::f16, 0x1p-9}, {Dtype::f64, 1e-11}},
                         [&](Arrays& arrays, Dtype dtype) {
                           const View x = arrays.put(dtype, logits, m.shape(), m.strides, m.offset);
                           const View t = arrays.put(index, target, {m.rows}), w = weights(arrays, dtype);
                           const View losses = arrays.put(dtype, Values(m.rows), {m.rows});
                           const View sums = arrays.put(statistics(dtype), Values(m.rows), {m.rows});
                           const View of_losses = arrays.put(dtype, dlosses, {m.rows});
                           cross_entropy_forward(x, t, w, losses, sums, smoothing, -100, arrays.stream());
                           const bool in_place = index == Dtype::i32;
                           const View dx =
                               in_place ? x
                                        : arrays.put(dtype, Values(logits.size(), 7), m.shape(), m.strides, m.offset);
                           cross_entropy_backward(x, t, w, sums, of_losses, dx, smoothing, -100, arrays.stream());
                           return arrays.read(dx);
                         });
        }
      }
    }
  }
}

TEST_CASE("a row of logits without a loss, on the GPU") {
  if (no_gpu()) return;
  const Values logits = {1, NAN, 2, 1, INFINITY, 2, -INFINITY, -INFINITY, -INFINITY, 1, -INFINITY, 3};
  compare_on_gpu(cross_entropy_forward,
                 {{Dtype::f32, 1e-5}, {Dtype::bf16, 0x1p-6}, {Dtype::f16, 0x1p-9}, {Dtype::f64, 1e-11}},
                 [&](Arrays& arrays, Dtype dtype) {
                   const View x = arrays.put(dtype, logits, {4, 3}), t = arrays.put(Dtype::i64, {0, 0, 1, 1}, {4});
                   const View losses = arrays.put(dtype, Values(4), {4});
                   const View sums = arrays.put(statistics(dtype), Values(4), {4});
                   cross_entropy_forward(x, t, View{}, losses, sums, 0, -100, arrays.stream());
                   const Values got = arrays.read(losses);
                   for (int row = 0; row < 3; ++row) CHECK(std::isnan(got[static_cast<std::size_t>(row)]));
                   CHECK_EQ(got[3], INFINITY);
                   return got;
                 });
}

TEST_CASE("bce_with_logits on the GPU") {
  if (no_gpu()) return;
  for (const Matrix& m : matrices()) {
    CAPTURE(m.rows);
    CAPTURE(m.n);
    Values x = random_values(m.room(), 1, 9);
    const Values target = random_values(m.room(), 2, 0.5, 0.5), weight = random_values(m.n, 3),
                 dloss = random_values(m.room(), 4);
    for (std::size_t i = 0; i < x.size(); i += 17) x[i] = i % 2 == 0 ? 90 : NAN;
    for (const bool weighted : {false, true}) {
      const auto run = [&](Arrays& arrays, Dtype dtype, bool forward) {
        const View in = arrays.put(dtype, x, m.shape(), m.strides, m.offset);
        const View t = arrays.put(dtype, target, m.shape(), m.strides, m.offset);
        const View w = weighted ? arrays.put(dtype, weight, m.shape(), {0, 1}) : View{};
        const View out = arrays.put(dtype, Values(x.size(), 7), m.shape(), m.strides, m.offset);
        if (forward) bce_with_logits_forward(in, t, w, w, out, arrays.stream());
        const View gradient = arrays.put(dtype, dloss, m.shape(), m.strides, m.offset);
        if (!forward) bce_with_logits_backward(in, t, w, w, gradient, out, arrays.stream());
        return arrays.read(out);
      };
      const std::vector<Precision> precisions = {
          {Dtype::f32, 1e-5}, {Dtype::bf16, 0x1p-6}, {Dtype::f16, 0x1p-9}, {Dtype::f64, 1e-12}};
      compare_on_gpu(bce_with_logits_forward, precisions, [&](Arrays& a, Dtype dtype) { return run(a, dtype, true); });
      compare_on_gpu(bce_with_logits_backward, precisions,
                     [&](Arrays& a, Dtype dtype) { return run(a, dtype, false); });
    }
  }
}
