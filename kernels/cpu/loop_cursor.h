// A place in a loop over a few axes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/view.h"

namespace heed::kernels {

struct LoopCursor {
  int rank = 1;
  const std::int64_t* shape = nullptr;
  std::int64_t position;  // among all elements, in the order of the loop
  std::int64_t index[max_rank] = {};

  LoopCursor(const std::int64_t* shape, int rank, std::int64_t position)
      : rank(rank), shape(shape), position(position) {
    for (int axis = rank - 1; axis > 0; --axis) {
      index[axis] = position % shape[axis];
      position /= shape[axis];
    }
    index[0] = position;
  }

  std::int64_t left_in_run() const { return shape[rank - 1] - index[rank - 1]; }

  std::int64_t offset(const std::int64_t* strides) const {
    std::int64_t sum = 0;
    for (int axis = 0; axis < rank; ++axis) sum += index[axis] * strides[axis];
    return sum;
  }

  // At most to the end of a run at a time.
  void advance_in_run(std::int64_t n) {
    position += n;
    index[rank - 1] += n;
    for (int axis = rank - 1; axis > 0 && index[axis] == shape[axis]; --axis) {
      index[axis] = 0;
      ++index[axis - 1];
    }
  }

  void advance(std::int64_t n) {
    while (n > 0) {
      const std::int64_t run = std::min(n, left_in_run());
      advance_in_run(run);
      n -= run;
    }
  }
};

}  // namespace heed::kernels
