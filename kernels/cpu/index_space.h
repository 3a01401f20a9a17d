// Some axes of N views that share a shape there, as one space of positions to walk through.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "kernels/view.h"

namespace heed::kernels {

// Axes of length 1 are dropped, the others ordered so that the first view is walked along its memory, and neighbours
// that follow one another without a gap in all views are merged: a dense block of any rank has one axis. For kernels
// that do not care in which order they meet the positions.
template <int N>
class IndexSpace {
 public:
  using Offsets = std::array<std::int64_t, N>;  // of one position: elements from each view's data

  // The axes of the views for which `contains(axis)` holds.
  template <class Contains>
  IndexSpace(const std::array<View, N>& views, Contains&& contains) {
    for (int axis = 0; axis < views[0].rank; ++axis) {
      if (contains(axis)) insert(views, axis);
    }
    for (const Axis& axis : std::span(axes_, rank_)) size_ *= axis.length;
    merge_neighbours();
  }

  std::int64_t size() const { return size_; }
  int rank() const { return rank_; }

  // The fastest axis; of length 1 when there is none.
  std::int64_t inner_length() const { return rank_ == 0 ? 1 : axes_[rank_ - 1].length; }
  std::int64_t inner_stride(int view) const { return rank_ == 0 ? 1 : axes_[rank_ - 1].strides[view]; }

  // Takes the fastest axis out; what is left is the space of its lines.
  void drop_inner() {
    if (rank_ == 0) return;
    size_ = inner_length() == 0 ? 0 : size_ / inner_length();
    --rank_;
  }

  // Calls visit(offsets) for the positions first, ..., last - 1.
  template <class Visit>
  void walk(std::int64_t first, std::int64_t last, Visit&& visit) const {
    if (first >= last) return;
    std::int64_t index[max_rank] = {};
    Offsets offsets = {};
    for (std::int64_t i = rank_ - 1, rest = first; i >= 0; --i) {
      index[i] = rest % axes_[i].length;
      rest /= axes_[i].length;
      for (int v = 0; v < N; ++v) offsets[v] += index[i] * axes_[i].strides[v];
    }
    for (std::int64_t position = first; position < last;) {
      const int inner = std::max(rank_ - 1, 0);
      const std::int64_t count = std::min(last - position, inner_length() - index[inner]);
      for (std::int64_t i = 0; i < count; ++i) {
        visit(static_cast<const Offsets&>(offsets));
        for (int v = 0; v < N; ++v) offsets[v] += axes_[inner].strides[v];
      }
      position += count;
      index[inner] += count;
      for (int i = inner; i > 0 && index[i] == axes_[i].length; --i) {
        for (int v = 0; v < N; ++v) offsets[v] += axes_[i - 1].strides[v] - axes_[i].length * axes_[i].strides[v];
        index[i] = 0;
        ++index[i - 1];
      }
    }
  }

 private:
  struct Axis {
    std::int64_t length;
    Offsets strides;
  };

  void insert(const std::array<View, N>& views, int from) {
    if (views[0].shape[from] == 1) return;
    Axis axis{views[0].shape[from], {}};
    for (int v = 0; v < N; ++v) axis.strides[v] = views[v].strides[from];
    int at = rank_++;
    for (; at > 0 && axes_[at - 1].strides[0] < axis.strides[0]; --at) axes_[at] = axes_[at - 1];
    axes_[at] = axis;
  }

  void merge_neighbours() {
    int kept = 0;
    for (int i = 1; i < rank_; ++i) {
      Axis& outer = axes_[kept];
      const Axis& inner = axes_[i];
      bool adjacent = true;
      for (int v = 0; v < N; ++v) adjacent &= outer.strides[v] == inner.strides[v] * inner.length;
      if (adjacent) {
        outer = {outer.length * inner.length, inner.strides};
      } else {
        axes_[++kept] = inner;
      }
    }
    rank_ = std::min(rank_, kept + 1);
  }

  Axis axes_[max_rank] = {};
  int rank_ = 0;
  std::int64_t size_ = 1;
};

}  // namespace heed::kernels
