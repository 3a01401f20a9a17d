// What the backward passes have in common on the host.
#pragma once

#include "kernels/attention/cuda/delta.cuh"
#include "kernels/attention/cuda/launch.h"

namespace heed::kernels::attention {

template <class T>
BackwardOperands<T> backward_operands(const View& query, const View& key, const View& value, const View& output,
                                      const View& log_sum_exp, const View& doutput, const View& dlog_sum_exp,
                                      const View& dquery, const View& dkey, const View& dvalue,
                                      const AttentionWorkspace& workspace) {
  BackwardOperands<T> x{operand_of<const T>(query),
                        operand_of<const T>(key),
                        operand_of<const T>(value),
                        operand_of<const T>(output),
                        operand_of<const T>(doutput),
                        operand_of<const float>(log_sum_exp),
                        operand_of<const float>(dlog_sum_exp),
                        operand_of<T>(dquery),
                        operand_of<T>(dkey),
                        operand_of<T>(dvalue),
                        nullptr};
  if (log_sum_exp.size() > 0)
    x.statistics = static_cast<float2*>(workspace(log_sum_exp.size() * std::int64_t{sizeof(float2)}));
  return x;
}

inline constexpr const char* backward_name = "attention_backward";

template <class T>
void launch_delta(const Problem& p, const BackwardOperands<T>& x, std::int64_t rows, Stream stream) {
  const unsigned blocks = cuda::blocks_for(rows, delta_threads / 32);
  cuda::launch({backward_name, dim3(blocks), dim3(delta_threads), 0, stream}, &delta_kernel<T>, p, x, rows);
}

}  // namespace heed::kernels::attention
