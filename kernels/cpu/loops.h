// The loop under every elementwise kernel: views of any strides in, contiguous blocks out.
//
//   map_blocks<float, float, float>(LoopOrder::any, y, {a, b},
//       [](std::int64_t, std::int64_t n, float* y, const float* a, const float* b) {
//         for (std::int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
//       });
//
// A kernel writes one simple loop over contiguous memory, which the compiler or Highway turns into vector code, and
// gets every layout, broadcasting, halves and all cores. How it works: axes are sorted and merged until as few as
// possible are left (all of a contiguous tensor is one axis); each operand hands out the next block of at most 1,024
// elements, where it lies if it lies contiguously, otherwise gathered (or splatted, or widened from halves) into a buffer
// on the stack that stays in the first-level cache. The arithmetic never sees a stride, so results cannot depend on the
// layout.
#pragma once

#include <array>
#include <tuple>
#include <utility>

#include "kernels/cpu/parallel.h"
#include "kernels/dtypes.h"
#include "kernels/loop_nest.h"
#include "kernels/view.h"

namespace heed::kernels {

inline constexpr std::int64_t block_elements = 1024;
inline constexpr std::int64_t chunk_elements = 16 * block_elements;  // what one thread takes at a time

// A place in the loop.
struct LoopCursor {
  int rank = 1;
  const std::int64_t* shape = nullptr;
  std::int64_t index[max_rank] = {};

  LoopCursor(const std::int64_t* shape, int rank, std::int64_t position) : rank(rank), shape(shape) {
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

  // Calls visit(offset, run) for each stretch of the innermost axis among the next n elements.
  template <class Visit>
  void for_each_run(const std::int64_t* strides, std::int64_t n, Visit&& visit) const {
    LoopCursor at = *this;
    while (n > 0) {
      const std::int64_t run = std::min(n, at.left_in_run());
      visit(at.offset(strides), run);
      at.advance_in_run(run);
      n -= run;
    }
  }
};

struct OperandPlace {
  void* data;
  const std::int64_t* strides;
  const std::int64_t* shape;
  int rank;
};

// One view of the loop, handed out block by block as contiguous memory of its compute type.
template <class T>
class LoopOperand {
 public:
  using Value = Compute<T>;

  explicit LoopOperand(const OperandPlace& place)
      : data_(static_cast<T*>(place.data)), strides_(place.strides), inner_stride_(place.strides[place.rank - 1]) {
    std::int64_t expected = 1;
    for (int axis = place.rank - 1; axis >= 0; --axis) {
      is_linear_ &= strides_[axis] == expected;
      repeats_ &= axis == place.rank - 1 || strides_[axis] == 0;
      expected *= place.shape[axis];
    }
  }
  LoopOperand(const LoopOperand&) = delete;
  LoopOperand& operator=(const LoopOperand&) = delete;

  // The block to read.
  const Value* load(const LoopCursor& at, std::int64_t n) {
    const std::int64_t offset = at.offset(strides_);
    if (lies_contiguous(at, n)) return reinterpret_cast<const Value*>(data_ + offset);
    // A row that repeats, or one value, may be in the buffer already.
    const bool may_be_loaded = repeats_ || (inner_stride_ == 0 && n <= at.left_in_run());
    if (may_be_loaded && offset == loaded_offset_ && n <= loaded_) return buffer_;
    Value* out = buffer_;
    at.for_each_run(strides_, n, [&](std::int64_t start, std::int64_t run) {
      const T* in = data_ + start;
      if (inner_stride_ == 1) {
        for (std::int64_t i = 0; i < run; ++i) out[i] = static_cast<Value>(in[i]);
      } else if (inner_stride_ == 0) {
        std::fill(out, out + run, static_cast<Value>(in[0]));
      } else {
        for (std::int64_t i = 0; i < run; ++i) out[i] = static_cast<Value>(in[i * inner_stride_]);
      }
      out += run;
    });
    loaded_offset_ = offset;
    loaded_ = may_be_loaded ? n : 0;
    return buffer_;
  }

  // Where to write the block; then store() puts it where it belongs.
  Value* target(const LoopCursor& at, std::int64_t n) {
    return lies_contiguous(at, n) ? reinterpret_cast<Value*>(data_ + at.offset(strides_)) : buffer_;
  }

  void store(const LoopCursor& at, std::int64_t n) {
    if (lies_contiguous(at, n)) return;
    const Value* in = buffer_;
    at.for_each_run(strides_, n, [&](std::int64_t start, std::int64_t run) {
      T* out = data_ + start;
      for (std::int64_t i = 0; i < run; ++i) out[i * inner_stride_] = static_cast<T>(in[i]);
      in += run;
    });
  }

 private:
  bool lies_contiguous(const LoopCursor& at, std::int64_t n) const {
    return std::is_same_v<T, Value> && (is_linear_ || (inner_stride_ == 1 && n <= at.left_in_run()));
  }

  T* data_;
  const std::int64_t* strides_;
  std::int64_t inner_stride_;
  bool is_linear_ = true;  // one stretch of memory, in the order of the loop
  bool repeats_ = true;    // the outer axes have stride 0
  std::int64_t loaded_offset_ = 0;
  std::int64_t loaded_ = 0;  // elements in the buffer that a later block may find useful
  alignas(64) Value buffer_[block_elements];
};

// Calls block(position, n, output*, const inputs*...) until all elements are done, in chunks over all cores. Y and X
// name the element types of the views; the pointers are to their compute types. `position` counts elements in the order
// of the loop. An input's pointer may equal the output's, so element i of the output may depend on element i alone.
template <class Y, class... X, class Block>
void map_blocks(LoopOrder order, const View& y, const std::array<View, sizeof...(X)>& inputs, const Block& block) {
  constexpr std::size_t count = sizeof...(X);
  const std::int64_t size = y.size();
  if (size == 0) return;
  std::array<View, count + 1> views;
  std::copy(inputs.begin(), inputs.end(), views.begin());
  views[count] = y;
  const LoopNest<count + 1> nest = loop_nest(views, order, count);
  // Blocks end where runs of the inner axis do, as long as a run is worth a block; short runs share one, whole runs
  // each.
  const std::int64_t inner = nest.shape[nest.rank - 1];
  const bool share_block = inner < block_elements / 8;
  const std::int64_t unit = share_block ? inner : 1;
  const std::int64_t limit = block_elements / unit * unit;

  parallel_for(size, chunk_elements / unit * unit, [&](std::int64_t begin, std::int64_t end) {
    const auto run_chunk = [&]<std::size_t... I>(std::index_sequence<I...>) {
      const auto place = [&](std::size_t v) {
        return OperandPlace{views[v].data, nest.strides[v], nest.shape, nest.rank};
      };
      [[maybe_unused]] std::tuple<LoopOperand<X>...> operands(place(I)...);
      LoopOperand<Y> output(place(count));
      LoopCursor at(nest.shape, nest.rank, begin);
      for (std::int64_t n; begin < end; begin += n) {
        n = std::min({end - begin, limit, share_block ? limit : at.left_in_run()});
        block(begin, n, output.target(at, n), std::get<I>(operands).load(at, n)...);
        output.store(at, n);
        at.advance(n);
      }
    };
    run_chunk(std::make_index_sequence<count>{});
  });
}

}  // namespace heed::kernels
