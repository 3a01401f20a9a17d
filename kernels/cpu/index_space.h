// Some axes of N views that share a shape there, as one space of positions to walk through.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernels/loop_nest.h"
#include "kernels/view.h"

namespace heed::kernels {

inline constexpr std::int64_t index_batch = 64;

// Runs along the memory of the first view. For kernels that do not care in which order they meet the positions.
template <std::size_t N>
class IndexSpace {
 public:
  using Offsets = std::array<std::int64_t, N>;  // of one position: elements from each view's data

  // The axes of the views for which `contains(axis)` holds.
  template <class Contains>
  IndexSpace(const std::array<View, N>& views, Contains&& contains)
      : nest_(loop_nest(views, LoopOrder::any, 0, contains)) {
    for (int i = 0; i < nest_.rank; ++i) size_ *= nest_.shape[i];
  }

  std::int64_t size() const { return size_; }

  // The fastest axis; of length 1 when there is none.
  std::int64_t inner_length() const { return nest_.rank == 0 ? 1 : nest_.shape[nest_.rank - 1]; }
  std::int64_t inner_stride(std::size_t view) const {
    return nest_.rank == 0 ? 1 : nest_.strides[view][nest_.rank - 1];
  }

  // Takes the fastest axis out; what is left is the space of its lines.
  void drop_inner() {
    if (nest_.rank == 0) return;
    size_ = inner_length() == 0 ? 0 : size_ / inner_length();
    --nest_.rank;
  }

  // Calls visit(offsets, count) for stretches of the positions first, ..., last - 1 along the fastest axis: `count` of
  // them, the first at these offsets, inner_stride(view) apart.
  template <class Visit>
  void walk_runs(std::int64_t first, std::int64_t last, Visit&& visit) const {
    if (first >= last) return;
    const auto& [rank, shape, strides] = nest_;
    std::int64_t index[max_rank] = {};
    Offsets offsets = {};
    for (std::int64_t i = rank - 1, rest = first; i >= 0; --i) {
      index[i] = rest % shape[i];
      rest /= shape[i];
      for (std::size_t v = 0; v < N; ++v) offsets[v] += index[i] * strides[v][i];
    }
    const int inner = std::max(rank - 1, 0);
    for (std::int64_t position = first; position < last;) {
      const std::int64_t count = std::min(last - position, inner_length() - index[inner]);
      visit(static_cast<const Offsets&>(offsets), count);
      for (std::size_t v = 0; v < N; ++v) offsets[v] += count * strides[v][inner];
      position += count;
      index[inner] += count;
      for (int i = inner; i > 0 && index[i] == shape[i]; --i) {
        for (std::size_t v = 0; v < N; ++v) offsets[v] += strides[v][i - 1] - shape[i] * strides[v][i];
        index[i] = 0;
        ++index[i - 1];
      }
    }
  }

  // Calls visit(offsets) for each of the positions.
  template <class Visit>
  void walk(std::int64_t first, std::int64_t last, Visit&& visit) const {
    walk_runs(first, last, [&](Offsets at, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) {
        visit(static_cast<const Offsets&>(at));
        for (std::size_t v = 0; v < N; ++v) at[v] += inner_stride(v);
      }
    });
  }

  // The same positions in batches: visit(offsets, count) for index_batch of them at a time, or what is left. What is done
  // with a batch can be a plain function, called through a pointer, with the walk compiled once for all of them.
  template <class Visit>
  void walk_batches(std::int64_t first, std::int64_t last, Visit&& visit) const {
    Offsets batch[index_batch];
    std::int64_t count = 0;
    walk(first, last, [&](const Offsets& at) {
      batch[count++] = at;
      if (count < index_batch) return;
      visit(static_cast<const Offsets*>(batch), count);
      count = 0;
    });
    if (count > 0) visit(static_cast<const Offsets*>(batch), count);
  }

 private:
  LoopNest<N> nest_;
  std::int64_t size_ = 1;
};

}  // namespace heed::kernels
