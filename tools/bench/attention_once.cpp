// Launches one variant of attention once, for a profiler to look at: attention_once forward|backward|mask_gradient VARIANT
// DTYPE LENGTH DIM [FEATURE...]. One batch entry, two heads, contiguous rows. The backward starts from made-up outputs: what
// it does depends on no number.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/cuda/device.h"
#include "kernels/error.h"

using namespace heed;

namespace {

const char* const usage =
    "usage: attention_once forward|backward|mask_gradient VARIANT f32|bf16 LENGTH DIM [FEATURE...], or ... --list";
const std::set<std::string> known_features{"causal", "bottom_right", "window", "softcap", "dropout", "mask",     "bias",
                                           "alibi",  "lengths",      "packed", "grouped", "narrow",  "unaligned"};
const Stream stream{{DeviceType::cuda, 0}, nullptr};
std::vector<void*> memories;

void* allocate(std::int64_t bytes) {
  memories.push_back(kernels::cuda::allocate(0, static_cast<std::size_t>(bytes)));
  if (memories.back() == nullptr) throw Error("no memory");
  return memories.back();
}

// Every byte `value`: 0x3c makes small positive numbers of f32 and of bf16.
View filled(Dtype dtype, std::vector<std::int64_t> shape, std::uint8_t value) {
  View x{.rank = static_cast<int>(shape.size()), .dtype = dtype};
  std::int64_t stride = 1;
  for (int axis = x.rank - 1; axis >= 0; --axis) {
    x.shape[axis] = shape[static_cast<std::size_t>(axis)], x.strides[axis] = stride;
    stride *= x.shape[axis];
  }
  x.device = stream.device;
  const std::size_t bytes = static_cast<std::size_t>(stride) * size_of(dtype);
  x.data = allocate(static_cast<std::int64_t>(bytes));
  kernels::cuda::set_bytes(x.data, value, bytes, stream);
  return x;
}

// As filled, with rows that start anywhere.
View filled_unaligned(Dtype dtype, std::vector<std::int64_t> shape, std::uint8_t value) {
  ++shape.back();
  View x = filled(dtype, shape, value);
  --x.shape[x.rank - 1];
  return x;
}

View starts(std::int64_t length) {
  const std::vector<std::int64_t> values{0, length / 2, length};
  View x = filled(Dtype::i64, {3}, 0);
  kernels::cuda::copy_to_device(x.data, values.data(), values.size() * sizeof(values[0]), stream);
  return x;
}

kernels::AttentionOptions options_of(const std::set<std::string>& features, std::int64_t heads, std::int64_t length,
                                     std::int64_t dim) {
  const auto has = [&](const char* feature) { return features.count(feature) > 0; };
  kernels::AttentionOptions o{.scale = 1 / std::sqrt(static_cast<double>(dim)), .causal = has("causal")};
  if (has("bottom_right")) o.causal = o.bottom_right = true;
  if (has("window")) o.window = length / 3;
  if (has("softcap")) o.softcap = 30;
  if (has("dropout")) o.dropout = 0.1;
  if (has("mask")) o.mask = filled(Dtype::boolean, {1, heads, length, length}, 1);
  if (has("bias")) o.mask = filled(Dtype::f32, {1, heads, length, length}, 0x3c);
  if (has("alibi")) o.alibi_slopes = filled(Dtype::f32, {1, heads}, 0x3c);
  if (has("lengths")) o.key_lengths = filled(Dtype::i64, {1}, 0x7f);  // very many: as many as there are
  if (has("packed")) {
    o.query_starts = starts(length), o.key_starts = starts(length);
    o.longest_queries = o.longest_keys = length - length / 2;
    if (has("alibi")) o.alibi_slopes = filled(Dtype::f32, {2, heads}, 0x3c);
  }
  return o;
}

void list(const kernels::KernelSlot& slot) {
  kernels::cuda::load_kernels();
  for (const kernels::Variant& variant : slot.variants())
    if (variant.device == DeviceType::cuda) std::puts(variant.name);
}

}  // namespace

int main(int count, char** arguments) try {
  const std::string direction = count > 1 ? arguments[1] : "";
  const std::map<std::string, const kernels::KernelSlot*> slots{{"forward", &kernels::attention_forward},
                                                                {"backward", &kernels::attention_backward},
                                                                {"mask_gradient", &kernels::attention_mask_gradient}};
  if (slots.count(direction) == 0) throw Error(usage);
  const kernels::KernelSlot& slot = *slots.at(direction);
  if (count == 3 && std::string(arguments[2]) == "--list") {
    list(slot);
    return 0;
  }
  if (count < 6) throw Error(usage);
  const Dtype dtype = std::string(arguments[3]) == "f32" ? Dtype::f32 : Dtype::bf16;
  const std::int64_t length = std::atoll(arguments[4]), dim = std::atoll(arguments[5]), heads = 2;
  const std::set<std::string> features(arguments + 6, arguments + count);
  for (const std::string& feature : features)
    if (known_features.count(feature) == 0) throw Error("attention_once: no feature is called " + feature);
  const std::int64_t value_dim = features.count("narrow") > 0 ? dim / 2 : dim;
  const std::int64_t key_heads = features.count("grouped") > 0 ? 1 : heads;
  const auto rows = [&](std::int64_t of_heads, std::int64_t columns) {
    return (features.count("unaligned") > 0 ? filled_unaligned : filled)(dtype, {1, of_heads, length, columns}, 0x3c);
  };
  const View query = rows(heads, dim), key = rows(key_heads, dim), value = rows(key_heads, value_dim);
  const View output = rows(heads, value_dim);
  const View log_sum_exp = filled(Dtype::f32, {1, heads, length}, 0x3c);
  const kernels::AttentionOptions options = options_of(features, heads, length, dim);
  const kernels::ScopedVariant scope(slot, DeviceType::cuda, arguments[2]);
  if (direction == "forward") {
    kernels::attention_forward(query, key, value, options, output, log_sum_exp, &allocate, stream);
  } else if (direction == "backward") {
    const View dquery = rows(heads, dim), dkey = rows(key_heads, dim), dvalue = rows(key_heads, value_dim);
    kernels::attention_backward(query, key, value, options, output, log_sum_exp, rows(heads, value_dim), {}, dquery,
                                dkey, dvalue, &allocate, stream);
  } else {
    kernels::attention_mask_gradient(query, key, value, options, output, log_sum_exp, rows(heads, value_dim), {},
                                     filled(Dtype::f32, {1, heads, length, length}, 0), &allocate, stream);
  }
  kernels::cuda::synchronize(stream);
  for (void* const memory : memories) kernels::cuda::release(0, memory);
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
