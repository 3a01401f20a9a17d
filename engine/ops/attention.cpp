// Attention: the checks, the choice of a path, and the fused kernels as a differentiable operation. The other path is in
// attention_composed.cpp.
#include "engine/ops/attention.h"

#include <cmath>

#include "engine/operation.h"
#include "kernels/attention/attention.h"
#include "kernels/random/philox.h"

namespace heed {
namespace {

void check_shapes(const Operation& op, const Tensor& query, const Tensor& key, const Tensor& value, bool packed) {
  op.same_dtype({query, key, value});
  op.floating(query);
  const int rank = packed ? 3 : 4, head_axis = 1, row_axis = packed ? 0 : 2;
  const auto fits = [&] {
    if (query.rank() != rank || key.rank() != rank || value.rank() != rank) return false;
    const std::int64_t heads = query.size(head_axis), key_heads = key.size(head_axis);
    const bool grouped = key_heads == 0 ? heads == 0 : heads % key_heads == 0;
    const bool same_batch = packed || (query.size(0) == key.size(0) && key.size(0) == value.size(0));
    return same_batch && grouped && key_heads == value.size(head_axis) && query.size(-1) == key.size(-1) &&
           key.size(row_axis) == value.size(row_axis);
  };
  op.check(fits(), "query {}, key {} and value {} do not fit; expected {} with heads a multiple of key_heads",
           query.shape(), key.shape(), value.shape(),
           packed
               ? "[tokens, heads, head_dim], [key tokens, key_heads, head_dim] and [key tokens, key_heads, value_dim]"
               : "[batch, heads, queries, head_dim], [batch, key_heads, keys, head_dim] and [batch, key_heads, keys, "
                 "value_dim]");
}

// Returns the longest stretch.
std::int64_t check_starts(const Operation& op, const char* name, const Tensor& starts, std::int64_t tokens) {
  const std::vector<std::int64_t> at = starts.to_vector<std::int64_t>();
  std::int64_t longest = 0;
  for (std::size_t s = 0; s + 1 < at.size(); ++s) {
    op.check(at[s] <= at[s + 1], "{} falls from {} to {}", name, at[s], at[s + 1]);
    longest = std::max(longest, at[s + 1] - at[s]);
  }
  op.check(at.front() == 0 && at.back() == tokens, "{} runs from {} to {}, expected 0 to {}", name, at.front(),
           at.back(), tokens);
  return longest;
}

// Fills in longest_queries and longest_keys. Starts on another device are read, and so checked, only where those are
// not given: reading waits for the device.
void check_packed(const Operation& op, AttentionOptions& options, std::int64_t queries, std::int64_t keys) {
  const Tensor &query_starts = options.query_starts, &key_starts = options.key_starts;
  op.check(query_starts.defined() && key_starts.defined(), "query_starts and key_starts go together");
  op.check(!options.key_lengths.defined(), "key_lengths are for padded sequences, not for packed ones");
  for (const Tensor* starts : {&query_starts, &key_starts}) {
    op.check(starts->dtype() == Dtype::i64 && starts->rank() == 1 && starts->size(0) >= 1,
             "starts of shape {} ({}), expected [sequences + 1] (i64)", starts->shape(), starts->dtype());
  }
  op.check(query_starts.size(0) == key_starts.size(0), "query_starts {} and key_starts {} differ in length",
           query_starts.shape(), key_starts.shape());
  const bool is_given = options.longest_queries > 0 && options.longest_keys > 0;
  if (is_given && query_starts.device().type != DeviceType::cpu) return;
  options.longest_queries = check_starts(op, "query_starts", query_starts, queries);
  options.longest_keys = check_starts(op, "key_starts", key_starts, keys);
}

// scores: [batch, heads, queries, keys]
void check_options(const Operation& op, const AttentionOptions& options, const Shape& scores, std::int64_t sequences) {
  if (options.mask.defined()) {
    const Tensor& mask = options.mask;
    op.check(mask.dtype() == Dtype::boolean || is_floating(mask.dtype()), "mask is {}, neither bool nor floating",
             mask.dtype());
    op.check(broadcast(mask.shape(), scores) == scores, "mask of shape {} does not broadcast to {}", mask.shape(),
             scores);
  }
  if (options.key_lengths.defined()) {
    const Tensor& lengths = options.key_lengths;
    op.check(lengths.dtype() == Dtype::i64 && lengths.shape() == Shape{scores[0]},
             "key_lengths of shape {} ({}), expected [{}] (i64)", lengths.shape(), lengths.dtype(), scores[0]);
  }
  if (options.alibi_slopes.defined()) {
    const Tensor& slopes = options.alibi_slopes;
    op.check(is_floating(slopes.dtype()) &&
                 (slopes.shape() == Shape{scores[1]} || slopes.shape() == Shape{sequences, scores[1]}),
             "alibi_slopes of shape {} ({}), expected [{}] or [{}, {}] (floating)", slopes.shape(), slopes.dtype(),
             scores[1], sequences, scores[1]);
  }
  op.check(options.window >= -1, "window {} is negative", options.window);
  op.check(options.softcap >= 0, "softcap {} is not positive", options.softcap);
  op.check(options.dropout >= 0 && options.dropout <= 1, "dropout {} is not within [0, 1]", options.dropout);
}

// Why the fused kernels cannot do it; "" where they can.
std::string why_not_fused(const Tensor& query, const Tensor& value, const AttentionOptions& options) {
  const Tensor &mask = options.mask, &slopes = options.alibi_slopes;
  const std::int64_t longest = std::max(query.size(3), value.size(3));
  if (!kernels::attention_forward.has(query.device().type)) return fmt::format("no kernel for {}", query.device());
  if (query.dtype() != Dtype::f32 && !is_half(query.dtype()))
    return fmt::format("{} is neither f32, bf16 nor f16", query.dtype());
  if (query.count() == 0 || value.count() == 0) return "there are no elements";
  if (longest > kernels::attention_max_dim)
    return fmt::format("dimension {} exceeds {}", longest, kernels::attention_max_dim);
  if (options.return_weights) return "the weights are asked for";
  if (mask.defined() && mask.dtype() != Dtype::f32 && mask.dtype() != Dtype::boolean)
    return fmt::format("the mask is {}", mask.dtype());
  if (slopes.defined() && slopes.dtype() != Dtype::f32) return fmt::format("the ALiBi slopes are {}", slopes.dtype());
  if (slopes.defined() && slopes.requires_grad()) return "the ALiBi slopes require a gradient";
  return "";
}

// The options as kernels take them. The views lie in tensors that `options` keeps alive.
kernels::AttentionOptions kernel_options(const AttentionOptions& options, double scale, const Shape& scores,
                                         std::int64_t sequences) {
  kernels::AttentionOptions result{.scale = scale,
                                   .softcap = options.softcap,
                                   .causal = options.causal != Causal::none,
                                   .bottom_right = options.causal == Causal::bottom_right,
                                   .window = options.window,
                                   .longest_queries = options.longest_queries,
                                   .longest_keys = options.longest_keys,
                                   .dropout = options.dropout};
  if (options.key_lengths.defined()) result.key_lengths = options.key_lengths.view();
  if (options.mask.defined()) result.mask = options.mask.detach().expand(scores).view();
  if (options.alibi_slopes.defined())
    result.alibi_slopes = options.alibi_slopes.detach().expand({sequences, scores[1]}).view();
  if (options.query_starts.defined()) {
    result.query_starts = options.query_starts.view();
    result.key_starts = options.key_starts.view();
  }
  return result;
}

// Memory from the device's pool for the time of one launch.
struct Workspace {
  Device device;
  std::vector<Tensor> tensors = {};

  kernels::AttentionWorkspace source() {
    return [this](std::int64_t bytes) {
      tensors.push_back(empty({bytes}, {Dtype::u8, device}));
      return tensors.back().view().data;
    };
  }
};

// [batch, heads, rows, dim], in memory with heads and rows in the order that x has them in.
Tensor empty_in_order_of(const Tensor& x, std::int64_t dim) {
  const std::int64_t batch = x.size(0), heads = x.size(1), rows = x.size(2);
  if (heads > 1 && rows > 1 && x.strides()[1] < x.strides()[2])
    return empty({batch, rows, heads, dim}, x.options()).transpose(1, 2);
  return empty({batch, heads, rows, dim}, x.options());
}

// What the backward needs of the forward.
struct FusedCall {
  Tensor query, key, value;
  AttentionOptions options;
  kernels::AttentionOptions details;
  double scale;

  // With the gradient to be differentiated: by the composed formula.
  Gradients composed_gradients(const Upstream& up, const std::vector<Tensor>& inputs) const {
    Generator replay{details.seed, details.offset};
    AttentionOptions again = options;
    again.generator = &replay;
    again.return_log_sum_exp = true;
    const Attention y = composed_attention(query, key, value, again, scale);
    Gradients gradients(inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (!up.needs(static_cast<int>(i))) continue;
      gradients[i] = grad({y.output, y.log_sum_exp}, {inputs[i]}, {up.dy(0), up.dy(1)},
                          {.retain_graph = true, .create_graph = true})[0];
    }
    return gradients;
  }

  Gradients gradients(const Upstream& up) const {
    const View output = up.y(0).view(), log_sum_exp = up.y(1).view(), doutput = up.dy(0).view();
    const View dlog_sum_exp = up.has_dy(1) ? up.dy(1).view() : View{};
    const Stream stream{query.device(), nullptr};
    Tensor dquery, dkey, dvalue, dmask;
    if (up.needs(0) || up.needs(1) || up.needs(2)) {
      dquery = empty_in_order_of(query, query.size(3));
      dkey = empty_in_order_of(key, key.size(3));
      dvalue = empty_in_order_of(value, value.size(3));
      Workspace workspace{query.device()};
      kernels::attention_backward(query.view(), key.view(), value.view(), details, output, log_sum_exp, doutput,
                                  dlog_sum_exp, dquery.view(), dkey.view(), dvalue.view(), workspace.source(), stream);
    }
    if (options.mask.defined() && up.needs(3)) {
      dmask = empty(options.mask.shape(), options.mask.options());
      const Shape scores{query.size(0), query.size(1), query.size(2), key.size(2)};
      Workspace workspace{query.device()};
      kernels::attention_mask_gradient(query.view(), key.view(), value.view(), details, output, log_sum_exp, doutput,
                                       dlog_sum_exp, dmask.expand(scores).view(), workspace.source(), stream);
    }
    Gradients result{dquery, dkey, dvalue};
    if (options.mask.defined()) result.push_back(dmask);
    return result;
  }
};

Attention fused_attention(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionOptions& options,
                          double scale, std::int64_t sequences) {
  Operation op("fused_attention");
  const Shape scores{query.size(0), query.size(1), query.size(2), key.size(2)};
  kernels::AttentionOptions details = kernel_options(options, scale, scores, sequences);
  if (options.dropout > 0) {
    Generator& source = options.generator != nullptr ? *options.generator : default_generator();
    details.seed = source.seed;
    details.offset = source.advance(kernels::philox_blocks(static_cast<std::uint64_t>(count_of(scores))));
  }
  const Tensor output = empty_in_order_of(query, value.size(3));
  const Tensor log_sum_exp = empty({scores[0], scores[1], scores[2]}, {Dtype::f32, query.device()});
  Workspace workspace{query.device()};
  kernels::attention_forward(query.view(), key.view(), value.view(), details, output.view(), log_sum_exp.view(),
                             workspace.source(), op.stream(query));

  std::vector<Tensor> inputs{query, key, value};
  if (options.mask.defined()) inputs.push_back(options.mask);
  const FusedCall call{query, key, value, options, details, scale};
  const auto backward = [call, inputs](const Upstream& up) -> Gradients {
    return up.create_graph() ? call.composed_gradients(up, inputs) : call.gradients(up);
  };
  op.may_be_infinite();  // the log-sum-exp of a query that looks at nothing
  const std::vector<Tensor> results = op.record_all({output, log_sum_exp}, inputs, backward, true);
  return {results[0], {}, options.return_log_sum_exp ? results[1] : Tensor()};
}

}  // namespace

Attention scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                       const AttentionOptions& given) {
  Operation op("scaled_dot_product_attention");
  AttentionOptions options = given;
  const bool packed = options.query_starts.defined() || options.key_starts.defined();
  check_shapes(op, query, key, value, packed);
  if (packed) check_packed(op, options, query.size(0), key.size(0));
  const auto with_batch = [&](const Tensor& x) { return packed ? x.transpose(0, 1).unsqueeze(0) : x; };
  const Tensor q = with_batch(query), k = with_batch(key), v = with_batch(value);
  const std::int64_t sequences = packed ? options.query_starts.size(0) - 1 : q.size(0);
  check_options(op, options, {q.size(0), q.size(1), q.size(2), k.size(2)}, sequences);
  const double scale = options.scale.value_or(1 / std::sqrt(static_cast<double>(q.size(3))));
  const std::string obstacle = why_not_fused(q, v, options);
  op.check(options.path != AttentionPath::fused || obstacle.empty(), "the fused kernels cannot do this: {}", obstacle);
  const bool is_composed = options.path == AttentionPath::composed || !obstacle.empty();
  Attention result =
      is_composed ? composed_attention(q, k, v, options, scale) : fused_attention(q, k, v, options, scale, sequences);
  if (packed) {
    result.output = result.output.squeeze(0).transpose(0, 1);
    if (result.weights.defined()) result.weights = result.weights.squeeze(0);
    if (result.log_sum_exp.defined()) result.log_sum_exp = result.log_sum_exp.squeeze(0);
  }
  return result;
}

}  // namespace heed
