// Attention problems on the GPU: how they get there, and what of them is wrong. Used by tests/kernels/cuda_attention*.cpp.
#pragma once

#include <string>
#include <vector>

#include "kernels/registry.h"
#include "tests/kernels/attention_problem.h"

namespace heed::test {

// The forward pass alone, on inputs of [batch, heads, rows, dim].
AttentionResults forward_on_gpu(const AttentionProblem& p, const std::vector<Tensor>& inputs);

// Forward, backward and, where the problem asks for it, the gradient of the mask, with the variants at hand.
AttentionResults run_on_gpu(const AttentionProblem& p);

std::vector<std::string> variants_on_gpu(const kernels::KernelSlot& slot);

// Those of both directions, each name once.
std::vector<std::string> attention_variants_on_gpu();

// Runs the variant in both directions; a direction that has none of that name runs its default.
class ScopedAttentionVariant {
 public:
  explicit ScopedAttentionVariant(const std::string& variant);

 private:
  kernels::ScopedVariant forward_, backward_;
};

// Whether the variant has no kernels of its own for numbers of the dtype: it runs those of the default, to the same bits.
bool runs_the_default(const std::string& variant, Dtype dtype);
std::vector<std::string> without_repeats(const std::vector<std::string>& variants, Dtype dtype);

// In p.dtype: each of the variants, forward and backward, with the other direction's variant of the same name or, where
// there is none, its default.
void verify_attention_on_gpu(const std::string& name, const AttentionProblem& p,
                             const std::vector<std::string>& variants);

}  // namespace heed::test
