// Attention, fused or composed. Composed of smaller operations it holds all scores, so memory grows with the square of the
// length; what it does is plain to see, and it is differentiable to any order because its parts are.
#include <cmath>
#include <limits>

#include "engine/operation.h"
#include "engine/ops.h"
#include "kernels/attention/attention.h"
#include "kernels/random/philox.h"

namespace heed {
namespace {

void check_shapes(const Operation& op, const Tensor& query, const Tensor& key, const Tensor& value) {
  op.same_dtype({query, key, value});
  op.floating(query);
  const auto fits = [&] {
    if (query.rank() != 4 || key.rank() != 4 || value.rank() != 4) return false;
    const bool grouped = key.size(1) == 0 ? query.size(1) == 0 : query.size(1) % key.size(1) == 0;
    return query.size(0) == key.size(0) && key.size(0) == value.size(0) && key.size(1) == value.size(1) && grouped &&
           query.size(3) == key.size(3) && key.size(2) == value.size(2);
  };
  op.check(fits(),
           "query {}, key {} and value {} do not fit; expected [batch, heads, queries, head_dim], [batch, key_heads, "
           "keys, head_dim] and [batch, key_heads, keys, value_dim] with heads a multiple of key_heads",
           query.shape(), key.shape(), value.shape());
}

void check_options(const Operation& op, const AttentionOptions& options, const Shape& scores) {
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
  op.check(options.window >= -1, "window {} is negative", options.window);
}

// Where the options let queries look, broadcastable to [batch, heads, queries, keys]; undefined: everywhere. A floating
// mask is not part of it.
Tensor allowed_positions(const AttentionOptions& options, const Shape& scores, Device device) {
  const std::int64_t queries = scores[2], keys = scores[3];
  const TensorOptions integers{Dtype::i64, device};
  const Tensor key_position = arange(0, static_cast<double>(keys), 1, integers);  // [keys]
  Tensor allowed;
  const auto restrict_to = [&](const Tensor& condition) {
    allowed = allowed.defined() ? logical_and(allowed, condition) : condition;
  };
  // The key position that each query stands at.
  const std::int64_t shift = options.causal == Causal::bottom_right ? keys - queries : 0;
  const Tensor query_position = arange(static_cast<double>(shift), static_cast<double>(shift + queries), 1, integers)
                                    .unsqueeze(1);  // [queries, 1]
  if (options.causal != Causal::none) restrict_to(less_equal(key_position, query_position));
  if (options.window >= 0) {
    restrict_to(less_equal(abs(key_position - query_position), scalar(static_cast<double>(options.window), integers)));
  }
  if (options.key_lengths.defined()) {
    restrict_to(less(key_position, options.key_lengths.reshape({scores[0], 1, 1, 1})));
  }
  if (options.mask.defined() && options.mask.dtype() == Dtype::boolean) restrict_to(options.mask);
  return allowed;
}

Attention composed_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                             const AttentionOptions& options, double scale) {
  Operation op("composed_attention");
  const std::int64_t batch = query.size(0), heads = query.size(1), queries = query.size(2), head_dim = query.size(3);
  const std::int64_t key_heads = key.size(1), keys = key.size(2), value_dim = value.size(3);
  const Shape shape{batch, heads, queries, keys};

  // The query heads that share a key head count as more queries of it.
  const std::int64_t grouped_queries = key_heads == 0 ? 0 : heads / key_heads * queries;
  const Tensor grouped = (query * scale).reshape({batch, key_heads, grouped_queries, head_dim});
  Tensor scores = matmul(grouped, key.transpose(2, 3)).reshape(shape);  // [batch, heads, queries, keys]
  if (options.mask.defined() && is_floating(options.mask.dtype())) scores = scores + options.mask.to(scores.dtype());
  const Tensor allowed = allowed_positions(options, shape, query.device());
  if (allowed.defined()) {
    scores = masked_fill(scores, logical_not(allowed), -std::numeric_limits<double>::infinity());
  }
  const Tensor weights = dropout(softmax(scores, 3), options.dropout, options.generator);
  Attention result;
  result.output = matmul(weights.reshape({batch, key_heads, grouped_queries, keys}), value)
                      .reshape({batch, heads, queries, value_dim});
  if (options.return_weights) result.weights = weights;
  if (options.return_log_sum_exp) result.log_sum_exp = log_sum_exp(scores, {3});
  return result;
}

// Why the fused kernels cannot do it; "" where they can.
std::string why_not_fused(const Tensor& query, const Tensor& value, const AttentionOptions& options) {
  const Tensor& mask = options.mask;
  const std::int64_t longest = std::max(query.size(3), value.size(3));
  if (!kernels::attention_forward.has(query.device().type)) return fmt::format("no kernel for {}", query.device());
  if (query.dtype() != Dtype::f32) return fmt::format("{} is not f32", query.dtype());
  if (query.count() == 0 || value.count() == 0) return "there are no elements";
  if (longest > kernels::attention_max_dim)
    return fmt::format("dimension {} exceeds {}", longest, kernels::attention_max_dim);
  if (options.return_weights) return "the weights are asked for";
  if (mask.defined() && mask.dtype() != Dtype::f32 && mask.dtype() != Dtype::boolean)
    return fmt::format("the mask is {}", mask.dtype());
  if (mask.defined() && mask.requires_grad()) return "the mask requires a gradient";
  return "";
}

// The options as kernels take them. The views lie in tensors that `options` keeps alive.
kernels::AttentionOptions kernel_options(const AttentionOptions& options, double scale, const Shape& scores) {
  kernels::AttentionOptions result{.scale = scale,
                                   .causal = options.causal != Causal::none,
                                   .bottom_right = options.causal == Causal::bottom_right,
                                   .window = options.window,
                                   .dropout = options.dropout};
  if (options.key_lengths.defined()) result.key_lengths = options.key_lengths.view();
  if (options.mask.defined()) result.mask = options.mask.detach().expand(scores).view();
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

Attention fused_attention(const Tensor& query, const Tensor& key, const Tensor& value, AttentionOptions options,
                          double scale) {
  Operation op("fused_attention");
  const Shape scores{query.size(0), query.size(1), query.size(2), key.size(2)};
  kernels::AttentionOptions details = kernel_options(options, scale, scores);
  if (options.dropout > 0) {
    Generator& source = options.generator != nullptr ? *options.generator : default_generator();
    details.seed = source.seed;
    details.offset = source.advance(kernels::philox_blocks(static_cast<std::uint64_t>(count_of(scores))));
  }
  const Tensor output = empty({scores[0], scores[1], scores[2], value.size(3)}, query.options());
  const Tensor log_sum_exp = empty({scores[0], scores[1], scores[2]}, query.options());
  Workspace workspace{query.device()};
  kernels::attention_forward(query.view(), key.view(), value.view(), details, output.view(), log_sum_exp.view(),
                             workspace.source(), op.stream(query));

  const auto backward = [=](const Upstream& up) -> Gradients {
    if (up.create_graph()) {
      Generator replay{details.seed, details.offset};
      AttentionOptions again = options;
      again.generator = &replay;
      again.return_log_sum_exp = true;
      const Attention y = composed_attention(query, key, value, again, scale);
      Gradients gradients(3);
      const Tensor inputs[] = {query, key, value};
      for (int i = 0; i < 3; ++i) {
        if (!up.needs(i)) continue;
        gradients[static_cast<std::size_t>(i)] = grad({y.output, y.log_sum_exp}, {inputs[i]}, {up.dy(0), up.dy(1)},
                                                      {.retain_graph = true, .create_graph = true})[0];
      }
      return gradients;
    }
    const Tensor dquery = empty_like(query), dkey = empty_like(key), dvalue = empty_like(value);
    Workspace workspace{query.device()};
    kernels::attention_backward(query.view(), key.view(), value.view(), details, up.y(0).view(), up.y(1).view(),
                                up.dy(0).view(), up.has_dy(1) ? up.dy(1).view() : View{}, dquery.view(), dkey.view(),
                                dvalue.view(), workspace.source(), Stream{query.device(), nullptr});
    return {dquery, dkey, dvalue};
  };
  op.may_be_infinite();  // the log-sum-exp of a query that looks at nothing
  const std::vector<Tensor> results = op.record_all({output, log_sum_exp}, {query, key, value}, backward, true);
  return {results[0], {}, options.return_log_sum_exp ? results[1] : Tensor()};
}

}  // namespace

Attention scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                       const AttentionOptions& options) {
  Operation op("scaled_dot_product_attention");
  check_shapes(op, query, key, value);
  check_options(op, options, {query.size(0), query.size(1), query.size(2), key.size(2)});
  const double scale = options.scale.value_or(1 / std::sqrt(static_cast<double>(query.size(3))));
  const std::string obstacle = why_not_fused(query, value, options);
  op.check(options.path != AttentionPath::fused || obstacle.empty(), "the fused kernels cannot do this: {}", obstacle);
  if (options.path == AttentionPath::composed || !obstacle.empty())
    return composed_attention(query, key, value, options, scale);
  return fused_attention(query, key, value, options, scale);
}

}  // namespace heed
