// Whether two tensors are the same to the last bit.
#pragma once

#include <cstring>

#include "engine/tensor.h"

namespace heed::test {

inline bool identical(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.contiguous().view().data, b.contiguous().view().data,
                     static_cast<std::size_t>(a.count()) * size_of(a.dtype())) == 0;
}

}  // namespace heed::test
