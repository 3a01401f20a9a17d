// The backward ladder on tensor cores, up to the production kernels (backward_mma.cuh). The kernels are the general ones, each
// rung with one idea more, and so they have all features; dimensions beyond 128 go to the production path.
//   4  mma_plain      m16n8k16 and ldmatrix from tiles without swizzle, filled by loads and stores
//   5  mma_swizzled   chunks change places, and no two rows of a fragment share banks; cp.async fills the tiles
//   6  mma_pipelined  the next rows arrive while these are multiplied: backward_mma.cu has it, as its general kernels
#include <algorithm>

#include "kernels/attention/cuda/backward_mma_general.cuh"
#include "kernels/attention/cuda/paths.h"

namespace heed::kernels::attention {
namespace {

template <bool improved>
void backward(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
              View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue, const AttentionWorkspace& workspace,
              Stream stream) {
  const Problem p = problem_of(query, key, value, options);
  const int columns = std::max(p.head_dim, p.value_dim);
  if (query.dtype != Dtype::bf16 || columns > 128) {
    return backward_mma(query, key, value, options, output, log_sum_exp, doutput, dlog_sum_exp, dquery, dkey, dvalue,
                        workspace, stream);
  }
  const auto x = backward_operands<BFloat16>(query, key, value, output, log_sum_exp, doutput, dlog_sum_exp, dquery,
                                             dkey, dvalue, workspace);
  launch_delta(p, x, log_sum_exp.size(), stream);
  const bool aligned = all_rows_are_aligned({query, key, value, doutput, dquery, dkey, dvalue});
  const auto run = [&]<int dim>() {
    launch_general<GeneralTiling<BFloat16, dim, 4, 128 / dim * 32, 1, improved, improved>>(p, options, x, aligned,
                                                                                           stream);
  };
  if (columns <= 64) return run.template operator()<64>();
  run.template operator()<128>();
}

const Register plain{attention_backward, DeviceType::cuda, "mma_plain", &backward<false>};
const Register swizzled{attention_backward, DeviceType::cuda, "mma_swizzled", &backward<true>};

}  // namespace
}  // namespace heed::kernels::attention
