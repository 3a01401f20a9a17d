// The layers against PyTorch's: its weights loaded by its names give its outputs and its gradients.
#include <doctest/doctest.h>

#include "engine/ops.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "nn/normalization.h"
#include "nn/transformer.h"
#include "tests/harness/examine.h"
#include "tests/nn/golden.h"

namespace heed::test {
namespace {

// forward(input) returns the outputs under the file's names, the one with the cotangent first.
using Forward = std::function<nn::NamedTensors(const Golden&)>;

void compare_with(const std::string& name, nn::Module& module, const Forward& forward) {
  CAPTURE(name);
  const Golden golden(name);
  module.to(Dtype::f64);
  module.load_state_dict(golden.below("state"));
  for (const auto& [input, gradient] : golden.below("grad_input")) golden["input." + input].set_requires_grad();
  const nn::NamedTensors outputs = forward(golden);
  CHECK_EQ(outputs.size(), golden.below("output").size());
  for (const auto& [output, value] : outputs) CHECK_EQ(difference(value, Array(golden["output." + output]), 1e-10), "");

  backward(outputs[0].second, golden["cotangent"]);
  const nn::NamedTensors parameters = module.named_parameters();
  CHECK_EQ(parameters.size(), golden.below("grad").size());
  for (const auto& [parameter, tensor] : parameters) {
    CAPTURE(parameter);
    REQUIRE(tensor.grad().defined());
    CHECK_EQ(difference(tensor.grad(), Array(golden["grad." + parameter]), 1e-10), "");
  }
  for (const auto& [input, gradient] : golden.below("grad_input")) {
    CAPTURE(input);
    CHECK_EQ(difference(golden["input." + input].grad(), Array(gradient), 1e-10), "");
  }
}

Forward of_x(const std::function<Tensor(const Tensor&)>& f) {
  return [f](const Golden& golden) { return nn::NamedTensors{{"y", f(golden["input.x"])}}; };
}

void compare_attention(const std::string& name, const nn::MultiheadAttentionOptions& layer,
                       const std::function<nn::Attended(const nn::MultiheadAttention&, const Golden&)>& forward) {
  nn::MultiheadAttention attention(8, 2, layer);
  compare_with(name, attention, [&](const Golden& golden) {
    const nn::Attended attended = forward(attention, golden);
    return nn::NamedTensors{{"y", attended.output}, {"weights", attended.weights}};
  });
}

nn::AttendOptions per_head(nn::AttendOptions options = {}) {
  options.need_weights = true;
  options.average_attn_weights = false;
  return options;
}

}  // namespace

TEST_CASE("pytorch: layers") {
  nn::Linear linear(5, 3);
  compare_with("linear", linear, of_x(std::ref(linear)));
  nn::LayerNorm layer_norm(6);
  compare_with("layer_norm", layer_norm, of_x(std::ref(layer_norm)));
  nn::RMSNorm rms_norm(6);
  compare_with("rms_norm", rms_norm, of_x(std::ref(rms_norm)));
  nn::Embedding embedding(7, 4, 2);
  compare_with("embedding", embedding, [&](const Golden& golden) {
    return nn::NamedTensors{{"y", embedding(golden["input.index"])}};
  });
}

TEST_CASE("pytorch: multi-head attention") {
  using Attention = nn::MultiheadAttention;
  const auto plain = [](const Attention& f, const Golden& in) { return f(in["input.x"], per_head()); };
  compare_attention("mha_plain", {}, plain);
  compare_attention("mha_no_bias", {.bias = false}, plain);
  compare_attention("mha_padding", {}, [](const Attention& f, const Golden& in) {
    return f(in["input.x"], per_head({.key_padding_mask = in["input.padding"]}));
  });
  compare_attention("mha_mask", {}, [](const Attention& f, const Golden& in) {
    return f(in["input.x"],
             per_head({.key_padding_mask = in["input.padding"], .mask = logical_not(in["input.blocked"])}));
  });
  compare_attention("mha_causal", {}, [](const Attention& f, const Golden& in) {
    return f(in["input.x"], per_head({.causal = Causal::top_left}));
  });
  compare_attention("mha_cross", {}, [](const Attention& f, const Golden& in) {
    return f(in["input.query"], in["input.key"], in["input.key"], per_head());
  });
  compare_attention("mha_widths", {.kdim = 6, .vdim = 3}, [](const Attention& f, const Golden& in) {
    return f(in["input.query"], in["input.key"], in["input.value"], per_head());
  });
}

TEST_CASE("pytorch: transformer encoder") {
  nn::TransformerEncoderLayer post(8, 2, {.dim_feedforward = 12, .dropout = 0});
  compare_with("layer_post", post, of_x([&](const Tensor& x) { return post(x).output; }));
  nn::TransformerEncoderLayer pre(
      8, 2, {.dim_feedforward = 12, .dropout = 0, .activation = nn::Activation::gelu, .norm_first = true});
  compare_with("layer_pre", pre, of_x([&](const Tensor& x) { return pre(x).output; }));
  nn::TransformerEncoder encoder(8, 2, 2, {.dim_feedforward = 12, .dropout = 0, .norm_first = true}, true);
  compare_with("encoder", encoder, [&](const Golden& in) {
    return nn::NamedTensors{{"y", encoder(in["input.x"], {.key_padding_mask = in["input.padding"]}).output}};
  });
}

}  // namespace heed::test
