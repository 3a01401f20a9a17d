// What a forward kernel reads and writes.
#pragma once

#include "kernels/attention/cuda/problem.cuh"

namespace heed::kernels::attention {

template <class T>
struct ForwardOf {
  Operand<const T> query, key, value;
  Operand<T> output;
  Operand<float> log_sum_exp;
};

template <class T>
ForwardOf<T> forward_operands(const View& query, const View& key, const View& value, const View& output,
                              const View& log_sum_exp) {
  return {operand_of<const T>(query), operand_of<const T>(key), operand_of<const T>(value), operand_of<T>(output),
          operand_of<float>(log_sum_exp)};
}

}  // namespace heed::kernels::attention
