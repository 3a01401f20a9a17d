#include "tests/kernels/cuda_attention_problem.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

#include "engine/ops.h"
#include "kernels/attention/attention.h"
#include "kernels/cuda/device.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
const Device gpu{DeviceType::cuda, 0};

// Memory on the GPU for a launch and what follows it.
class OnGpu {
 public:
  OnGpu() = default;
  OnGpu(const OnGpu&) = delete;
  OnGpu& operator=(const OnGpu&) = delete;
  ~OnGpu() {
    for (void* const memory : memories_) kernels::cuda::release(0, memory);
  }

  Stream stream() const { return {gpu, nullptr}; }
  void* allocate(std::int64_t bytes) {
    memories_.push_back(kernels::cuda::allocate(0, static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1))));
    return memories_.back();
  }

  // A copy of what a tensor's view spans, with the same strides.
  View put(const Tensor& x) {
    View view = x.view();
    const std::size_t bytes = span_of(view);
    const void* const from = view.data;
    view.data = allocate(static_cast<std::int64_t>(bytes));
    view.device = gpu;
    if (bytes > 0) kernels::cuda::copy_to_device(view.data, from, bytes, stream());
    return view;
  }

  // Copies it back into the tensor that it came from.
  void fetch(const View& view, const Tensor& into) {
    if (const std::size_t bytes = span_of(view); bytes > 0)
      kernels::cuda::copy_from_device(into.view().data, view.data, bytes, stream());
    kernels::cuda::synchronize(stream());
  }

 private:
  static std::size_t span_of(const View& view) {
    if (view.size() == 0) return 0;
    std::int64_t last = 0;
    for (int axis = 0; axis < view.rank; ++axis) last += (view.shape[axis] - 1) * view.strides[axis];
    return static_cast<std::size_t>(last + 1) * size_of(view.dtype);
  }

  std::vector<void*> memories_;
};

Tensor starts_of(const std::vector<std::int64_t>& lengths) {
  std::vector<std::int64_t> starts{0};
  for (const std::int64_t length : lengths) starts.push_back(starts.back() + length);
  return from_vector(starts, {static_cast<std::int64_t>(starts.size())});
}

// The options as kernels take them, the dropout as attention_problem draws it.
kernels::AttentionOptions on_gpu(OnGpu& memory, const AttentionProblem& p, const Shape& scores) {
  const AttentionOptions& o = p.options;
  kernels::AttentionOptions result{.scale = o.scale.value_or(1 / std::sqrt(static_cast<double>(p.head_dim))),
                                   .softcap = o.softcap,
                                   .causal = o.causal != Causal::none,
                                   .bottom_right = o.causal == Causal::bottom_right,
                                   .window = o.window,
                                   .dropout = o.dropout,
                                   .seed = 11,
                                   .offset = 5};
  if (o.key_lengths.defined()) result.key_lengths = memory.put(o.key_lengths);
  if (o.mask.defined()) result.mask = memory.put(o.mask.detach().expand(scores));
  const std::int64_t sequences = p.is_packed() ? static_cast<std::int64_t>(p.query_lengths.size()) : p.batch;
  if (o.alibi_slopes.defined()) result.alibi_slopes = memory.put(o.alibi_slopes.expand({sequences, p.heads}));
  if (p.is_packed()) {
    result.query_starts = memory.put(starts_of(p.query_lengths));
    result.key_starts = memory.put(starts_of(p.key_lengths));
    result.longest_queries = *std::max_element(p.query_lengths.begin(), p.query_lengths.end());
    result.longest_keys = *std::max_element(p.key_lengths.begin(), p.key_lengths.end());
  }
  return result;
}

// As x, but of NaN: what a kernel does not write shows.
Tensor unwritten(const Tensor& x) {
  const Tensor y = empty_like(x);
  const View view = y.view();
  if (view.size() > 0) std::memset(view.data, 0xff, static_cast<std::size_t>(view.size()) * size_of(view.dtype));
  return y;
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string name_in(const kernels::KernelSlot& slot, const std::string& variant) {
  return has(variants_on_gpu(slot), variant) ? variant : "";
}

}  // namespace

AttentionResults forward_on_gpu(const AttentionProblem& p, const std::vector<Tensor>& inputs) {
  OnGpu memory;
  const Shape scores{p.batch, p.heads, p.queries, p.keys};
  const Tensor output = unwritten(inputs[0]), log_sum_exp = unwritten(empty({p.batch, p.heads, p.queries}));
  const View y = memory.put(output), lse = memory.put(log_sum_exp);
  kernels::attention_forward(
      memory.put(inputs[0]), memory.put(inputs[1]), memory.put(inputs[2]), on_gpu(memory, p, scores), y, lse,
      [&](std::int64_t bytes) { return memory.allocate(bytes); }, memory.stream());
  memory.fetch(y, output);
  memory.fetch(lse, log_sum_exp);
  return {{"output", output}, {"log_sum_exp", log_sum_exp}};
}

AttentionResults run_on_gpu(const AttentionProblem& p) {
  OnGpu memory;
  std::vector<Tensor> inputs = attention_inputs(p);
  if (p.is_packed()) {
    for (Tensor& x : inputs) x = x.transpose(0, 1).unsqueeze(0);
  }
  const Tensor &query = inputs[0], &key = inputs[1], &value = inputs[2];
  const Shape scores{query.size(0), query.size(1), query.size(2), key.size(2)};
  const kernels::AttentionOptions options = on_gpu(memory, p, scores);
  const kernels::AttentionWorkspace workspace = [&](std::int64_t bytes) { return memory.allocate(bytes); };

  Tensor output = unwritten(query);
  if (value.size(3) != query.size(3)) {
    output = p.is_packed()  ? empty({scores[2], scores[1], value.size(3)}, query.options()).transpose(0, 1).unsqueeze(0)
             : p.transposed ? empty({scores[0], scores[2], scores[1], value.size(3)}, query.options()).transpose(1, 2)
                            : empty({scores[0], scores[1], scores[2], value.size(3)}, query.options());
  }
  const Tensor log_sum_exp = unwritten(empty({scores[0], scores[1], scores[2]}));
  const View q = memory.put(query), k = memory.put(key), v = memory.put(value);
  const View y = memory.put(output), lse = memory.put(log_sum_exp);
  kernels::attention_forward(q, k, v, options, y, lse, workspace, memory.stream());
  memory.fetch(y, output);
  memory.fetch(lse, log_sum_exp);

  const auto unpacked = [&](const Tensor& x) { return p.is_packed() ? x.squeeze(0).transpose(0, 1) : x; };
  const auto heads_and_rows = [&](const Tensor& x) { return p.is_packed() ? x.squeeze(0) : x; };
  Tensor doutput = attention_doutput(unpacked(output).shape()).to(p.dtype);
  if (p.is_packed()) doutput = doutput.transpose(0, 1).unsqueeze(0);
  const Tensor masked = equal(log_sum_exp, scalar(-infinity));
  Tensor dlse = attention_dlog_sum_exp(heads_and_rows(log_sum_exp).shape());
  if (p.is_packed()) dlse = dlse.unsqueeze(0);
  dlse = masked_fill(dlse, masked, 0);
  const Tensor dquery = unwritten(query), dkey = unwritten(key), dvalue = unwritten(value);
  const View dy = memory.put(doutput), dl = memory.put(dlse);
  const View dq = memory.put(dquery), dk = memory.put(dkey), dv = memory.put(dvalue);
  kernels::attention_backward(q, k, v, options, y, lse, dy, dl, dq, dk, dv, workspace, memory.stream());
  memory.fetch(dq, dquery);
  memory.fetch(dk, dkey);
  memory.fetch(dv, dvalue);

  AttentionResults results{{"output", unpacked(output)},
                           {"log_sum_exp", heads_and_rows(log_sum_exp)},
                           {"dquery", unpacked(dquery)},
                           {"dkey", unpacked(dkey)},
                           {"dvalue", unpacked(dvalue)}};
  if (p.mask_gradient) {
    const Tensor dmask = unwritten(p.options.mask);
    View whole = memory.put(dmask.expand(scores));
    kernels::attention_mask_gradient(q, k, v, options, y, lse, dy, dl, whole, workspace, memory.stream());
    memory.fetch(whole, dmask.expand(scores));
    results.emplace_back("dmask", dmask);
  }
  return results;
}

std::vector<std::string> variants_on_gpu(const kernels::KernelSlot& slot) {
  std::vector<std::string> names;
  for (const kernels::Variant& variant : slot.variants())
    if (variant.device == DeviceType::cuda) names.emplace_back(variant.name);
  return names;
}

std::vector<std::string> attention_variants_on_gpu() {
  std::vector<std::string> all = variants_on_gpu(kernels::attention_forward);
  for (const std::string& variant : variants_on_gpu(kernels::attention_backward))
    if (!has(all, variant)) all.push_back(variant);
  return all;
}

ScopedAttentionVariant::ScopedAttentionVariant(const std::string& variant)
    : forward_(kernels::attention_forward, DeviceType::cuda, name_in(kernels::attention_forward, variant)),
      backward_(kernels::attention_backward, DeviceType::cuda, name_in(kernels::attention_backward, variant)) {}

bool runs_the_default(const std::string& variant, Dtype dtype) {
  if (dtype != Dtype::f32) return variant == "tf32x3";
  return variant == "fma" || variant.starts_with("mma_");  // and so is the default "mma": plain multiply-adds
}

std::vector<std::string> without_repeats(const std::vector<std::string>& variants, Dtype dtype) {
  std::vector<std::string> result;
  std::copy_if(variants.begin(), variants.end(), std::back_inserter(result),
               [&](const std::string& variant) { return !runs_the_default(variant, dtype); });
  return result;
}

void verify_attention_on_gpu(const std::string& name, const AttentionProblem& p,
                             const std::vector<std::string>& variants) {
  CAPTURE(name);
  const std::string sizes = fmt::format("batch {} heads {}/{} queries {} keys {} dims {}/{} causal {} window {} {}",
                                        p.batch, p.heads, p.key_heads, p.queries, p.keys, p.head_dim, p.value_dim,
                                        static_cast<int>(p.options.causal), p.options.window, p.dtype);
  CAPTURE(sizes);
  const AttentionOracle oracle(p);
  for (const std::string& variant : variants) {
    CAPTURE(variant);
    const ScopedAttentionVariant scope(variant);
    CHECK_EQ(oracle.findings(run_on_gpu(p)), "");
  }
}

}  // namespace heed::test
