// The axes of views that share a shape, brought into the order in which a loop should run through them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/view.h"

namespace heed::kernels {

enum class LoopOrder {
  any,     // whatever suits the memory
  logical  // row-major over the shape: for kernels whose result depends on an element's number
};

// The axes of a loop over N views, outermost first; at least one, all longer than 1 unless there is just one.
template <std::size_t N>
struct LoopNest {
  int rank = 0;
  std::int64_t shape[max_rank] = {};
  std::int64_t strides[N][max_rank] = {};
};

// The axes for which `contains(axis)` holds, less those of length 1. Neighbours that follow one another without a gap in
// every view are merged, so a dense block of any rank has one axis. In LoopOrder::any the loop runs through the memory of
// views[leader] in order. Only the first `count` views are looked at.
template <std::size_t N, class Contains>
LoopNest<N> loop_nest_of(const std::array<const View*, N>& views, LoopOrder order, std::size_t leader,
                         Contains&& contains, std::size_t count = N) {
  const View& lead = *views[leader];
  int axes[max_rank];
  int axis_count = 0;
  for (int axis = 0; axis < lead.rank; ++axis) {
    if (lead.shape[axis] == 1 || !contains(axis)) continue;
    int place = axis_count++;  // insertion sort by the leader's stride, largest first
    while (order == LoopOrder::any && place > 0 && lead.strides[axes[place - 1]] < lead.strides[axis]) {
      axes[place] = axes[place - 1];
      --place;
    }
    axes[place] = axis;
  }
  LoopNest<N> nest;
  for (int i = 0; i < axis_count; ++i) {
    const std::int64_t length = lead.shape[axes[i]];
    bool merges = nest.rank > 0;
    for (std::size_t v = 0; v < count && merges; ++v) {
      merges = nest.strides[v][nest.rank - 1] == views[v]->strides[axes[i]] * length;
    }
    if (merges)
      nest.shape[nest.rank - 1] *= length;
    else
      nest.shape[nest.rank++] = length;
    for (std::size_t v = 0; v < count; ++v) nest.strides[v][nest.rank - 1] = views[v]->strides[axes[i]];
  }
  if (nest.rank == 0) {  // a single element
    nest.rank = 1;
    nest.shape[0] = 1;
    for (std::size_t v = 0; v < count; ++v) nest.strides[v][0] = 1;
  }
  return nest;
}

template <std::size_t N, class Contains>
LoopNest<N> loop_nest(const std::array<View, N>& views, LoopOrder order, std::size_t leader, Contains&& contains) {
  std::array<const View*, N> pointers;
  for (std::size_t v = 0; v < N; ++v) pointers[v] = &views[v];
  return loop_nest_of(pointers, order, leader, contains);
}

template <std::size_t N>
LoopNest<N> loop_nest(const std::array<View, N>& views, LoopOrder order, std::size_t leader) {
  return loop_nest(views, order, leader, [](int) { return true; });
}

}  // namespace heed::kernels
