// heed in ten minutes: tensors, gradients, gradients of gradients, attention, a layer that learns to look at the right
// place, and where the time went. Each stop is a function and prints what it computed. `tools/run tour`
#include <fmt/core.h>

#include <cmath>
#include <cstdio>

#include "engine/ops.h"
#include "engine/profiler.h"
#include "nn/attention.h"
#include "nn/embedding.h"
#include "nn/optim.h"

namespace heed {
namespace {

void title(const char* text) {
  fmt::print("\n== {}\n", text);
}

void tensors() {
  title("Tensors: a shape, a dtype, and strides over shared memory");
  const Tensor x = from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  fmt::print("x =\n{}\n", x);
  fmt::print("transposed, the same memory read in another order:\n{}\n", x.transpose(0, 1));
  fmt::print("plus a column, broadcast as in NumPy:\n{}\n", x + from_vector<float>({10, 20}, {2, 1}));
  fmt::print("row sums      {}\n", sum(x, {1}));
  try {
    matmul(x, x);
  } catch (const Error& error) {
    fmt::print("matmul(x, x)  throws \"{}\"\n", error.what());
  }
}

void gradients() {
  title("Gradients: of a loss, by one walk back through the graph");
  const Tensor w = from_vector<float>({0.3f, -0.4f, 0.1f}, {3}).set_requires_grad();
  const Tensor x = from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor loss = sum(tanh(matmul(x, w)));
  backward(loss);
  fmt::print("loss          {}\nd loss / d w  {}\n", loss, w.grad());
}

void gradients_of_gradients() {
  title("Gradients of gradients: a gradient is a tensor with a history of its own");
  const Tensor x = scalar(2).set_requires_grad();
  const Tensor y = x * x * x;
  const Tensor first = grad({y}, {x}, {}, {.create_graph = true})[0];
  const Tensor second = grad({first}, {x})[0];
  fmt::print("x^3 at 2: value {}, slope {}, curvature {}\n", y.item<float>(), first.item<float>(),
             second.item<float>());
}

void attention() {
  title("Attention: a query asks, keys answer, values are mixed by the answers");
  // [batch, heads, length, head_dim], all of length 1 but the last two. The query resembles the second key.
  const Tensor query = from_vector<float>({0, 2}, {1, 1, 1, 2});
  const Tensor key = from_vector<float>({2, 0, 0, 2, -2, 0}, {1, 1, 3, 2});
  const Tensor value = from_vector<float>({10, 20, 90}, {1, 1, 3, 1});
  const Attention a = scaled_dot_product_attention(query, key, value, {.return_weights = true});
  fmt::print("weights       {}\noutput        {}   mostly the second value\n", a.weights.flatten(), a.output.flatten());

  const Tensor nothing = zeros({3}, {.dtype = Dtype::boolean});  // bool: false, may not look
  const Attention masked = scaled_dot_product_attention(query, key, value, {.mask = nothing});
  fmt::print("all masked    {}   zeros, never NaN\n", masked.output.flatten());

  const Tensor q = randn({1, 2, 100, 16}), k = randn({1, 2, 100, 16}), v = randn({1, 2, 100, 16});
  const auto run = [&](AttentionPath path) {
    return scaled_dot_product_attention(q, k, v, {.causal = Causal::top_left, .path = path}).output;
  };
  const Tensor difference = abs(run(AttentionPath::fused) - run(AttentionPath::composed));
  fmt::print("the fused kernels and the plain formula differ by at most {:.1g}\n", max(difference).item<double>());
}

// Shown pairs of a key and a value, and a key once more, it says which value that key had: the smallest task that needs
// attention, since what is asked for stands anywhere.
class Recall : public nn::Module {
 public:
  Recall() {
    register_module("keys", keys);
    register_module("values", values);
    register_module("attention", attention);
    register_module("out", out);
  }
  // shown_keys, shown_values [batch, pairs], asked [batch, 1]: logits [batch, symbols], and the weights [batch, 1, pairs].
  nn::Attended operator()(const Tensor& shown_keys, const Tensor& shown_values, const Tensor& asked) const {
    const nn::Attended found =
        attention(keys(asked), keys(shown_keys), values(shown_values), {.need_weights = true});  // [batch, 1, width]
    return {out(found.output.squeeze(1)), found.weights};
  }

  static constexpr std::int64_t symbols = 12, width = 24;
  nn::Embedding keys{symbols, width}, values{symbols, width};
  nn::MultiheadAttention attention{width, 1};
  nn::Linear out{width, symbols};
};

struct Riddle {
  Tensor keys, values, asked, position, answer;
};

Riddle riddle(std::int64_t batch, std::int64_t pairs) {
  // In every row each symbol at most once: the first places of a random order.
  const Tensor keys = topk(rand({batch, Recall::symbols}), pairs).indices;  // [batch, pairs]
  const Tensor values = randint(0, Recall::symbols, {batch, pairs});
  const Tensor position = randint(0, pairs, {batch, 1});
  return {keys, values, gather(keys, 1, position), position, gather(values, 1, position).squeeze(1)};
}

void training() {
  title("Training: a layer learns where to look");
  Recall model;
  nn::AdamW optimizer(model, {.lr = 2e-3});
  for (int step = 0; step <= 200; ++step) {
    const Riddle r = riddle(64, 6);
    const nn::Attended answer = model(r.keys, r.values, r.asked);
    const Tensor loss = cross_entropy(answer.output, r.answer);
    optimizer.zero_grad();
    backward(loss);
    optimizer.step();
    if (step % 50 != 0) continue;
    const Tensor right = equal(argmax(answer.output, 1), r.answer);
    const Tensor attention = gather(answer.weights.squeeze(1), 1, r.position);
    fmt::print("step {:3}: loss {:.3f}, {:3.0f}% right, {:3.0f}% of the attention on the pair asked for\n", step,
               loss.item<double>(), 100 * mean(right.to(Dtype::f32)).item<double>(),
               100 * mean(attention).item<double>());
  }
}

void profiling() {
  title("Where the time goes: every operation and kernel, forward and backward");
  Recall model;
  const Riddle r = riddle(256, 6);
  Profiler profiler;
  backward(cross_entropy(model(r.keys, r.values, r.asked).output, r.answer));
  std::vector<Profiler::Row> rows = profiler.rows();
  for (std::size_t i = 0; i < 5 && i < rows.size(); ++i) {
    fmt::print("{:>8}  {:28} {:2} calls, {:4.1f}% of the time\n", name_of(rows[i].kind), rows[i].name, rows[i].calls,
               100 * rows[i].share);
  }
  fmt::print("profiler.table() has all of it, profiler.write_trace(\"step.json\") a picture for ui.perfetto.dev\n");
}

void run_tour() {
  manual_seed(7);
  tensors();
  gradients();
  gradients_of_gradients();
  attention();
  training();
  profiling();
  fmt::print("\nNext: examples/custom_kernel adds an operation of its own; engine/ops.h lists those there are.\n");
}

}  // namespace
}  // namespace heed

int main() {
  try {
    heed::run_tour();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tour: %s\n", error.what());
    return 1;
  }
}
