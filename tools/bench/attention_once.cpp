// Launches one variant of attention once, for a profiler to look at: attention_once forward|backward VARIANT DTYPE LENGTH DIM
// [causal]. One batch entry, two heads, contiguous rows. The backward starts from made-up outputs: what it does depends on
// no number.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/cuda/device.h"
#include "kernels/error.h"

using namespace heed;

namespace {

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

void list(const kernels::KernelSlot& slot) {
  for (const kernels::Variant& variant : slot.variants())
    if (variant.device == DeviceType::cuda) std::puts(variant.name);
}

}  // namespace

int main(int count, char** arguments) try {
  const std::string direction = count > 1 ? arguments[1] : "";
  const bool forward = direction == "forward";
  const kernels::KernelSlot& slot =
      forward ? static_cast<const kernels::KernelSlot&>(kernels::attention_forward) : kernels::attention_backward;
  if (count == 3 && std::string(arguments[2]) == "--list") {
    list(slot);
    return 0;
  }
  if (count < 6 || (!forward && direction != "backward"))
    throw Error("usage: attention_once forward|backward VARIANT f32|bf16 LENGTH DIM [causal], or ... --list");
  const Dtype dtype = std::string(arguments[3]) == "f32" ? Dtype::f32 : Dtype::bf16;
  const std::int64_t length = std::atoll(arguments[4]), dim = std::atoll(arguments[5]), heads = 2;
  const auto rows = [&] { return filled(dtype, {1, heads, length, dim}, 0x3c); };
  const View query = rows(), key = rows(), value = rows(), output = rows();
  const View log_sum_exp = filled(Dtype::f32, {1, heads, length}, 0x3c);
  const kernels::AttentionOptions options{.scale = 1 / std::sqrt(static_cast<double>(dim)), .causal = count > 6};
  const kernels::ScopedVariant scope(slot, DeviceType::cuda, arguments[2]);
  if (forward) {
    kernels::attention_forward(query, key, value, options, output, log_sum_exp, &allocate, stream);
  } else {
    const View doutput = rows(), dquery = rows(), dkey = rows(), dvalue = rows();
    kernels::attention_backward(query, key, value, options, output, log_sum_exp, doutput, {}, dquery, dkey, dvalue,
                                &allocate, stream);
  }
  kernels::cuda::synchronize(stream);
  for (void* const memory : memories) kernels::cuda::release(0, memory);
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
