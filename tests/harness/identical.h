// Whether two tensors are the same to the last bit.
#pragma once

#include <cstring>

#include "engine/tensor.h"

namespace heed::test {

inline bool identical(const Tensor& a, const Tensor& b) {
  const Tensor x = a.detach().to(Device{}).contiguous(), y = b.detach().to(Device{}).contiguous();
  return x.dtype() == y.dtype() && x.shape() == y.shape() &&
         std::memcmp(x.view().data, y.view().data, static_cast<std::size_t>(x.count()) * size_of(x.dtype())) == 0;
}

}  // namespace heed::test
